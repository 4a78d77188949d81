import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import started, until_first_checkpoint

from normlab.store import DATABASE

Run = Any


QUICK = ("--quick", "--set", "epochs=1", "--seeds", "1", "--workers", "1")


def test_the_main_job(normlab: Run, tmp_path: Path) -> None:
    code, out, _ = normlab("run", "digits-norms", *QUICK)
    assert code == 0
    assert "quick variant, a rehearsal: 5 of 5 arms, 1 of 3 seeds, epochs=1" in out
    assert "training 5 trials on 1 worker" in out
    assert "report: runs/digits-norms/report.html" in out
    for arm in ("none", "batch", "instance", "group", "layer"):
        assert f"\n{arm} " in out
    assert (tmp_path / "runs/digits-norms/report.html").is_file()

    code, out, _ = normlab("run", "digits-norms", *QUICK)
    assert (code, "nothing to train: all 5 trials are finished" in out) == (0, True)

    code, out, _ = normlab("status", "digits-norms")
    assert (code, "5 of 5 trials finished (5 complete)" in out) == (0, True)
    code, out, _ = normlab("status", "digits-norms", "--json")
    assert json.loads(out)["counts"] == {"complete": 5}

    code, out, _ = normlab("plan", "digits-norms", "--quick", "--set", "epochs=1", "--seeds", "2")
    assert "5 arms x 2 seeds (0, 1) = 10 trials: 5 complete, 5 pending" in out

    code, out, _ = normlab("report", "digits-norms")
    assert (code, out.strip()) == (0, "runs/digits-norms/report.html")


def test_runs_can_lie_elsewhere(normlab: Run, tmp_path: Path) -> None:
    assert (
        normlab("run", "digits-norms", *QUICK, "--set", "norm=none", "--runs", "out/deep")[0] == 0
    )
    assert (tmp_path / "out/deep/digits-norms" / DATABASE).is_file()
    assert not (tmp_path / "runs").exists()


def test_a_study_file_by_path(normlab: Run, tmp_path: Path) -> None:
    base = "{data: digits, model: digits-small, epochs: 1, lr: 1e-2}"
    (tmp_path / "mine.yaml").write_text(f"question: What?\nbase: {base}\nseeds: 1\n")
    assert normlab("run", "mine.yaml")[0] == 0
    assert normlab("status", "mine.yaml")[0] == 0
    assert normlab("report", "mine")[1].strip() == "runs/mine/report.html"


def test_brackets_of_a_user_are_no_markup(normlab: Run, tmp_path: Path) -> None:
    arms = '[{label: "[/x] ends", set: {lr: 0.1}}, {label: "[red]", set: {lr: 0.2}}]'
    text = f'question: "is it [/b]?"\nbase: {{data: digits, model: digits-small, epochs: 1}}\narms: {arms}\nseeds: 1\n'
    (tmp_path / "odd.yaml").write_text(text)
    for command in ("plan", "run", "status"):
        code, out, _ = normlab(command, "odd.yaml")
        assert code == 0
        assert "[/x] ends" in out
        assert "[red]" in out


def test_a_diverged_trial_is_a_finding_and_said(normlab: Run) -> None:
    words = "run digits-norms --seeds 1 --set norm=none --set lr=1e12 --set epochs=3"
    code, out, _ = normlab(*words.split())
    assert code == 0
    assert "1 diverged" in out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("run digits-norms --set norm=btach", ["norm", "'btach'", "'batch'"]),
        ("run digits-norms --set epochs=-1", ["epochs", "-1", "greater than or equal to 1"]),
        ("run digits-norms --set nosuch=1", ["'nosuch'", "epochs"]),
        ("run nosuchstudy", ["'nosuchstudy'", "digits-norms"]),
        ("run digits-nroms", ["Did you mean 'digits-norms'?"]),
        ("run digits-norms --set norn.momentum=0.2", ["'norn'", "'norm'"]),
        ("run digits-norms --set epochs.=1", ["'epochs.'"]),
        ("run digits-norms --set lr=2020-13-45", ["lr", "'2020-13-45'"]),
        ("run digits-norms --set validation=5000", ["validation is 5000", "1198"]),
        ("run digits-norms --set lr=1e39", ["lr", "1e+39"]),
        ("run digits-norms --seeds 99999999999999999999", ["seeds", "100000"]),
        ("run ~nosuchuser/a.yaml", ["no study"]),
        (f"run {'a' * 300}", ["no study"]),
        ("run digits-norms --set norm=group", ["groups", "channels_per_group"]),
        ("run digits-norms --set data=minst", ["'minst'", "'mnist'"]),
        ("run digits-norms --set epochs", ["KEY=VALUE"]),
        ("run digits-norms --set epochs=1 --set epochs=2", ["epochs", "twice"]),
        ("run digits-norms --set epochs=[", ["not valid YAML"]),
        ("run digits-norms --set lr=fast", ["lr", "'fast'", "number"]),
        ("run digits-norms --seeds 0", ["seeds", "0"]),
        ("run digits-norms --workers many", ["--workers", "'many'", "auto"]),
        ("run digits-norms --workers 0", ["--workers", "'0'"]),
        ("run digits-norms --device tpu", ["'tpu'", "auto, cpu, cuda"]),
        ("run no/such/file.yaml", ["no/such/file.yaml"]),
        ("plan digits-norms --set model=mnist-7704 --set data=mnist", ["arm 'instance'", "norm7"]),
        ("status digits-norms", ["no runs", "normlab run digits-norms"]),
        ("status nosuchstudy", ["'nosuchstudy'"]),
        ("report digits-norms", ["no runs"]),
        ("list norm", ["'norm'", "'norms'"]),
        ("show model mnist7288", ["'mnist-7288'"]),
        ("show model mnist-7288 --set norm=btach", ["'batch'"]),
        ("show model digits-small --figure blocks.gif", ["blocks.gif", ".svg, .pdf, .png"]),
        ("show model tests.models.own:Net", ["--set data=NAME"]),
        ("show model tests.models.own:Nte --set data=digits", ["'tests.models.own:Nte'"]),
    ],
)
def test_a_user_s_mistake_is_a_message_and_exit_code_2(
    normlab: Run, tmp_path: Path, words: str, parts: list[str]
) -> None:
    code, out, err = normlab(*words.split())
    assert code == 2
    for part in parts:
        assert part in err
    assert "Traceback" not in out + err
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


def test_missing_data_is_a_message_and_exit_code_2(
    normlab: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from normlab import data

    data.forget()
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    code, _, err = normlab("run", "mnist-norms", "--quick")
    assert code == 2
    assert "train-images-idx3-ubyte" in err


def test_a_run_folder_that_cannot_be_written(normlab: Run, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    code, _, err = normlab("run", "digits-norms", *QUICK)
    assert (code, "runs/digits-norms cannot be written" in err) == (2, True)


def test_a_run_folder_of_a_newer_normlab(normlab: Run, tmp_path: Path) -> None:
    import sqlite3

    folder = tmp_path / "runs" / "digits-norms"
    folder.mkdir(parents=True)
    raw = sqlite3.connect(folder / DATABASE)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    for command in (
        ("run", "digits-norms", *QUICK),
        ("status", "digits-norms"),
        ("report", "digits-norms"),
    ):
        code, _, err = normlab(*command)
        assert (code, "newer normlab" in err) == (2, True)


def test_list_names_everything(normlab: Run) -> None:
    code, out, _ = normlab("list", "--json")
    found = json.loads(out)
    assert (code, found.pop("format")) == (0, 1)
    assert {"digits-norms", "mnist-norms"} <= set(found["studies"])
    assert {"none", "batch", "instance", "group", "layer"} <= set(found["norms"])
    residual = {"resnet", "resnet50", "resnet50-as-published"}
    assert {"mnist-7288", "mnist-7704"} | residual <= set(found["models"])
    assert {"digits", "mnist"} <= set(found["data"])
    for name, entries in found.items():
        _, out, _ = normlab("list", name)
        assert all(entry in out for entry in entries)


def test_show_study_prints_a_file_that_runs_as_a_copy(normlab: Run, tmp_path: Path) -> None:
    code, text, _ = normlab("show", "study", "mnist-norms")
    assert code == 0
    assert text.startswith("# Batch, group or layer norm on MNIST")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    assert normlab("show", "study", "mine.yaml")[1] == text
    found = [
        json.loads(normlab("plan", name, "--json")[1]) for name in ("mnist-norms", "mine.yaml")
    ]
    assert found[0]["arms"] == found[1]["arms"]


def test_show_model_prints_the_table_and_its_total(normlab: Run) -> None:
    code, out, _ = normlab("show", "model", "mnist-7288")
    assert code == 0
    assert "3x3x16x16" in out
    assert out.strip().splitlines()[-1].split() == ["total", "7,288"]
    _, out, _ = normlab("show", "model", "mnist-7288", "--set", "norm=none", "--json")
    assert json.loads(out)["parameters"] == 7144


def test_show_model_counts_the_layers_and_sums_of_a_residual_net(normlab: Run) -> None:
    sets = ("--set", "model.n=3", "--set", "data=digits")
    _, out, _ = normlab("show", "model", "resnet", *sets, "--json")
    kinds = [row["kind"] for row in json.loads(out)["layers"]]
    assert kinds.count("Conv2d") + kinds.count("Linear") == 6 * 3 + 2
    assert kinds.count("Add") == 9


def test_show_model_of_one_s_own(normlab: Run) -> None:
    sets = ("--set", "data=digits", "--set", "model.width=4", "--set", "norm=none")
    code, out, _ = normlab("show", "model", "tests.models.own:Net", *sets)
    assert code == 0
    assert out.strip().splitlines()[-1].split() == ["total", "414"]  # 36 + 288 + 90


def test_plan_as_json(normlab: Run) -> None:
    found = json.loads(normlab("plan", "digits-norms", "--json")[1])
    assert len(found["arms"]) == 5
    assert set(found["states"].values()) == {"pending"}


def test_version_and_help(normlab: Run) -> None:
    assert normlab("--version")[1].startswith("normlab 0.")
    for command in (
        (),
        ("run",),
        ("plan",),
        ("status",),
        ("report",),
        ("list",),
        ("show", "model"),
    ):
        code, out, _ = normlab(*command, "--help")
        assert code == 0
        assert "Usage" in out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['normlab', '--help']\n"
        "from normlab.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'altair', 'scipy', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_stores_what_is_done_and_exits_with_130(tmp_path: Path, workers: str) -> None:
    words = ("run", "digits-norms", "--set", "epochs=200", "--workers", workers)
    process = started(tmp_path, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    folder = tmp_path / "runs" / "digits-norms"
    until_first_checkpoint(folder)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: whole epochs are stored" in out
    assert "Traceback" not in out
    assert list(folder.glob("checkpoints/*.pt"))


def test_an_invalid_trial_is_said_everywhere_and_counts_for_nothing(
    normlab: Run, tmp_path: Path
) -> None:
    # Batch norm has no gates: a penalty on them is on nothing.
    nothing = "--set", "norm=batch", "--set", "l1={strength: 0.001, roles: [gate]}"
    code, out, _ = normlab("run", "digits-norms", *QUICK, *nothing)
    assert code == 1
    assert "1 invalid" in out
    assert "invalid, left out of every result: base, seed 0: l1: declared 0.001 on gate" in out
    code, out, _ = normlab("status", "digits-norms")
    assert "invalid: base, seed 0" in out
    page = (tmp_path / "runs/digits-norms/report.html").read_text(encoding="utf-8")
    assert "<strong>Invalid:</strong>" in page
    arms = (tmp_path / "runs/digits-norms/tables/arms.csv").read_text(encoding="utf-8")
    assert arms.splitlines()[1].startswith("base,1,0,0,0,1,")  # planned, finished, ..., invalid


NO_EFFECT = """
question: Does a step schedule help?
base: {data: digits, model: digits-small, epochs: 3, lr: 0.05, norm: none}
arms:
  - {label: constant}
  - {label: step, set: {schedule: {kind: step, step_size: 30}}}
  - {label: patient, set: {early_stopping: 20}}
  - {label: clipped, set: {clip_grad_norm: 1000000}}
seeds: 1
"""


def test_arms_whose_difference_never_takes_place_are_said(normlab: Run, tmp_path: Path) -> None:
    (tmp_path / "idle.yaml").write_text(NO_EFFECT)
    says = (
        "schedule {kind: step, step_size: 30} never changes the learning rate within 3 epochs (step)",
        "early_stopping never acts: its patience of 20 cannot run out within 3 epochs (patient)",
    )
    code, out, _ = normlab("plan", "idle.yaml")
    assert code == 0
    for line in says:
        assert f"warning: {line}" in out
    code, out, _ = normlab("run", "idle.yaml", "--workers", "1")
    assert code == 0
    page = (tmp_path / "runs/idle/report.html").read_text()
    for line in (
        "constant, step, patient and clipped ended with the very same weights with every seed",
        "step: schedule never acted in its one trial: lr 0.05 in every step of 3 epochs",
        "patient: early_stopping never acted in its one trial: trained 3 of 3 epochs",
        "clipped: clip_grad_norm never acted in its one trial: 0.000 to 0.000 of the steps",
    ):
        assert f"warning: {line}" in out
        assert line in page


def test_a_change_of_an_own_model_s_code_trains_it_anew(tmp_path: Path) -> None:
    net = tmp_path / "cli_net.py"
    net.write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n"
        "    def __init__(self, in_channels, num_classes):\n        super().__init__()\n"
        "        self.f, self.act = nn.Conv2d(in_channels, 4, 3), nn.ReLU()\n"
        "        self.fc = nn.Linear(4, num_classes)\n"
        "    def forward(self, x):\n        return self.fc(self.act(self.f(x)).mean((2, 3)))\n"
    )
    base = "{data: digits, model: 'cli_net:Net', norm: none, epochs: 1}"
    (tmp_path / "own.yaml").write_text(f"question: What?\nbase: {base}\nseeds: 1\n")

    def command(*words: str) -> str:
        path = os.pathsep.join([str(tmp_path), *sys.path])
        ended = subprocess.run(
            [sys.executable, "-m", "normlab", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        return ended.stdout

    trust = ("--trust", "cli_net")
    run = ("run", "own.yaml", "--workers", "1", *trust)
    assert "trained 1 trial; of 1: 1 complete" in command(*run)
    net.write_text("# A comment.\n" + net.read_text())
    assert "nothing to train" in command(*run)
    net.write_text(net.read_text().replace("nn.ReLU()", "nn.Tanh()"))
    out = command("plan", "own.yaml", *trust)
    assert "the code of cli_net is part of the trials' ids (base)" in out
    assert "changed since the last run: cli_net. Its trials are new ones (base)" in out
    out = command(*run)
    assert "changed since the last run: cli_net" in out
    assert "trained 1 trial; of 1: 1 complete" in out
