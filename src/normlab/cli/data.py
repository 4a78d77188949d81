"""What a plan says of its data, and the command that makes a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normlab.cli.options import Json

if TYPE_CHECKING:
    from normlab.data import Facts
    from normlab.recipe.data import Data
    from normlab.study.plan import Plan

_CHANNELS = {1: "grey", 3: "color"}
_SIZES = 5  # sizes that are named; of more the smallest and the largest stand for the rest


def build_data(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The data set: caltech25.")],
    archive: Annotated[
        Path | None,
        typer.Argument(
            metavar="[ARCHIVE]", help="The archive you have; left out: it is downloaded."
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write it here, not where normlab looks for it."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a data set from the public archive that it is a part of."""
    from normlab import api
    from normlab.terminal import console

    path = api.build_data(name, archive, to=to)
    if json:
        from normlab.cli.outputs.data import DataBuilt
        from normlab.cli.outputs.output import print_output

        print_output(DataBuilt, name=name, path=path)
        return
    console.print(f"{name}: {path}", soft_wrap=True)


def data_records(made: Plan) -> list[dict[str, object]]:
    """For every data set of a plan, what is known of it, as plain data."""
    from normlab.data import absent, describe

    return [
        {**_record(spec.kind, describe(spec), arms), "absent": absent(spec)}
        for spec, arms in _by_data(made).items()
    ]


def print_data(made: Plan) -> None:
    """Print the same for people: two lines or three for each data set."""
    from normlab.data import absent, describe
    from normlab.terminal import console

    several = len(_by_data(made)) > 1
    for spec, arms in _by_data(made).items():
        facts = describe(spec)
        channels, height, width = facts.shape
        place = f" {spec.path}" if hasattr(spec, "path") else ""
        head = (
            f"data {spec.kind}{place}: {facts.num_classes} classes, "
            f"{facts.train_images:,} training and {facts.test_images:,} test images "
            f"of {width}x{height}, {_CHANNELS.get(channels, f'{channels} channels')}"
        )
        console.print(head + (f" (in {', '.join(arms)})" if several else ""), soft_wrap=True)
        console.print(f"classes: {_classes_text(facts)}", soft_wrap=True)
        if facts.sizes:
            console.print(f"sizes of the files' images: {_sizes_text(facts)}", soft_wrap=True)
        if (why := absent(spec)) is not None:
            console.print(f"warning: cannot be run here yet: {why}", soft_wrap=True)
    console.print()


def _by_data(made: Plan) -> dict[Data, list[str]]:
    """Labels of the arms by what they are trained on."""
    found: dict[Data, list[str]] = {}
    for arm in made.arms:
        found.setdefault(arm.recipe.data, []).append(arm.label)
    return found


def _record(kind: str, facts: Facts, arms: list[str]) -> dict[str, object]:
    counts = zip(facts.class_names, facts.train_counts, facts.test_counts, strict=True)
    return {
        "kind": kind,
        "arms": arms,
        "shape": list(facts.shape),
        "classes": [{"name": name, "train": train, "test": test} for name, train, test in counts],
        "sizes": [[*size, count] for size, count in facts.sizes],
        "digest": facts.digest,
    }


def _classes_text(facts: Facts) -> str:
    """Every class with its training and test images, or the names where all have as many."""
    counts = list(zip(facts.train_counts, facts.test_counts, strict=True))
    if len(set(counts)) == 1:
        train, test = counts[0]
        return f"{', '.join(facts.class_names)}; {train:,} training and {test:,} test images each"
    each = [
        f"{name} {train:,}/{test:,}"
        for name, (train, test) in zip(facts.class_names, counts, strict=True)
    ]
    return f"(training/test) {', '.join(each)}"


def _sizes_text(facts: Facts) -> str:
    named = [f"{width}x{height} ({count:,})" for (width, height), count in facts.sizes[:_SIZES]]
    rest = facts.sizes[_SIZES:]
    if rest:
        areas = sorted((size for size, _ in facts.sizes), key=lambda size: size[0] * size[1])
        (a, b), (c, d) = areas[0], areas[-1]
        more = sum(count for _, count in rest)
        named.append(f"and {more:,} of other sizes, all between {a}x{b} and {c}x{d} pixels")
    return ", ".join(named)
