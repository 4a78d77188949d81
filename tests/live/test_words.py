"""Messages without the paths of the machine that serves them."""

from pathlib import Path

import pytest

from normlab.errors import UserError
from normlab.live.words import without_paths, words_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            '  File "/usr/lib/python3.11/x y/json.py", line 3, in f',
            '  File "json.py", line 3, in f',
        ),
        ('File "C:\\Users\\me\\my code\\a.py", line 1', 'File "a.py", line 1'),
        ("No such file: '/home/me/runs/a/store.sqlite'", "No such file: 'store.sqlite'"),
        ("cannot read /data/x.npz: damaged", "cannot read x.npz: damaged"),
        ("C:\\Users\\me\\x.npz is gone", "x.npz is gone"),
        ("D:/data/x.npz is gone", "x.npz is gone"),
        ("(/etc/passwd)", "(passwd)"),
        ("PATH=/usr/bin:/bin", "PATH=bin:/bin"),
        ("see https://example.org/a/b.html", "see https://example.org/a/b.html"),
        ("and/or, 3/4, km/h", "and/or, 3/4, km/h"),
        ("artifacts/abc/weights.pt is gone", "artifacts/abc/weights.pt is gone"),
        ("a / b", "a / b"),
        ("~/data/x.npz is gone", "x.npz is gone"),
        ("~me/data/x.npz is gone", "x.npz is gone"),
        ("about ~5/6 of them", "about ~5/6 of them"),
        ("see file:///home/me/x", "see x"),
        (r"\\server\share\x is gone", "x is gone"),
        ("'/home/me/my data/x.npz'", "'x.npz'"),
        ("'~/my data/x.npz' or \"/a b/c\"", "'x.npz' or \"c\""),
        (r"'C:\\Users\\my name\\x.npz'", "'x.npz'"),
        (r"'\\\\server\\a share\\x'", "'x'"),
        ("'a' / 'b', not '/' or '/x'", "'a' / 'b', not '/' or 'x'"),
        ("", ""),
    ],
)
def test_files_have_their_names_alone(text: str, shown: str) -> None:
    assert without_paths(text) == shown


def test_a_folder_with_blanks_has_its_name_alone(tmp_path: Path) -> None:
    folder = tmp_path / "my runs" / "a study"
    error = UserError(f"{folder} holds no runs yet, see {folder}/store.sqlite")
    assert words_of(error, folder) == "a study holds no runs yet, see a study/store.sqlite"


def test_of_an_unforeseen_error_the_name_alone_is_said() -> None:
    assert words_of(KeyError("/home/me")) == "it cannot be read (KeyError)"
    assert words_of(OSError(2, "No such file", "/home/me")) == "No such file"


def test_words_are_shown_and_never_obeyed(tmp_path: Path) -> None:
    folder = tmp_path / "\x1b[2J"
    error = UserError(f"{folder} holds no runs yet\nat all\u202e")
    assert words_of(error, folder) == "\\x1b[2J holds no runs yet\nat all\\u202e"
