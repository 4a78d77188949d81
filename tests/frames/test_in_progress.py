"""A study that is watched while it runs: verdicts at declared looks and at the end alone."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.plans import plan_of

from normlab.figures.drawing import figures_of, specification
from normlab.frames import Frames, judging
from normlab.frames.answer import answer
from normlab.frames.in_progress import in_progress
from normlab.frames.judging import judge
from normlab.frames.robustness import robustness
from normlab.frames.verdicts import claim_table
from normlab.records.plan import ClaimRecord
from normlab.stats.claims import Verdict

WORDS = ("supported", "refuted", "inconclusive")
CLAIM = {
    "name": "b beats a",
    "kind": "better",
    "says": None,
    "source": None,
    "published": {},
    "confound": None,
    "metric": "test_accuracy",
    "at": "last",
    "margin": 0.005,
    "test": "t",
    "sides": [["b"], ["a"]],
    "hash": "h",
}


def frames(
    done: dict[str, int], seeds: int, gap: float = 0.05, looks: tuple[int, ...] = ()
) -> Frames:
    """Arms a and b with so many finished seeds each, b better by `gap`; the others wait."""
    ids = {arm: [{"seed": seed, "id": f"{arm}{seed}"} for seed in range(seeds)] for arm in done}
    made = plan_of(
        [{"label": arm, "trials": trials} for arm, trials in ids.items()],
        seeds=list(range(seeds)),
        claims=[CLAIM],
        sequential=looks,
        figures=[{"kind": "effects", "name": "effects"}],
        analysis={"alternatives": [{"name": "permutation", "test": "permutation"}]},
    )
    noise = np.random.default_rng(0).normal(0.9, 0.002, (2, seeds))
    rows = [
        {
            "arm": arm,
            "seed": seed,
            "id": f"{arm}{seed}",
            "state": "complete" if seed < count else "running" if seed == count else "pending",
            "test_accuracy": noise[at, seed] + gap * (arm == "b") if seed <= count else np.nan,
            "test_images": 10_000.0,
        }
        for at, (arm, count) in enumerate(done.items())
        for seed in range(seeds)
    ]
    return Frames(made, pd.DataFrame(rows), pd.DataFrame(), watched=True)


def verdict(made: Frames) -> str:
    (judged,) = judge(made)
    assert judged.verdict is not None
    return judged.verdict.verdict


def test_no_verdict_before_the_last_trial_of_its_arms() -> None:
    running = frames({"a": 8, "b": 6}, 10)
    assert verdict(running) == "in progress"
    assert verdict(replace(running, watched=False)) == "supported"
    assert verdict(frames({"a": 10, "b": 10}, 10)) == "supported"


def test_between_looks_an_estimate_of_all_finished_trials() -> None:
    running = frames({"a": 8, "b": 6}, 10)
    (judged,) = judge(running)
    found = judged.verdict
    assert found is not None
    assert sorted(found.seeds) == [6, 8]
    assert found.low < found.estimate < found.high
    scores = {arm: running.trials.query(f"arm == '{arm}'")["test_accuracy"] for arm in "ab"}
    assert found.estimate == pytest.approx(scores["b"][:6].mean() - scores["a"][:8].mean())
    assert np.isnan(found.p)
    assert (found.size, found.seeds_to_settle, found.pairs) == (None, None, ())


@pytest.mark.parametrize(
    ("done", "gap", "word"),
    [
        (4, 0.05, "in progress"),
        (5, 0.05, "supported"),
        (7, 0.05, "supported"),
        (5, 0.001, "inconclusive"),
        (7, 0.001, "in progress"),
    ],
)
def test_verdicts_at_declared_looks(done: int, gap: float, word: str) -> None:
    assert verdict(frames({"a": done, "b": done}, 10, gap, looks=(5, 10, 20))) == word


@pytest.mark.parametrize("done", [5, 7, 10])
def test_a_settled_claim_is_judged_once(done: int, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[str] = []
    of_claim = judging.verdict_on

    def counted(made: Frames, record: ClaimRecord) -> Verdict:
        judged.append(record.name)
        return of_claim(made, record)

    monkeypatch.setattr(judging, "verdict_on", counted)
    made = frames({"a": done, "b": done}, 10, looks=(5, 10, 20))
    assert verdict(made) == "supported"
    assert len(judged) == 1


def test_nothing_else_says_a_verdict_either() -> None:
    running = frames({"a": 8, "b": 6}, 10)
    assert len(robustness(running)) == 0
    shown = [*answer(running).sentences, *map(str, claim_table(running).to_numpy().ravel())]
    for figure in figures_of(running, None):
        assert figure.drawn is not None
        shown.append(json.dumps(specification(figure.drawn)))
    for word in WORDS:
        assert not [text for text in shown if word in text]
    assert answer(running).sentences[0].startswith("b beats a: +4.")
    assert answer(running).sentences[0].endswith("so far.")


def test_how_far_it_is_and_when_the_verdict_comes() -> None:
    assert in_progress(frames({"a": 10, "b": 10}, 10)) is None
    assert in_progress(replace(frames({"a": 8, "b": 6}, 10), watched=False)) is None
    found = in_progress(frames({"a": 8, "b": 6}, 10))
    assert found is not None
    assert found.said == "in progress: 6 to 8 of 10 seeds an arm"
    assert "when all trials of its arms are finished" in found.next_look
    found = in_progress(frames({"a": 7, "b": 7}, 10, looks=(5, 10, 20)))
    assert found is not None
    assert found.next_look == (
        "The next look at the claims is at 10 seeds an arm, of looks at 5, 10, 20."
    )


def test_nothing_to_compare_yet() -> None:
    found = answer(frames({"a": 3, "b": 0}, 10))
    assert found.sentences[0] == "b beats a: nothing to compare so far."
