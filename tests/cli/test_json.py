"""`--json` of every command: one document, as its published schema says, and nothing beside it."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.cli.processes import started, until_first_checkpoint
from tests.commands import COMMANDS
from tests.profiles import RATES

import normlab as package
from normlab import api, streams
from normlab.cli.outputs import OUTPUTS, WITHOUT
from normlab.cli.outputs.schema import schema_of
from normlab.study import profiling

Run = Any

ROOT = Path(__file__).parents[2]
STUDY = """
question: Does batch norm help in a tiny net?
base: {data: {kind: digits, limit: 20, test_limit: 40}, model: digits-small, epochs: 1, lr: 0.05}
factors: {norm: [none, batch]}
seeds: 3
analysis: {margin: 1}
claims:
  - {kind: better, name: helps, arm: {norm: batch}, over: {norm: none}}
published:
  - {arm: {norm: batch}, values: {test_accuracy: 90}}
"""


CALLS = {
    "check norm": "check norm batch",
    "claims": "claims tiny --runs {runs}",
    "data build": "data build caltech25",
    "export": "export tiny weights --to safetensors --runs {runs}",
    "export-trials": "export-trials made.trials.gz tiny --runs {runs}",
    "import-trials": "import-trials {trials} --into runs/tiny",
    "list": "list",
    "merge": "merge {runs}/tiny --into runs/tiny",
    "new-study": "new-study --from {table} --out found.yaml",
    "plan": "plan {study} --runs {runs}",
    "profile": "profile {study} --steps 1",
    "published": "published tiny --runs {runs}",
    "report": "report tiny --runs {runs} --latex tables",
    "run": "run {study} --runs {runs} --workers 1",
    "schema": "schema claims",
    "scoreboard": "scoreboard",
    "show model": "show model resnet --set data=digits",
    "show study": "show study {study}",
    "status": "status tiny --runs {runs}",
    "trust": "trust {study}",
    "verify": "verify tiny --runs {runs}",
}
"""How each command is called for a small stored study: a new command has a line here too."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of a study, the folder of its runs, and a file of its trials."""
    folder = tmp_path_factory.mktemp("json")
    study = folder / "tiny.yaml"
    study.write_text(STUDY)
    package.run(package.load_study(study), runs=folder / "runs")
    trials = package.export_trials(folder / "t.trials.gz", "tiny", runs=folder / "runs")
    table = folder / "t.csv"
    package.report("tiny", runs=folder / "runs", csv=table)
    return {"study": study, "runs": folder / "runs", "trials": trials, "table": table}


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded, and no rate of the machine measured."""
    monkeypatch.setattr(api, "build_data", lambda name, archive, to: Path("here") / f"{name}.tar")
    monkeypatch.setattr(profiling, "measure", lambda device, precision: RATES)
    monkeypatch.setattr(profiling, "time_start", lambda: 2.0)


def test_every_command_has_json_and_a_model_or_a_reason() -> None:
    assert set(COMMANDS) == {*OUTPUTS, *WITHOUT}
    for name in OUTPUTS:
        assert "--json" in [word for given in COMMANDS[name].params for word in given.opts], name
    assert set(CALLS) == set(OUTPUTS)


@pytest.mark.parametrize("command", CALLS)
def test_what_a_command_prints_is_as_its_published_schema_says(
    normlab: Run, places: dict[str, Path], cheap: None, command: str
) -> None:
    words = shlex.split(CALLS[command].format(**places))
    code, out, _ = normlab(*words, "--json")
    assert code == 0
    found = json.loads(out, parse_constant=pytest.fail)  # NaN is no JSON
    path = ROOT / "docs" / "schemas" / f"{command.replace(' ', '-')}.json"
    Draft202012Validator(json.loads(path.read_text(encoding="utf-8"))).validate(found)
    assert found["format"] == 1
    assert next(iter(found)) == "format"
    assert out.isascii()


@pytest.mark.parametrize("command", OUTPUTS)
def test_a_schema_is_one_and_says_what_every_key_is(command: str) -> None:
    schema = schema_of(command)
    Draft202012Validator.check_schema(schema)
    parts = [part for name, part in schema.get("$defs", {}).items() if name != "JsonValue"]
    for part in (schema, *parts):
        assert part["description"]
        for key, value in part["properties"].items():
            assert value.get("description", "").endswith("."), key
        assert "additionalProperties" not in part  # a key may come


def test_schema_prints_it_bare_and_lists_the_commands(normlab: Run) -> None:
    assert json.loads(normlab("schema", "show", "model")[1]) == schema_of("show model")
    assert json.loads(normlab("schema", "--json")[1])["schemas"].keys() == OUTPUTS.keys()
    out = normlab("schema")[1]
    assert all(f"\n{command} " in out for command in OUTPUTS)
    code, out, err = normlab("schema", "claim")
    assert (code, out) == (2, "")
    assert "Did you mean 'claims'?" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("status nothing --json", "normlab: "),
        ("claims --json", "normlab: name one study"),
        ("run digits-norms --json --workers none", "normlab: --workers is 'none'"),
        ("plan digits-norms --json --seeds x", "Usage: "),
        ("list --json --no-such", "Usage: "),
    ],
)
def test_of_a_mistake_nothing_is_on_standard_output(normlab: Run, words: str, message: str) -> None:
    before = sys.stdout
    code, out, err = normlab(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert sys.stdout is before
    assert streams.answer() is before


def test_a_run_says_what_it_did_and_found(normlab: Run, places: dict[str, Path]) -> None:
    run = ("run", str(places["study"]), "--workers", "1", "--json")
    code, out, err = normlab(*run)
    found = json.loads(out)
    assert (code, found["trained"], found["counts"]) == (0, 6, {"complete": 6})
    assert "[6/6] batch, seed 2: complete" in err
    assert found["report"] == str(Path("runs") / "tiny" / "report.html")
    assert [arm["arm"] for arm in found["arms"]] == ["none", "batch"]
    assert found["claims"] == json.loads(normlab("claims", "tiny", "--json")[1])["claims"]
    assert json.loads(normlab(*run)[1])["trained"] == 0


def test_looks_and_numbers_that_there_are_none_of(normlab: Run, places: dict[str, Path]) -> None:
    run = ("run", str(places["study"]), "--workers", "1", "--json")
    _, out, _ = normlab(*run, "--until-settled", "--max-seeds", "3")
    (look,) = json.loads(out)["looks"]
    assert look["seeds"] == 3
    assert look["next_look"] is None
    assert sorted([*look["open_claims"], *look["settled_claims"]]) == ["helps"]
    _, out, _ = normlab(*run, "--seeds", "1", "--runs", "one")
    found = json.loads(out, parse_constant=pytest.fail)
    assert {arm["test_low"] for arm in found["arms"]} == {None}
    (claim,) = found["claims"]
    assert (claim["p"], claim["low"], claim["verdict"]) == (None, None, "inconclusive")
    assert found["variant"] == "variant: seed 0"


OWN = """import multiprocessing

from torch import nn

print("imported")


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        print("made", flush=True)
        self.body = nn.Linear(64, num_classes)

    def forward(self, images):
        if multiprocessing.parent_process() is not None:
            raise ValueError("it breaks in a worker")
        return self.body(images.flatten(1))
"""


def test_what_own_code_prints_and_how_it_fails_spoils_nothing(tmp_path: Path) -> None:
    (tmp_path / "own_net.py").write_text(OWN)
    (tmp_path / "s.yaml").write_text(
        "question: q\n"
        "base: {data: {kind: digits, limit: 20}, model: 'own_net:Net', norm: none, epochs: 1}\n"
        "seeds: 2\n"
    )
    command = "run s.yaml --trust own_net --engine processes --workers 2 --json"
    ran = subprocess.run(
        [sys.executable, "-m", "normlab", *command.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(ran.stdout)
    assert ran.stderr.count("imported\n") >= 2  # here and in a worker
    assert ran.returncode == 1
    assert [one["seed"] for one in found["failures"]] == [0, 1]
    assert found["failures"][0]["reason"].endswith("ValueError: it breaks in a worker")
    assert found["counts"] == {"failed": 2}


def test_a_document_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    ran = subprocess.run(
        f"{sys.executable} -m normlab list norms --json > /dev/full",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("normlab: the output cannot be written: ")


def test_a_run_that_is_interrupted_says_so_in_its_document(tmp_path: Path) -> None:
    words = "run digits-norms --set epochs=300 --workers 1 --json".split()
    process = started(tmp_path, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until_first_checkpoint(tmp_path / "runs" / "digits-norms")
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 143
    found = json.loads(out)
    assert found["interrupted"] == "terminated (SIGTERM)"
    assert found["counts"].get("pending")
    assert {arm["finished"] for arm in found["arms"]} == {0}
    assert found["check"]["exit_code"] == 3
    assert "whole epochs are stored" in err
