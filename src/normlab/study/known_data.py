"""What a study file tells of its data without reading them: classes and test images of every arm.

Trials run elsewhere need both to be judged: what guessing scores, and the least step of a score.
"""

from __future__ import annotations

from normlab.data import describe
from normlab.data.images.layout import lay_out
from normlab.errors import UserError
from normlab.recipe import Recipe, with_value
from normlab.recipe.data import Data, ImageFolder, OwnData
from normlab.study.cells import cells
from normlab.study.spec import Study


def known_data(study: Study) -> dict[str, dict[str, int]]:
    """By an arm's label `classes` and `test_images`, as far as they are known.

    Of published sets both are. Of a folder of images only the classes are looked up, if it is here:
    reading it takes minutes. Code of the user's is not run.
    """
    known = {}
    for label, levels, overrides in cells(study):
        values: dict[str, object] = {"model": "digits-small"}
        written = {**study.base, **levels, **overrides}
        try:
            for key in sorted(written, key=lambda key: key.count(".")):
                if key.partition(".")[0] == "data":
                    values = with_value(values, key, written[key])
            known[label] = _known(Recipe.parse(values).data)
        except UserError:
            known[label] = {}  # `plan` says what is wrong with it
    return known


def _known(spec: Data) -> dict[str, int]:
    if not isinstance(spec, ImageFolder | OwnData):
        facts = describe(spec)
        return {"classes": facts.num_classes, "test_images": facts.test_images}
    if isinstance(spec.classes, int):
        return {"classes": spec.classes}
    if isinstance(spec, OwnData):
        return {"classes": len(spec.classes)} if spec.classes else {}
    return {"classes": len(spec.classes or lay_out(spec).class_names)}
