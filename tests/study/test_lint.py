"""Each finding of the linter on a study that has the slip, and none on one that has not."""

import re
from pathlib import Path

import pytest

from normlab.study.lint import RULES, Finding, lint
from normlab.study.plan import make_plan
from normlab.study.spec import Study

BASE = {"data": "digits", "model": "digits-small", "batch_size": 32}
CLEAN = {"factors": {"norm": ["none", "batch"]}, "seeds": 2}


def findings(values: dict[str, object], **base: object) -> list[Finding]:
    content = {"name": "s", "question": "?", "base": {**BASE, **base}, **CLEAN, **values}
    return lint(make_plan(Study.parse(content)))


def test_a_clean_study_has_none() -> None:
    assert findings({}) == []


GHOST = {"kind": "ghost_batch", "splits": 2}
LR = [{"label": "a", "set": {}}, {"label": "b", "set": {"norm": "batch", "lr": 0.3}}]
FIRST, OTHER = {"norm": "batch", "lr": 0.1}, {"norm": "none", "lr": 0.2}

CASES: dict[str, list[tuple[dict[str, object], dict[str, object], str]]] = {
    "one-seed": [({"seeds": 1}, {}, "one seed")],
    "unequal-updates": [
        ({"factors": {"batch_size": [16, 64]}}, {}, "batch sizes 16, 64 share one learning rate")
    ],
    "own-learning-rate": [
        ({"factors": {}, "arms": LR}, {}, "only some arms have lr of their own (b)")
    ],
    "no-validation": [({}, {"validation": 0}, "no validation images (none, batch)")],
    "stops-by-train": [
        ({}, {"early_stopping": {"patience": 3, "split": "train"}}, "stops by its own scores")
    ],
    "small-batch": [
        ({}, {"batch_size": 4}, "batch: batch norm takes its statistics from 4 images"),
        (
            {"factors": {"norm": [{"kind": "ghost_batch", "ghost_size": 2}]}},
            {},
            "ghost_batch norm takes its statistics from 2 images",
        ),
    ],
    # Of 1,198 training images.
    "last-batch": [
        ({}, {"batch_size": 399, "validation": 0}, "has 1 image, not 399 (batch)"),
        ({}, {"batch_size": 239, "validation": 0}, "has 3 images, not 239 (batch)"),
    ],
    "dropout-before-batch-norm": [
        ({}, {"dropout": 0.1}, "before norms with batch statistics (batch)")
    ],
    "groups": [
        (
            {"factors": {"norm": ["none", {"kind": kind, "groups": 32}]}},
            {},
            "not every layer can have the groups",
        )
        for kind in ("group", "torch_group", "evonorm_s0")
    ],
    "ghost-confound": [
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
        )
    ],
    "uneven-ghosts": [
        (
            {"factors": {"norm": [{**GHOST, "splits": 3}]}},
            {},
            "the last ghost of a batch has 10 images",
        )
    ],
    "penalty-on-norms": [
        ({}, {"l2": {"strength": 0.1, "roles": "all"}}, "l2 acts on the norms' gains too")
    ],
    # Of 1,078 training images.
    "no-effect": [
        (
            {},
            {"epochs": 3, "schedule": {"kind": "step", "step_size": 3}},
            "schedule {kind: step, step_size: 3} never changes the learning rate within 3 epochs "
            "(none, batch)",
        ),
        (
            {},
            {"epochs": 3, "schedule": {"kind": "step", "step_size": 1, "gamma": 1.0}},
            "never changes the learning rate",
        ),
        (
            {},
            {"epochs": 1, "schedule": {"kind": "cosine", "per": "epoch", "final_lr": 0.003}},
            "never changes the learning rate within 1 epoch (",
        ),
        (
            {},
            {"epochs": 9, "lr": 0.1, "schedule": {"kind": "cosine", "final_lr": 0.1}},
            "never changes the learning rate",
        ),
        (
            {},
            {"epochs": 3, "early_stopping": 2},
            "early_stopping never acts: its patience of 2 cannot run out within 3 epochs",
        ),
        ({}, {"batch_size": 1079}, "batch_size 1079 is more than all 1,078 training images"),
    ],
    "two-at-once": [
        (
            {
                "factors": {"norm": ["none", "batch"], "lr": [0.1, 0.2]},
                "claims": [{**claim, "name": "c"}],
            },
            {},
            "claim c: its sides differ in norm, lr at once",
        )
        for claim in (
            {"kind": "better", "arm": FIRST, "over": OTHER},
            {"kind": "best", "arm": FIRST, "over": [OTHER]},
            {"kind": "ranking", "order": [FIRST, OTHER]},
        )
    ],
}


@pytest.mark.parametrize("rule", RULES)
def test_a_slip_is_found_by_its_rule(rule: str) -> None:
    for values, base, words in CASES[rule]:
        found = [finding.says for finding in findings(values, **base) if finding.rule == rule]
        assert any(words in says for says in found), found


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_card_with_its_reference(rule: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "lint.md").read_text(encoding="utf-8")
    card = re.split(r"^## ", page, flags=re.MULTILINE)[1:][list(RULES).index(rule)]
    assert card.startswith(f"{rule}\n")
    for part in ("**Finds.**", "**Why.**", "**What to do.**", RULES[rule].reference):
        assert part in " ".join(card.split())


def test_dropout_is_no_slip_before_norms_of_single_images_or_behind_the_last() -> None:
    found = findings({"factors": {"norm": ["none", "layer"]}}, dropout=0.1)
    assert "dropout-before-batch-norm" not in {finding.rule for finding in found}
    found = findings({}, dropout={"p": 0.1, "slots": [3]})
    assert "dropout-before-batch-norm" not in {finding.rule for finding in found}


@pytest.mark.parametrize(
    ("rule", "values", "base"),
    [
        (
            "penalty-on-norms",
            {"factors": {"norm": ["none"]}},
            {"l2": {"strength": 0.1, "roles": "all"}},
        ),
        (
            "own-learning-rate",
            {"factors": {}, "arms": [LR[0], {"label": "b", "set": {"norm": "layer", "lr": 0.01}}]},
            {"lr": 0.01},
        ),
        ("own-learning-rate", {"factors": {"lr": [0.1, 0.2]}}, {}),
        (
            "small-batch",
            {},
            {"batch_size": 4, "augment": [{"kind": "cutout", "size": 3, "copies": 2}]},
        ),
        ("small-batch", {"factors": {"norm": ["none", "batch_renorm"]}}, {"batch_size": 4}),
        ("no-effect", {}, {"epochs": 3, "schedule": {"kind": "step", "step_size": 2}}),
        ("no-effect", {}, {"epochs": 1, "schedule": "cosine"}),
        ("no-effect", {}, {"epochs": 1, "schedule": "one_cycle"}),
        ("no-effect", {}, {"epochs": 3, "early_stopping": 1}),
        ("no-effect", {}, {"batch_size": 1078}),
    ],
)
def test_no_false_alarm(rule: str, values: dict[str, object], base: dict[str, object]) -> None:
    assert rule not in {finding.rule for finding in findings(values, **base)}


def test_batch_sizes_with_epochs_that_match_their_updates_are_no_slip() -> None:
    arms = [{"label": "a", "set": {}}, {"label": "b", "set": {"batch_size": 64, "epochs": 20}}]
    assert findings({"factors": {}, "arms": arms}, epochs=10) == []
