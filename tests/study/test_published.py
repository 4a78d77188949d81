"""`published` in a study file: how a source measured what it printed."""

from pathlib import Path
from typing import Any

import pytest

from normlab.errors import UserError
from normlab.frames import published_table
from normlab.records.plan import PlanRecord, PublishedRecord
from normlab.study.plan import make_plan
from normlab.study.resolve import outline
from normlab.study.spec import Study

LOSS = {"arm": {"norm": "batch"}, "values": {"train_loss": 0.032, "train_accuracy": 70.2}}


def study(published: object, **more: Any) -> Study:
    return Study.parse(
        {
            "name": "s",
            "question": "?",
            "base": {"data": "digits", "model": "digits-small", "epochs": 2, "validation": 0},
            "factors": {"norm": ["none", "batch"]},
            "seeds": 1,
            "published": published,
            **more,
        }
    )


def record(published: object) -> PublishedRecord:
    (found,) = outline(study(published)).published
    return found


def test_a_list_of_rows_is_the_short_form() -> None:
    assert record([LOSS]) == record({"rows": [LOSS]})
    assert record([LOSS]).arms == ("batch",)
    assert record([LOSS]).at is None


def test_a_divided_loss_is_converted_and_what_was_printed_is_kept() -> None:
    found = record({"divided_by": {"train_loss": 32}, "rows": [LOSS]})
    assert found.values == {"train_loss": 1.024, "train_accuracy": 70.2}
    assert (found.printed, found.divided_by) == ({"train_loss": 0.032}, {"train_loss": 32})


def test_a_row_s_own_keys_come_before_those_of_all() -> None:
    own = {**LOSS, "at": 1, "divided_by": {"train_loss": 8}, "source": "Table 2", "split": "train"}
    every = {"at": "best_test", "divided_by": {"train_loss": 32}, "source": "Table 1"}
    mine = record({**every, "rows": [own]})
    assert (mine.at, mine.values["train_loss"], mine.source) == (1, 0.256, "Table 2")
    assert (mine.split, mine.run) == ("train", None)
    theirs = record({**every, "rows": [LOSS]})
    assert (theirs.at, theirs.values["train_loss"], theirs.source) == (
        "best_test",
        1.024,
        "Table 1",
    )


def test_words_are_not_converted() -> None:
    rows = [{"arm": {"norm": "batch"}, "values": {"train_loss": "about 0.03"}}]
    found = record({"divided_by": {"train_loss": 32}, "rows": rows})
    assert (found.values, found.printed) == ({"train_loss": "about 0.03"}, {})


def test_it_comes_through_every_variant_and_through_json() -> None:
    made = study({"at": "best_test", "note": "one run each", "rows": [LOSS]})
    plan = outline(made.vary(seeds=2))
    assert plan.published == outline(made).published
    assert plan.published_notes == ("one run each",)
    assert PlanRecord.from_json(plan.to_json()) == plan


def test_a_note_alone_says_why_there_are_no_numbers() -> None:
    plan = outline(study({"note": ["none", "at all"]}))
    assert (plan.published, plan.published_notes) == ((), ("none", "at all"))


def test_a_variant_says_how_many_rows_it_leaves_out() -> None:
    other = {"arm": {"norm": "none"}, "values": {"test_accuracy": 90}}
    made = study({"note": "one run each", "rows": [LOSS, other]})
    variant = outline(made.vary(overrides={"norm": "batch"}))
    assert [row.arms for row in variant.published] == [("base",)]
    assert variant.published_notes[1] == (
        "This variant leaves out the arms of 1 of 2 published rows"
    )
    assert outline(made).published_notes == ("one run each",)


def test_no_key_of_it_changes_a_trial_or_a_claim() -> None:
    claims = [{"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}}]
    plain = make_plan(study([], claims=claims)).record
    every = {"at": "best_test", "source": "T", "divided_by": {"train_loss": 2}, "note": "n"}
    told = make_plan(study({**every, "rows": [{**LOSS, "run": "r"}]}, claims=claims)).record
    assert set(told.trials) == set(plain.trials)
    assert (told.claims, told.declared) == (plain.claims, plain.declared)


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ({"at": "best_tset", "rows": [LOSS]}, "best_test, if the source took the best epoch"),
        ({"at": 0, "rows": [LOSS]}, "an epoch's number from 1 on"),
        ({"divided_by": {"train_los": 2}, "rows": [LOSS]}, "Did you mean 'train_loss'"),
        ({"divided_by": {"test_loss": 2}, "rows": [LOSS]}, "which no row prints"),
        ({"divided_by": {"train_loss": 0}, "rows": [LOSS]}, "greater than 0"),
        ({"divided_by": {"train_accuracy": 2}, "rows": [LOSS]}, "is in percent"),
        ([{**LOSS, "divided_by": {"test_loss": 2}}], "which is none of the values"),
        ([{**LOSS, "split": "test"}], "allowed: validation, train"),
        ([{**LOSS, "arm": {"norm": "layer"}}], r"published: no arm has {norm: layer}"),
        ({"row": [LOSS]}, "Did you mean 'rows'"),
        ([{**LOSS, "notes": "n"}], "Did you mean 'note'"),
    ],
)
def test_a_mistake_is_named(published: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        outline(study(published))


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (3, "published, arm 'batch': at is 3: epoch 3 is beyond its 2 epochs"),
        ("worst_of_last_5", "epoch 5 is beyond its 2 epochs"),
        ("best_validation", "it has no validation images"),
    ],
)
def test_an_epoch_that_no_training_has_is_refused_by_plan(at: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(study({"at": at, "rows": [LOSS]}))


@pytest.mark.parametrize("at", [2, "last", "best_test"])
def test_an_epoch_that_it_has_is_planned(at: object) -> None:
    assert make_plan(study({"at": at, "rows": [LOSS]})).record.published[0].at == at


def test_columns_of_the_source_need_no_epoch() -> None:
    rows = [{"arm": {"norm": "batch"}, "at": 3, "values": {"watts": 300}}]
    assert make_plan(study(rows)).record.published[0].at == 3


def test_rows_of_a_plan_of_before_are_read(tmp_path: Path) -> None:
    data = outline(study([LOSS])).model_dump(mode="json")
    del data["published_notes"]
    old = {"best_test_accuracy": 99.5, "train_loss / 32": 0.03}
    data["published"] = [{"arms": ["batch"], "values": old}]
    plan = PlanRecord.from_data(data)
    found = published_table(plan)
    assert found["published"].tolist() == [99.5, 0.03]
    assert found["measure"].tolist() == list(old)
