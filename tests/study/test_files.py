from pathlib import Path

import pytest
import yaml

from normlab.errors import UserError
from normlab.study.files import bundled, find, parse_yaml, read


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "1E-3", ".1e-2"])
def test_all_ways_to_write_a_number_are_numbers(text: str) -> None:
    assert parse_yaml(f"lr: {text}") == {"lr": 0.001}


def test_words_stay_words() -> None:
    words = ["none", "e5", "1e", "batch", "on", "no", "2020-01-01", "1:30"]
    assert parse_yaml(f"[{', '.join(words)}]") == words


def test_numbers_and_truth_values_are_those_of_yaml_1_2() -> None:
    assert parse_yaml("[010, -3, +2.5, .inf, true, False, null, ~]") == [
        10, -3, 2.5, float("inf"), True, False, None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 3000, "!!int x"], ids=["long", "deep", "tag"])
def test_what_python_cannot_hold_is_bad_yaml(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("base:\n  lr: 1\n  lr: 2\n")
    with pytest.raises(UserError, match="'lr' is given twice"):
        read(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a: [1", "not valid YAML"), (b"- 1", "holds a list: a mapping"), (b"", "is empty: a mapping"), (b"\xff\xfe\x00a", "cannot be read"),
     (b"!!python/object/apply:os.getcwd []", "not valid YAML")],
)  # fmt: skip
def test_bad_files_are_the_user_s_mistake(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "s.yaml")


def test_finds_by_name_and_by_path(tmp_path: Path) -> None:
    assert find("digits-norms") == bundled()["digits-norms"]
    own = tmp_path / "own.yaml"
    own.write_text("")
    assert find(own) == own


@pytest.mark.parametrize(
    ("name", "message"),
    [("digit-norms", "Did you mean 'digits-norms'"), ("no/such.yaml", "no study file")],
)
def test_an_unknown_study_is_the_user_s_mistake(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find(name)
