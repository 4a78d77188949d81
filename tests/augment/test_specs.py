"""What a recipe may say about augmentation, and how it is told what is wrong."""

from typing import Any, ClassVar

import pytest

from normlab.errors import UserError
from normlab.recipe.augment import AUGMENTATIONS, AugmentSpec
from normlab.recipe.component import Spec
from tests.augment.settings import CASES, OFF, Options


class Holder(Spec):
    title: ClassVar[str] = "a recipe"
    augment: AugmentSpec = ()


def read(value: Any) -> Holder:
    return Holder.parse({"augment": value})


def test_a_list_of_names_and_mappings_is_read_in_its_order() -> None:
    found = read(["crop", {"kind": "rotation", "degrees": 6}, "horizontal_flip", "crop"]).augment
    assert [spec.kind for spec in found] == ["crop", "rotation", "horizontal_flip", "crop"]
    assert found[0].options == {"padding": 4, "fill": "black"}
    assert found[1].options == {"degrees": 6, "fill": "black", "interpolation": "nearest"}


def test_the_default_is_nothing() -> None:
    assert read([]) == Holder() == Holder.parse({})
    assert Holder().model_dump(exclude_defaults=True) == {}


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_what_is_dumped_reads_as_the_same(kind: str, options: Options) -> None:
    holder = read([{"kind": kind, **options}])
    plain = holder.model_dump(mode="json", exclude_defaults=True)
    assert plain["augment"][0]["kind"] == kind
    assert Holder.parse(plain) == holder
    assert hash(holder.augment) == hash(Holder.parse(plain).augment)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_what_does_nothing_is_as_good_as_not_written(kind: str) -> None:
    assert read([{"kind": kind, **OFF[kind]}]) == Holder()


def test_repeating_images_is_something() -> None:
    assert len(read([{"kind": "cutout", "size": 0, "copies": 2}]).augment) == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("crop", "augment is 'crop': needs a list of names or mappings"),
        (None, "augment is None: needs a list"),
        (["croop"], "augment.0: unknown kind 'croop'. Did you mean 'crop'?"),
        (["crop", 5], "augment.1 is 5: needs a name or a mapping with the key 'kind'"),
        (["rotation"], "augment.0.degrees: is required"),
        (["shift"], "augment.0: augmentation 'shift' needs at least one of x, y"),
        (["affine"], "augment.0: augmentation 'affine' needs at least one of degrees, shear"),
        (["crop", {"kind": "rotation", "degrees": 181}], "augment.1.degrees is 181: "),
        ([{"kind": "crop", "padding": -1}], "augment.0.padding is -1: "),
        ([{"kind": "crop", "padding": 1.5}], "augment.0.padding is 1.5: "),
        (
            [{"kind": "crop", "fill": "blakc"}],
            "allowed: black, nearest, reflect (nearest: 'black')",
        ),
        ([{"kind": "crop", "paddin": 3}], "Did you mean 'padding'?"),
        ([{"kind": "horizontal_flip", "p": 1.1}], "augment.0.p is 1.1: "),
        ([{"kind": "shift", "x": 1.5}], "augment.0.x is 1.5: "),
        ([{"kind": "affine", "shear": 90}], "augment.0.shear is 90: "),
        ([{"kind": "affine", "scale": [1.2, 0.8]}], "the smaller factor comes first"),
        ([{"kind": "affine", "scale": 1.2}], "two factors are needed"),
        ([{"kind": "affine", "scale": [0, 1]}], "augment.0.scale.0 is 0: "),
        ([{"kind": "affine", "scale": [True, "1"]}], "augment.0.scale.1 is '1': "),
        ([{"kind": "brightness", "strength": -0.1}], "augment.0.strength is -0.1: "),
        ([{"kind": "cutout", "size": 8, "copies": 0}], "augment.0.copies is 0: "),
        ([{"kind": "mixup", "alpha": float("inf")}], "augment.0.alpha is inf: "),
        ([{"kind": "label_smoothing", "strength": 1}], "augment.0.strength is 1: "),
    ],
)
def test_a_mistake_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(value)
    assert message in str(caught.value)
