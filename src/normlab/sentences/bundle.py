"""The bundled studies with their released trials, each read once."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import TYPE_CHECKING

from normlab.errors import UserError
from normlab.recipe import Recipe, with_value
from normlab.records.plan import PlanRecord
from normlab.study.cells import cells, recipe_of
from normlab.study.released import released_frames
from normlab.study.resolve import outline
from normlab.study.spec import Study

if TYPE_CHECKING:
    from normlab.frames import Frames


class Bundle:
    """Bundled studies by name, with what their authors released; nothing is trained or built."""

    def __init__(self) -> None:
        self.study = cache(Study.load)
        self.outline = cache(self._outline)
        self.recipes = cache(self._recipes)
        self.frames = cache(self._frames)
        self.rehearsed = cache(self._rehearsed)
        self.verdicts = cache(self._verdicts)

    def _outline(self, name: str) -> PlanRecord:
        return outline(self.study(name))

    def _recipes(self, name: str) -> list[Recipe]:
        study = self.study(name)
        return [recipe_of(study, cell) for cell in cells(study)]

    def _frames(self, name: str) -> Frames | None:
        """The released trials of the whole study; None if there are none."""
        return released_frames(self.study(name))

    def _rehearsed(self, name: str) -> Frames | None:
        """The released trials of its quick variant; None if there are none."""
        return released_frames(self.study(name).vary(quick=True))

    def _verdicts(self, name: str) -> dict[str, dict[Hashable, object]]:
        """The rows of the verdicts on a study whose trials were released, by claim.

        Raises:
            UserError: None were.
        """
        from normlab.frames import claim_table

        frames = self.frames(name)
        if frames is None:
            raise UserError(f"{name} has no released trials")
        return {str(row["claim"]): row for row in claim_table(frames).to_dict("records")}

    @staticmethod
    def has_value(recipe: Recipe, key: str, value: object) -> bool:
        """Whether a recipe key, dotted where it goes into a component, has that value.

        A whole component may be written as in a study file: ``norm: none``, ``dropout: 0.03``.
        """
        found: object = recipe.model_dump(mode="json")
        for name in key.split("."):
            if not isinstance(found, dict) or name not in found:
                return False  # a key of another kind of component, say
            found = found[name]
        try:
            return Recipe.parse(with_value(recipe.canonical(), key, value)) == recipe
        except UserError:
            return False
