"""Slips in a file of sentences are refused by number and key."""

from pathlib import Path

import pytest

from normlab.errors import UserError
from normlab.sentences.files import sentences
from normlab.sentences.sentence import Sentence

SHOWN = [{"norm": "batch"}]
CLAIMS = {"mnist-norms": ["L2 helps LayerNorm"]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shown": SHOWN}, "sentence 3: one of 'quote' and 'has' is needed"),
        ({"quote": "a", "has": "b", "shown": SHOWN}, "one of 'quote' and 'has' is needed"),
        ({"quote": "a"}, "'claims' that ask it, 'shown' or the reason in 'not_asked' is needed"),
        (
            {
                "quote": "a",
                "claims": CLAIMS,
                "not_asked": {"why": "no statement", "reason": "none"},
            },
            "has claims: it cannot have 'not_asked' too",
        ),
        ({"quote": "a", "also": CLAIMS}, "'also' needs 'claims' beside it"),
        ({"quote": "a", "shwon": SHOWN}, "Did you mean 'shown'?"),
        ({"quote": "a", "shown": [{"nrom": "batch"}]}, "one of study, model, norm"),
        ({"quote": "a", "shown": [{"study": "mnist-norms", "fig": "x"}]}, "Did you mean 'figure'?"),
        ({"quote": "a", "not_asked": {"why": "later", "reason": "b"}}, "no claim yet"),
        ({"quote": "a", "claims": {"mnist-norms": []}}, "claims"),
    ],
)
def test_a_slip_is_named(keys: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        Sentence.parse({"number": 3, **keys}, where="a.yaml")
    assert message in str(error.value)


def test_numbers_go_on_from_source_to_source(tmp_path: Path) -> None:
    for place, source in enumerate("abcd", start=1):
        text = f"title_of_source: {source}\nsentences: [{{number: {place}, has: x, shown: [{{norm: batch}}]}}]"
        (tmp_path / f"{source}.yaml").write_text(text)
    text = "title_of_source: all\nsentences: [{number: 6, has: x, shown: [{norm: batch}]}]"
    (tmp_path / "all.yaml").write_text(text)
    with pytest.raises(UserError, match=r"all.yaml: sentence 6 stands where 5 belongs"):
        sentences(tmp_path)
    (tmp_path / "all.yaml").write_text(text.replace("6", "5"))
    assert [source for source, _ in sentences(tmp_path)] == ["A", "B", "C", "D", "all"]


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ({"claims": CLAIMS, "shown": SHOWN}, "asked"),
        ({"shown": SHOWN}, "shown"),
        ({"shown": SHOWN, "not_asked": {"why": "no claim yet", "reason": "b"}}, "not asked"),
    ],
)
def test_claims_ask_and_what_is_shown_does_not(keys: dict[str, object], state: str) -> None:
    assert Sentence.parse({"number": 1, "quote": "a", **keys}).state == state
