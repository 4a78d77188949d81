"""How near a study's released trials are to what its source ran: their scale, derived.

`sources/setups.yaml` says, by study, what the source ran. Whether the released trials are that is
read off their files and the study's recipes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from normlab.errors import UserError
from normlab.recipe import value_text
from normlab.recipe.component import Spec, listed
from normlab.sentences.bundle import Bundle

if TYPE_CHECKING:
    from normlab.frames import Frames

Scale = Literal["full", "laptop", "rehearsal"]
"""`full`: the whole study, with the source's images and epochs, and every key of the source's that
its set-up names. `laptop`: the whole study, with less or something else than that, which is said.
`rehearsal`: the quick variant alone, which answers nothing."""


class Setup(Spec):
    """What the source of a study ran.

    Attributes:
        train_images: Images that it trained on.
        epochs: Of its longest training; None where it does not say or stops early.
        set: Recipe keys with the source's values, which every arm must have.
        differs: What else is less than the source's or another thing, in words.
        changed: What is changed on purpose, or cannot be helped: said, without lowering the scale.
    """

    title: ClassVar[str] = "a set-up"
    train_images: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)] | None = None
    set: dict[str, object] = {}
    differs: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    changed: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()


@dataclass(frozen=True)
class StudyScale:
    """What was released of a study.

    Attributes:
        study: Its name.
        scale: None where nothing was.
        seeds: Fewest of its arms; None where nothing was released.
        differs: What makes it less than full, in words.
        changed: What else is not the source's, in words.
    """

    study: str
    scale: Scale | None
    seeds: int | None
    differs: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def scale_of(name: str, setup: Setup | None, bundle: Bundle) -> StudyScale:
    """The scale of what was released of a study.

    Raises:
        UserError: Whole trials were released, and nobody said what its source ran.
    """
    changed = setup.changed if setup else ()
    if (frames := bundle.frames(name)) is not None:
        if setup is None:
            raise UserError(
                f"{name} has released trials: say in setups.yaml what its source ran, so that "
                "their scale is known"
            )
        differs = _differences(name, setup, bundle, frames)
        scale: Scale = "laptop" if differs else "full"
        return StudyScale(name, scale, _seeds(frames), differs, setup.changed)
    if (rehearsed := bundle.rehearsed(name)) is not None:
        return StudyScale(name, "rehearsal", _seeds(rehearsed), changed=changed)
    return StudyScale(name, None, None, changed=changed)


def _differences(name: str, setup: Setup, bundle: Bundle, frames: Frames) -> tuple[str, ...]:
    images = int(frames.trials["train_images"].max())
    epochs = int(frames.trials["epoch"].max())
    found = []
    if images != setup.train_images:
        found.append(f"{images:,} training images, the source has {setup.train_images:,}")
    if setup.epochs is not None and epochs != setup.epochs:
        found.append(f"{epochs} epochs, the source has {setup.epochs}")
    for key, value in setup.set.items():
        if not all(bundle.has_value(recipe, key, value) for recipe in bundle.recipes(name)):
            found.append(f"{key} is not {value_text(value)} in every arm")
    return (*found, *setup.differs)


def _seeds(frames: Frames) -> int:
    """Fewest of an arm that has any."""
    return int(frames.trials.groupby("arm")["seed"].nunique().min())
