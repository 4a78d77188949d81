import pytest

from normlab.data import splits
from normlab.errors import UserError
from normlab.recipe import Recipe
from normlab.recipe.regularizers import EarlyStopping
from normlab.records import EpochRecord
from normlab.train import EpochDone, Finished, train
from normlab.train.stopping import can_stop, is_stale


def history(*losses: float | None, split: str = "validation") -> list[EpochRecord]:
    scores = dict.fromkeys(
        [
            f"{s}_{m}"
            for s in ("train", "validation", "test")
            for m in ("loss", "accuracy", "macro_f1", "micro_f1")
        ],
        0.5,
    )
    return [
        EpochRecord(
            epoch=n,
            lr=0.1,
            seconds=1,
            examples_per_second=1,
            **{**scores, f"{split}_loss": loss},  # type: ignore[arg-type]
        )
        for n, loss in enumerate(losses, start=1)
    ]


def rule(**values: object) -> EarlyStopping:
    return EarlyStopping.parse(values)


@pytest.mark.parametrize(
    ("losses", "stale"),
    [
        ((1.0, 0.9, 0.8), False),
        ((1.0, 0.9, 0.95, 0.9), True),  # two epochs after the best: an equal value is none
        ((1.0, 0.9, 0.95), False),
        ((1.0, 1.1, 1.2), True),
        ((1.0, 1.1, 0.9, 1.0), False),
        ((None, None), True),
    ],
)
def test_patience_counts_epochs_since_the_best(
    losses: tuple[float | None, ...], stale: bool
) -> None:
    assert is_stale(history(*losses), rule(patience=2)) is stale


def test_a_change_within_min_delta_is_no_improvement() -> None:
    losses = (1.0, 0.95, 0.93)
    assert not is_stale(history(*losses), rule(patience=2))
    assert is_stale(history(*losses), rule(patience=2, min_delta=0.1))


def test_accuracy_counts_upwards_and_the_split_is_the_named_one() -> None:
    flat = history(1.0, 0.9, 0.8)
    assert is_stale(flat, rule(patience=2, metric="accuracy"))
    assert is_stale(flat, rule(patience=2, split="train"))
    assert not is_stale(history(1.0, 0.9, 0.8, split="train"), rule(patience=2, split="train"))


def test_without_a_patience_nothing_stops() -> None:
    assert not is_stale(history(1.0, 2.0, 3.0), EarlyStopping())


def test_a_trial_stops_early_and_resumed_stops_at_the_same_epoch(digits: dict[str, object]) -> None:
    recipe = Recipe.parse({**digits, "epochs": 30, "lr": 1e-30, "early_stopping": {"patience": 2}})
    *epochs, end = train(recipe, 0, splits(recipe))
    assert isinstance(end, Finished)
    assert end.result.state == "complete"
    assert end.result.stopped_early
    assert end.result.epochs == len(epochs) < 30
    assert isinstance(epochs[0], EpochDone)
    again = list(train(recipe, 0, splits(recipe), resume=epochs[-1].checkpoint))  # type: ignore[union-attr]
    assert len(again) == 1


def test_the_test_set_is_refused_as_the_split(digits: dict[str, object]) -> None:
    with pytest.raises(UserError, match="test images select nothing"):
        Recipe.parse({**digits, "early_stopping": {"patience": 2, "split": "test"}})
    with pytest.raises(UserError, match="needs validation images"):
        Recipe.parse({**digits, "early_stopping": 2, "validation": 0})


@pytest.mark.parametrize("patience", [1, 2, 3, 4])
@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5])
def test_a_patience_can_run_out_or_not(patience: int, epochs: int) -> None:
    """Against the worst training there is: nothing is better than the first epoch."""
    stops = rule(patience=patience)
    ends = [n for n in range(1, epochs) if is_stale(history(1.0, *[2.0] * (n - 1)), stops)]
    assert can_stop(stops, epochs) == bool(ends)
