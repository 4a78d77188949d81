"""What lanes gain: the table's rows, and what is near to them."""

import json
from pathlib import Path

import pytest

from normlab.data import describe
from normlab.native import compiled
from normlab.recipe import Recipe
from normlab.train.lanes import gains, rule

ROOT = Path(__file__).parents[3]


def form(model: str = "mnist-7704", norm: str = "batch", batch: int = 64) -> rule.Form:
    recipe = Recipe.parse({"data": "digits", "model": "digits-small", "norm": "batch"})
    with_model = Recipe.parse(
        {"data": "mnist", "model": "mnist-7704", "norm": norm, "batch_size": batch}
    )
    shape = describe(with_model.data).shape
    return rule.Form(
        json.dumps({"kind": model}),
        with_model.norm.model_dump_json(),
        *("relu", "dropout", batch, "sgd", (), recipe.data.model_dump_json(), "0", shape, 10, 1000),
    )


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        ("mnist-7704", "1x28x28", "batch", 32): (0.2, 0.8, 1.4, 2.0),
        ("mnist-7704", "1x28x28", "batch", 128): (0.3, 1.0, 2.0, 4.0),
        ("mnist-7704", "1x28x28", "layer", 128): (0.4, 1.2, 2.4, 3.0),
    }
    monkeypatch.setattr(gains, "TABLE", {16: rows})
    monkeypatch.setattr(compiled, "lanes", lambda: 16)


def test_a_row_of_its_own() -> None:
    assert [gains.gain(form(batch=128), n) for n in (1, 4, 8, 16)] == [0.3, 1.0, 2.0, 4.0]


def test_empty_lanes_take_as_long() -> None:
    assert gains.gain(form(batch=128), 12) == pytest.approx(4.0 * 12 / 16)
    assert gains.gain(form(batch=128), 2) == pytest.approx(1.0 / 2)


def test_the_norm_weighs_more_than_the_batch() -> None:
    assert gains.gain(form(norm="layer", batch=32), 16) == 3.0
    assert gains.gain(form(batch=40), 16) == 2.0
    assert gains.gain(form(batch=100), 16) == 4.0


def test_an_unknown_model_has_the_least() -> None:
    assert gains.gain(form(model="mine"), 16) == 2.0


def test_the_width_is_a_part_of_the_name() -> None:
    narrow = form()._replace(model=json.dumps({"kind": "resnet", "width": 8}))
    assert gains.key(narrow)[0] == "resnet of 8"


def test_the_shipped_table_is_that_of_the_stored_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found: dict[int, dict[gains.Key, tuple[float, ...]]] = {16: {}, 8: {}}
    for path in (ROOT / "benchmarks" / "results").glob("lanes_*.json"):
        stored = json.loads(path.read_text("utf-8"))
        assert stored["processor"]
        for row in stored["rows"]:
            if "ratio" in row and not row["refusal"]:
                name, image, norm, batch = row["key"]
                values = tuple(round(value, 2) for value in row["ratio"].values())
                found[row["lanes"]][name, image, norm, batch] = values
    assert found[16]
    assert found == gains.TABLE


def test_lanes_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.parse({"data": "digits", "model": "digits-small", "norm": "batch"})
    monkeypatch.setenv("NORMLAB_LANES", "0")
    assert rule.size() == 0
    said = rule.form(recipe, (1, 8, 8), 10, 100, "cpu")
    assert said == "NORMLAB_LANES=0 switches lanes off"
