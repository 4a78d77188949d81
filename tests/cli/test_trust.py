"""What a stranger's study file may do at the command line: nothing, until it is trusted."""

import sqlite3
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run

STUDY = """question: Innocent?
base: {data: digits, model: {kind: "os:system", command: "touch PWNED"}, epochs: 1}
seeds: 1
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(STUDY)
    return tmp_path / "s.yaml"


@pytest.mark.parametrize(
    "command",
    [
        "plan s.yaml",
        "plan s.yaml --json",
        "run s.yaml",
        "plan s.yaml --quick",
        "plan s.yaml --seeds 2",
    ],
)
def test_a_study_file_alone_runs_no_command(normlab: Run, study: Path, command: str) -> None:
    code, out, err = normlab(*command.split())
    assert code == 2
    assert not out
    assert "  os (" in err
    assert "type: normlab trust s.yaml" in err
    assert sorted(path.name for path in study.parent.iterdir()) == ["s.yaml"]


def test_trust_says_what_may_be_imported_and_is_taken_back(normlab: Run, study: Path) -> None:
    code, out, _ = normlab("trust", "s.yaml")
    assert (code, "os (" in out) == (0, True)
    # Trusted, so it is imported and called; what it makes is no module.
    code, _, err = normlab("plan", "s.yaml")
    assert code == 2
    assert "makes int: a torch.nn.Module is needed" in err
    (study.parent / "PWNED").unlink()
    assert normlab("trust", "s.yaml", "--revoke")[0] == 0
    assert "normlab trust s.yaml" in normlab("plan", "s.yaml")[2]
    assert "was not before" in normlab("trust", "s.yaml", "--revoke")[1]
    assert not (study.parent / "PWNED").exists()


def test_there_is_nothing_to_trust_in_a_bundled_study(normlab: Run) -> None:
    assert "nothing to trust" in normlab("trust", "digits-norms")[1]


NET = """from torch import nn


class Net(nn.Sequential):
    def __init__(self, in_channels, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))
"""


def test_a_trusted_package_serves_one_command(
    normlab: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trusted_nets").mkdir()
    (tmp_path / "trusted_nets" / "small.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "s.yaml").write_text(
        "question: q\nbase: {data: digits, model: 'trusted_nets.small:Net', norm: none, epochs: 1}\nseeds: 2\n"
    )
    code, _, err = normlab("run", "s.yaml", "--workers", "2")
    assert (code, "--trust trusted_nets.small" in err) == (2, True)
    code, out, err = normlab("run", "s.yaml", "--workers", "2", "--trust", "trusted_nets")
    assert (code, "2 complete" in out) == (0, True), err  # the workers did not ask again
    for command in ("status", "report", "claims"):
        assert normlab(command, "s.yaml")[0] == 0


@pytest.mark.parametrize(
    "command", ["status s", "report s", "claims s", "list", "show study s.yaml"]
)
def test_what_only_reads_never_imports(
    normlab: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "strange_nets.py").write_text("from tests.models.own import Net\n")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "s.yaml").write_text(
        "question: q\nbase: {data: digits, model: 'strange_nets:Net', epochs: 1}\nseeds: 1\n"
    )
    assert normlab("run", "s.yaml", "--workers", "1", "--trust", "strange_nets")[0] == 0
    del sys.modules["strange_nets"]
    (tmp_path / "strange_nets.py").write_text("raise SystemExit('imported')\n")
    assert normlab(*command.split())[0] == 0
    assert "strange_nets" not in sys.modules


EVIL = "\\u001b[31mred\\u0007\\nforged: 9 complete"


def test_a_terminal_shows_the_text_of_a_store_and_obeys_none_of_it(
    normlab: Run, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(
        "question: q\nbase: {data: digits, model: digits-small, epochs: 1}\nseeds: 2\n"
        "arms: [{label: one, set: {}}, {label: two, set: {norm: none}}]\n"
        "claims: [{kind: better, arm: one, over: two, name: mine}]\n"
    )
    assert normlab("run", "s.yaml", "--workers", "1")[0] == 0
    connection = sqlite3.connect(tmp_path / "runs/s/store.sqlite")
    (plan,) = connection.execute("SELECT plan FROM studies").fetchone()
    for name in ("one", "mine"):
        plan = plan.replace(f'"{name}"', f'"{name}{EVIL}"')
    connection.execute("UPDATE studies SET plan = ?", (plan,))
    connection.execute("UPDATE trials SET state = 'failed', reason = ?", ("x\n\x1b[2Jgone\x07",))
    connection.commit()
    connection.close()
    for command in ("status s", "claims s", "report s", "status s --json"):
        code, out, err = normlab(*command.split())
        assert code == 0
        assert not {c for c in out + err if c != "\n" and not c.isprintable()}
        assert not [line for line in out.splitlines() if line.startswith("forged")]
    assert r"failed: one\x1b[31mred" in normlab("status", "s")[1]


@pytest.mark.parametrize("command", ["plan s.yaml", "show study s.yaml", "trust s.yaml"])
def test_a_message_about_a_file_or_an_option_is_shown_and_not_obeyed(
    normlab: Run, tmp_path: Path, command: str
) -> None:
    (tmp_path / "s.yaml").write_text("question: q\nbase: {data: digits}\nse\u202eds: 1\n")
    _, _, err = normlab(*command.split())
    assert "\\u202e" in err or command.startswith("show")
    assert "\x1b" not in normlab("plan", "\x1b[31mred.yaml")[2]
    assert "\x1b" not in normlab("plan", "digits-norms", "--set", "norm=\x1b[31mred")[2]


def test_a_trial_that_was_not_taken_over_is_said(normlab: Run, tmp_path: Path) -> None:
    text = "question: q\nbase: {data: digits, model: digits-small, epochs: 1}\nseeds: 1\n"
    for name in ("gift", "s"):
        (tmp_path / f"{name}.yaml").write_text(text)
    assert normlab("run", "gift.yaml", "--workers", "1")[0] == 0
    (weights,) = tmp_path.glob("runs/gift/artifacts/*/weights.pt")
    weights.write_bytes(bytes(weights.stat().st_size))
    _, out, _ = normlab("run", "s.yaml", "--workers", "1")
    assert "not taken over from gift: trial" in out
    assert "weights.pt is not there as recorded" in out
    assert "trained 1 trial" in out
