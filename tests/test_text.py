"""Text of strangers is shown, and never obeyed."""

import io
import json

import pytest

from normlab.text import (
    cell,
    clean,
    first_control,
    from_cell,
    may_hide_controls,
    name_alone,
    names_alone,
    shown,
)

RED, BELL, TITLE, REVERSED = "\x1b[31mred", "\a", "\x1b]0;owned\x07", "a\u202eb"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RED, r"\x1b[31mred"),
        (TITLE, r"\x1b]0;owned\x07"),
        (REVERSED, r"a\u202eb"),
        ("a\rb", r"a\x0db"),
        ("a\x9bb", r"a\x9bb"),
        ("a\u2028b", r"a\u2028b"),
        ("a\nb\tc", r"a\x0ab\x09c"),
        ("norm µ × 你好 é [bold]", "norm µ × 你好 é [bold]"),
    ],
)
def test_control_characters_are_written_out_and_nothing_else(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_lines_are_left_where_there_may_be_some() -> None:
    assert shown("a\nb\tc\x1b", lines=True) == "a\nb\tc\\x1b"


def test_data_are_cleaned_with_their_keys_and_in_one_line() -> None:
    data = {"a\x1b": ["x\ny", {"b": "\a"}], "n": 1, "none": None}
    assert clean(data) == {"a\\x1b": ["x y", {"b": "\\x07"}], "n": 1, "none": None}


@pytest.mark.parametrize("control", ["\x1b", "\n", "\x7f", "\x9b", "\u202e"])
@pytest.mark.parametrize("escaped", [True, False])
def test_json_that_needs_no_cleaning_has_no_control_character(control: str, escaped: bool) -> None:
    data = {f"a{control}": 1}
    text = json.dumps(data, ensure_ascii=escaped)
    assert clean(data) != data
    assert may_hide_controls(text)
    assert not may_hide_controls(json.dumps({"a": ["b", 1.5, None]}))


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"a": [{"b": "x\x1b"}]}, "a.1.b"),
        ({"a\x1b": 1}, "a\\x1b"),
        ({"a": "x\ny", 3: [1, None, True]}, None),
    ],
)
def test_the_first_control_character_is_named(data: object, place: str | None) -> None:
    found = first_control(data)
    assert (found[0] if found else None) == place


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-", "=HYPERLINK(1)"]
)
def test_a_formula_gets_a_quotation_mark_and_loses_it_again(text: str) -> None:
    assert cell(text) == "'" + text
    assert from_cell(cell(text)) == text


@pytest.mark.parametrize("value", ["-0.5", "+1e3", "batch", "'quoted", "a=b", "", 3, None, -1.5])
def test_what_is_no_formula_is_left_alone(value: object) -> None:
    assert cell(value) == value
    assert from_cell(value) == value


def test_a_terminal_gets_no_control_character_from_messages_and_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from normlab.terminal import console, table

    stream = io.StringIO()
    monkeypatch.setattr(console, "_file", stream)  # `file` would stay today's standard output
    console.print(f"{RED} and {TITLE}", soft_wrap=True)
    console.print(table(["arm"], [(f"{RED}\nforged line {REVERSED}",)]))
    written = stream.getvalue()
    assert not set("\x1b\x07\u202e") & set(written)
    assert "forged line" in [line for line in written.splitlines() if "red" in line][-1]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/me/my data/x.npz", "x.npz"),
        ("~/data/x.npz", "x.npz"),
        ("~me/data", "data"),
        ("file:///home/me/x", "x"),
        ("C:\\Users\\me\\x", "x"),
        ("\\\\server\\share\\x", "x"),
        ("data/x.npz", "data/x.npz"),
        ("batch", "batch"),
    ],
)
def test_of_a_path_of_the_machine_the_name_stays(path: str, name: str) -> None:
    assert name_alone(path) == name
    inner = {"kind": "npz", "paths": (path, 3)}
    assert names_alone({"data": inner, "norm": None}) == {
        "data": {"kind": "npz", "paths": [name, 3]},
        "norm": None,
    }
