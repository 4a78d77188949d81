"""Every sentence of the sources has an answer or a reason, made from the studies as they are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import normlab
from normlab.errors import UserError
from normlab.frames import claim_table
from normlab.models import build, parameter_count
from normlab.recipe import MODELS, Recipe
from normlab.reports.typeset import escape_markdown
from normlab.sentences import Row, Scoreboard
from normlab.sentences.bundle import Bundle
from normlab.sentences.files import sentences, setups
from normlab.sentences.page import source_table
from normlab.sentences.rows import Asked, decided, row_of
from normlab.sentences.sentence import Sentence
from normlab.sentences.setups import Setup, StudyScale, scale_of
from normlab.sentences.shown import CommandShown, ModelShown, PageShown
from normlab.study.released import released_frames

ROOT = Path(__file__).parents[2]
FULL = "mnist-l1-l2-gbn"


@pytest.fixture(scope="module")
def board() -> Scoreboard:
    return normlab.scoreboard()


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle()


def asked(claim: str, verdict: Any, **changed: Any) -> Asked:
    made = Asked(
        study="s",
        claim=claim,
        kind="better",
        decides=True,
        verdict=verdict,
        seeds=3,
        scale="full",
        measured=None,
        exploratory=None,
        reason="",
    )
    return replace(made, **changed)


def test_every_sentence_of_the_sources_has_a_row(board: Scoreboard) -> None:
    assert [row.number for row in board.rows] == list(range(1, 190))
    assert [row.source for row in board.rows if row.number in {1, 85, 121, 141, 177}] == [
        "A", "B", "C", "D", "all",
    ]  # fmt: skip


def test_a_row_without_a_verdict_has_a_reason(board: Scoreboard) -> None:
    for row in board.rows:
        assert row.reason, row.number
        if row.state == "asked" and row.verdict is None:
            assert f"normlab run {row.study}" in row.reason
        assert (row.why is None) == (row.state != "not asked")
        if row.state == "not asked":
            assert (row.study, row.claim, row.verdict, row.seeds, row.scale) == (None,) * 5


def test_the_counts_are_those_of_the_rows(board: Scoreboard) -> None:
    counts = board.counts
    assert counts["rows"] == counts["asked"] + counts["shown"] + counts["not asked"]
    parts = ("supported", "refuted", "inconclusive", "rehearsed", "not run")
    assert counts["asked"] == sum(counts[part] for part in parts)
    assert counts["not asked"] == sum(board.why.values())
    for word in ("supported", "refuted", "inconclusive"):
        assert len(board.only(verdict=word).rows) == counts[word]
    assert len(board.only(verdict="none").rows) == counts["rehearsed"] + counts["not run"]


def test_every_claim_of_a_source_s_study_asks_a_sentence(board: Scoreboard, bundle: Bundle) -> None:
    on_board = {(each.study, each.claim) for row in board.rows for each in row.asked}
    claims = {(name, claim.name) for name in setups() for claim in bundle.outline(name).claims}
    assert claims == on_board


def test_a_verdict_is_that_of_the_released_trials(board: Scoreboard, bundle: Bundle) -> None:
    frames = released_frames(bundle.study(FULL))
    assert frames is not None
    verdicts = claim_table(frames).set_index("claim")
    found = [each for row in board.rows for each in row.asked if each.study == FULL]
    assert len(found) >= len(verdicts)
    for each in found:
        assert each.verdict == verdicts.loc[each.claim, "verdict"]
        assert each.seeds == verdicts.loc[each.claim, "seeds"]
        assert each.measured == verdicts.loc[each.claim, "measured"]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["supported", "supported"], 0),
        (["supported", "inconclusive"], 1),
        (["inconclusive", "refuted"], 1),
        (["refuted", "refuted"], 0),
        (["supported", None], 1),
    ],
)
def test_claims_of_one_study_hold_together(verdicts: list[Any], expected: int) -> None:
    claims = [asked(str(place), verdict) for place, verdict in enumerate(verdicts)]
    assert decided(claims).claim == str(expected)


def row(bundle: Bundle, scales: Callable[[str], StudyScale], **keys: Any) -> Row:
    return row_of("A", Sentence.parse({"number": 1, "quote": "a", **keys}), bundle, scales)


def test_the_study_nearest_to_the_source_decides(bundle: Bundle) -> None:
    scales = {
        "mnist-norms": StudyScale("mnist-norms", "laptop", 3),
        "mnist-norms-grid": StudyScale("mnist-norms-grid", None, None),
    }
    claims = {"mnist-norms-grid": ["L2 helps LayerNorm"], "mnist-norms": ["L2 helps LayerNorm"]}
    found = row(bundle, scales.__getitem__, claims=claims)
    assert (found.study, found.scale) == ("mnist-norms", "laptop")
    assert found.verdict is not None
    scales["mnist-norms"] = StudyScale("mnist-norms", "rehearsal", 2)
    found = row(bundle, scales.__getitem__, claims=claims)
    assert (found.study, found.verdict, found.seeds) == ("mnist-norms", None, 2)
    assert "answers nothing" in found.reason


def test_a_claim_beside_it_decides_nothing(bundle: Bundle) -> None:
    claims, also = ["BatchNorm beats Ghost BatchNorm"], ["L1 with BatchNorm has the lowest loss"]
    scale = StudyScale(FULL, "full", 5)
    found = row(bundle, lambda _: scale, claims={FULL: claims}, also={FULL: also})
    both = row(bundle, lambda _: scale, claims={FULL: [*claims, *also]})
    assert (found.claim, found.verdict) == (claims[0], "inconclusive")
    assert (both.claim, both.verdict) == (also[0], "refuted")
    assert [each.decides for each in found.asked] == [True, False]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"claims": {"mnist-nroms": ["x"]}}, "Did you mean 'mnist-norms'"),
        (
            {"claims": {"mnist-norms": ["L2 helps LayerNrom"]}},
            "mnist-norms: unknown claim 'L2 helps LayerNrom'. Did you mean 'L2 helps LayerNorm'?",
        ),
        ({"shown": [{"study": "mnist-norms", "figure": "curvs"}]}, "Did you mean 'curves"),
        ({"shown": [{"study": "mnist-norms", "arm": "bacth"}]}, "Did you mean 'batch'?"),
        (
            {"shown": [{"study": "mnist-norms", "published": ["test_acurracy"]}]},
            "Did you mean 'test_accuracy'?",
        ),
        (
            {"shown": [{"study": "mnist-norms", "set": {"batch_size": 65}}]},
            "mnist-norms: no arm has batch_size = 65",
        ),
        (
            {"shown": [{"study": "mnist-norms", "set": {"norm.kind": "batch", "l2.strength": 9}}]},
            "no arm has norm.kind = batch, l2.strength = 9",
        ),
        ({"shown": [{"model": "mnist-7287"}]}, "Did you mean 'mnist-7288'?"),
        ({"shown": [{"norm": "btach"}]}, "Did you mean 'batch'?"),
        ({"shown": [{"data": "minst"}]}, "Did you mean 'mnist'?"),
    ],
)
def test_what_is_not_there_is_named(keys: dict[str, Any], message: str, bundle: Bundle) -> None:
    with pytest.raises(UserError) as error:
        row(bundle, lambda name: scale_of(name, setups().get(name), bundle), **keys)
    assert str(error.value).startswith("a.yaml, sentence 1: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changed", "differs"),
    [
        ({}, ()),
        ({"train_images": 50000}, ("60,000 training images, the source has 50,000",)),
        ({"epochs": 15}, ("25 epochs, the source has 15",)),
        ({"set": {"lr": 0.1}}, ("lr is not 0.1 in every arm",)),
        ({"set": {"norm": "batch"}}, ("norm is not batch in every arm",)),
        ({"differs": ("other images",)}, ("other images",)),
    ],
)
def test_the_scale_is_full_where_nothing_differs(
    changed: dict[str, Any], differs: tuple[str, ...], bundle: Bundle
) -> None:
    setup = Setup(**{"train_images": 60000, "epochs": 25, "set": {"lr": 0.022}, **changed})
    found = scale_of(FULL, setup, bundle)
    assert found.differs == differs
    assert found.scale == ("laptop" if differs else "full")
    assert found.seeds == 10


def test_the_scale_of_what_was_not_run_whole(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "frames", lambda _: None)
    monkeypatch.setattr(bundle, "rehearsed", lambda _: released_frames(bundle.study(FULL)))
    assert scale_of(FULL, None, bundle) == StudyScale(FULL, "rehearsal", 10)
    monkeypatch.setattr(bundle, "rehearsed", lambda _: None)
    assert scale_of(FULL, None, bundle) == StudyScale(FULL, None, None)


def test_released_trials_need_a_set_up(bundle: Bundle) -> None:
    with pytest.raises(UserError, match=rf"{FULL} has released trials: say in setups.yaml"):
        scale_of(FULL, None, bundle)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"source": "E"}, "unknown source 'E'"),
        ({"verdict": "suported"}, "Did you mean 'supported'?"),
    ],
)
def test_a_slip_in_a_filter_is_named(
    filters: dict[str, str], message: str, board: Scoreboard
) -> None:
    with pytest.raises(UserError) as error:
        board.only(**filters)
    assert message in str(error.value)


def test_the_page_has_every_claim_that_asks_a_sentence(board: Scoreboard) -> None:
    page = "".join(source_table(board, source) for source in ("A", "B", "C", "D", "all"))
    claims = {each.claim for row in board.rows for each in row.asked}
    beside = sum(not each.decides for row in board.rows for each in row.asked)
    assert {claim for claim in claims if escape_markdown(claim) not in page} == set()
    assert page.count("| beside it, ") == beside > 1


def test_a_source_alone(board: Scoreboard) -> None:
    rows = board.only("b").rows
    assert rows == board.only("B").rows == tuple(row for row in board.rows if row.source == "B")
    assert rows


def test_the_table_has_a_column_for_each_key(board: Scoreboard) -> None:
    (first, *_) = board.record()["rows"]  # type: ignore[misc]
    assert list(board.table.columns) == list(first)
    assert {
        "number", "sentence", "source", "study", "claim", "verdict", "seeds", "scale", "reason",
    } <= set(first)  # fmt: skip
    assert len(board.table) == len(board.rows)


def shown(kind: type[Any]) -> list[Any]:
    return [each for _, one in sentences() for each in one.shown if isinstance(each, kind)]


def test_the_commands_shown_are_there() -> None:
    import typer

    from normlab.cli import app

    groups = {"": typer.main.get_command(app)}
    for each in shown(CommandShown):
        command: Any = groups[""]
        for word in each.command.split():
            command = command.commands[word]
        options = {option for given in command.params for option in given.opts}
        assert each.option is None or each.option in options, each
    assert shown(CommandShown)


def test_the_pages_shown_are_there() -> None:
    for each in shown(PageShown):
        assert (ROOT / each.page).is_file(), each.page
    assert shown(PageShown)


def test_the_models_shown_have_that_many_parameters() -> None:
    from normlab.data import describe

    counted = [each for each in shown(ModelShown) if each.parameters]
    for each in counted:
        recipe = Recipe.parse(
            {"model": each.model, "norm": "batch", "data": MODELS[each.model].made_for}
        )
        facts = describe(recipe.data)
        made = build(recipe, facts.shape, facts.num_classes, device="meta").model
        assert parameter_count(made) == each.parameters
    assert counted
