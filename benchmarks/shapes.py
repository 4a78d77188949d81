"""The maps that norms get in the bundled models, asked of the models themselves.

Every arm of every bundled study is built on the meta device and given one batch of its size; every
norm says what came in. No list of shapes stands anywhere, so no model can be left out of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from normlab.data import describe
from normlab.models import MODELS, build
from normlab.models.surgery import MAP_NORMS
from normlab.recipe import Recipe, with_value
from normlab.study.cells import cells
from normlab.study.files import bundled
from normlab.study.spec import Study

Shape = tuple[int, int, int, int]


def every_recipe() -> Iterator[tuple[str, Recipe]]:
    """The recipe of every arm of every bundled study, with the study's name."""
    for name in bundled():
        study = Study.load(name)
        for _, levels, overrides in cells(study):
            written, values = {**study.base, **levels, **overrides}, {}
            for key in sorted(written, key=lambda key: key.count(".")):
                values = with_value(values, key, written[key])
            yield name, Recipe.parse(values, name)


def bundled_recipes() -> list[Recipe]:
    """A recipe of every network at every batch size in the bundled studies."""
    found: dict[str, Recipe] = {}
    for _, recipe in every_recipe():
        if recipe.norm.kind == "scaled_ws":  # its layers are convolutions: no norm would be seen
            continue
        network = recipe.model_dump(mode="json", include={"model", "batch_size", "data"})
        found.setdefault(json.dumps(network, sort_keys=True), recipe)
    missing = MODELS.keys() - {recipe.model.kind for recipe in found.values()}
    if missing:
        raise SystemExit(
            f"no bundled study has the models {sorted(missing)}: their maps are unknown"
        )
    return list(found.values())


def maps_of(recipe: Recipe) -> set[Shape]:
    """Shapes (N, C, H, W) of the maps that the norms of a recipe's model get in training."""
    facts = describe(recipe.data)
    model = build(recipe, facts.shape, facts.num_classes, device="meta").model
    seen: set[Shape] = set()

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.add(tuple(inputs[0].shape))  # type: ignore[arg-type]

    for module in model.modules():
        if isinstance(module, MAP_NORMS):
            module.register_forward_pre_hook(note)
    model(torch.empty((recipe.batch_size, *facts.shape), device="meta"))
    return seen


def bundled_shapes(wanted: Collection[str] = tuple(MODELS)) -> dict[Shape, tuple[str, ...]]:
    """Shapes of maps, largest images first, and the models that have them at their batch sizes.

    Args:
        wanted: Kinds of models; all of the catalog if none are given.
    """
    unknown = set(wanted) - set(MODELS)
    if unknown:
        raise SystemExit(f"{', '.join(sorted(unknown))} is none of the models {', '.join(MODELS)}")
    models: dict[Shape, set[str]] = defaultdict(set)
    for recipe in bundled_recipes():
        if recipe.model.kind in wanted:
            for shape in maps_of(recipe):
                models[shape].add(f"{recipe.model.kind} at {recipe.batch_size}")
    order = sorted(models, key=lambda shape: (-shape[2] * shape[3], shape))
    return {shape: tuple(sorted(models[shape])) for shape in order}
