"""Each finding of the linter on a study that has the slip, and none on one that has not."""

import pytest

from normlab.study.lint import lint
from normlab.study.plan import make_plan
from normlab.study.spec import Study

BASE = {"data": "digits", "model": "digits-small", "batch_size": 32}
CLEAN = {"factors": {"norm": ["none", "batch"]}, "seeds": 2}


def findings(values: dict[str, object], **base: object) -> list[str]:
    content = {"name": "s", "question": "?", "base": {**BASE, **base}, **CLEAN, **values}
    return lint(make_plan(Study.parse(content)))


def test_a_clean_study_has_none() -> None:
    assert findings({}) == []


GHOST = {"kind": "ghost_batch", "splits": 2}
CASES: list[tuple[dict[str, object], dict[str, object], str]] = [
    ({"seeds": 1}, {}, "one seed"),
    ({"factors": {"batch_size": [16, 64]}}, {}, "batch sizes 16, 64 share one learning rate"),
    ({}, {"validation": 0}, "no validation images (none, batch)"),
    ({}, {"early_stopping": {"patience": 3, "split": "train"}}, "stops by its own scores"),
    ({}, {"batch_size": 4}, "batch: batch norm takes its statistics from 4 images"),
    ({}, {"l2": {"strength": 0.1, "roles": "all"}}, "l2 acts on the norms' gains too"),
    (
        {
            "factors": {},
            "arms": [
                {"label": "b", "set": {"norm": "batch"}},
                {"label": "g", "set": {"norm": GHOST, "batch_size": 64}},
            ],
        },
        {},
        "g: ghosts of 32 images in batches of 64 beside batch norm at 32",
    ),
    (
        {"factors": {"norm": [{**GHOST, "splits": 3}]}},
        {},
        "the last ghost of a batch has 10 images",
    ),
    (
        {
            "factors": {"norm": ["none", "batch"], "lr": [0.1, 0.2]},
            "claims": [
                {
                    "kind": "better",
                    "arm": {"norm": "batch", "lr": 0.1},
                    "over": {"norm": "none", "lr": 0.2},
                    "name": "c",
                }
            ],
        },
        {},
        "claim c: its sides differ in norm, lr at once",
    ),
]


@pytest.mark.parametrize(("values", "base", "words"), CASES)
def test_a_slip_is_found(values: dict[str, object], base: dict[str, object], words: str) -> None:
    assert any(words in finding for finding in findings(values, **base))


def test_batch_sizes_with_epochs_that_match_their_updates_are_no_slip() -> None:
    arms = [{"label": "a", "set": {}}, {"label": "b", "set": {"batch_size": 64, "epochs": 20}}]
    assert findings({"factors": {}, "arms": arms}, epochs=10) == []
