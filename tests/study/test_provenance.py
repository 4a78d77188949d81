"""What of the machine is recorded, and what becomes of trials that another machine began or made."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from normlab.models import build
from normlab.places import DECIDING, difference_text, differing
from normlab.reports import write_report
from normlab.store import Store
from normlab.study.engines import Ended, EpochTrained, Started, Task
from normlab.study.engines.provenance import provenance
from normlab.study.engines.work import perform
from normlab.study.plan import Plan, make_plan
from normlab.study.runner import RunOptions, run_plan
from normlab.study.spec import Study
from normlab.train import load_checkpoint, save_checkpoint
from normlab.train.precision import maps_dtype
from normlab.train.provenance import kernel_set


def plan(name: str = "s", **values: Any) -> Plan:
    base = {"data": "digits", "model": "digits-small", "epochs": 2, "batch_size": 64}
    content = {"name": name, "question": "?", "base": base, "seeds": 1, **values}
    return make_plan(Study.parse(content))


def task(folder: Path) -> Task:
    trial = next(iter(plan().trials.values()))
    return Task(trial_id=trial.id, recipe=trial.arm.recipe, seed=trial.seed, folder=folder)


def test_every_deciding_field_is_recorded() -> None:
    here = provenance("cpu")
    assert {*DECIDING} <= {*here}
    assert torch.backends.cpu.get_cpu_capability() in str(here["backend"])
    assert here == provenance("cpu")
    json.dumps(here)


def test_the_threads_that_trials_will_have_are_asked_for() -> None:
    before = torch.get_num_threads()
    assert provenance("cpu", before + 1)["threads"] == before + 1
    assert torch.get_num_threads() == before


PROGRAM = """
import json, torch
torch.set_num_threads(1)
from normlab.study.engines.provenance import provenance
print(json.dumps(provenance("cpu")))
"""


def recorded(**environment: str) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_other_instructions_are_another_place(tmp_path: Path) -> None:
    here = recorded()
    assert differing(here, recorded()) == []
    for environment in (
        {"ATEN_CPU_CAPABILITY": "default"},
        {"ONEDNN_MAX_CPU_ISA": "SSE41"},
        {"MKL_CBWR": "COMPATIBLE"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)},
    ):
        if "NUMBA_CPU_NAME" in environment and "Numba" not in here["backend"]:
            continue
        assert "backend" in differing(here, recorded(**environment)), environment


def half_trained(folder: Path, **elsewhere: Any) -> Task:
    """A trial with a checkpoint after its first epoch, made at such a place."""
    made = task(folder)
    for message in perform((made,), "cpu"):
        if isinstance(message, EpochTrained):
            break
    checkpoint = load_checkpoint(made.checkpoint)
    assert checkpoint is not None
    assert checkpoint.place == provenance("cpu")
    save_checkpoint(replace(checkpoint, place={**checkpoint.place, **elsewhere}), made.checkpoint)
    return made


def test_a_trial_goes_on_where_bits_are_equal(tmp_path: Path) -> None:
    started, *_ = perform((half_trained(tmp_path, python="2.7"),), "cpu")
    assert isinstance(started, Started)
    assert (started.epochs, started.anew) == (1, "")


@pytest.mark.parametrize("elsewhere", [{"bits": "f00"}, {"threads": 64}, {"chip": "Z80"}])
def test_a_trial_starts_anew_where_they_are_not(tmp_path: Path, elsewhere: dict[str, Any]) -> None:
    made = half_trained(tmp_path / "half", **elsewhere)
    started, *_, ended = perform((made,), "cpu")
    assert isinstance(started, Started)
    assert started.epochs == 0
    assert started.anew.startswith("1 of 2 epochs were trained elsewhere (")
    assert str(next(iter(elsewhere.values()))) in started.anew
    *_, whole = perform((task(tmp_path / "whole"),), "cpu")
    assert isinstance(ended, Ended)
    assert isinstance(whole, Ended)
    assert ended.result.weights_sha256 == whole.result.weights_sha256


def test_the_run_says_what_started_anew(tmp_path: Path) -> None:
    made = plan()
    half_trained(tmp_path / "s", threads=64)
    summary = run_plan(made, tmp_path)
    (reason,) = summary.anew.values()
    assert "threads 64 against 1" in reason
    assert summary.counts == {"complete": 1}


def moved(folder: Path, **elsewhere: Any) -> None:
    """Say of the study's trials that they were made at another place."""
    with Store.write(folder) as store:
        store._connection.execute(
            "UPDATE trials SET provenance = ?",
            (json.dumps([{**provenance("cpu"), **elsewhere}]),),
        )


def test_trials_of_another_machine_are_said_and_trained_anew_on_request(tmp_path: Path) -> None:
    made = plan(seeds=2)
    run_plan(made, tmp_path)
    assert run_plan(made, tmp_path).elsewhere == {}
    moved(tmp_path / "s", chip="Z80", bits="f00")
    again = run_plan(made, tmp_path)
    assert again.trained == 0
    ((text, number),) = again.elsewhere.items()
    assert text.startswith("chip Z80 against ")
    assert number == 2

    here = run_plan(made, tmp_path, RunOptions(same_machine=True))
    assert (list(here.replaced.values()), here.trained, here.elsewhere) == ([True, True], 2, {})
    with Store.read(tmp_path / "s") as store:
        for places in store.places(list(here.replaced)).values():
            assert [differing(place, provenance("cpu")) for place in places] == [[]]
    assert run_plan(made, tmp_path, RunOptions(same_machine=True)).trained == 0


def test_nothing_of_another_machine_is_taken_over_then(tmp_path: Path) -> None:
    run_plan(plan("other", seeds=2), tmp_path)
    moved(tmp_path / "other", chip="Z80")
    here = run_plan(plan("one"), tmp_path, RunOptions(same_machine=True))
    assert (here.adopted, here.trained) == ({}, 1)
    here = run_plan(plan("two", seeds=2), tmp_path)
    assert here.adopted == {"one": 1, "other": 1}
    assert list(here.elsewhere.values()) == [1]


def test_differences_in_words_leave_the_sample_s_bits_to_the_last() -> None:
    one, other = {"threads": 1, "bits": "a"}, {"threads": 2, "bits": "b"}
    assert difference_text(one, other, differing(one, other)) == "threads 1 against 2"
    other = {"threads": 1, "bits": "b"}
    text = difference_text(one, other, differing(one, other))
    assert text == "bits of a sample computation a against b"
    assert differing({"chip": "A"}, {"threads": 1}, known=True) == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_how_a_trial_computed_is_part_of_where_it_ran(tmp_path: Path, precision: str) -> None:
    base = {"data": "digits", "model": "digits-small", "epochs": 1, "precision": precision}
    made = plan(base=base)
    run_plan(made, tmp_path)
    with Store.read(tmp_path / "s") as store:
        ((place,),) = store.places(list(made.trials)).values()
    assert differing(place, provenance("cpu")) == []
    assert place["layout"] in {"contiguous", "channels_last"}
    assert place["precision"] == {"bfloat16": "bfloat16 autocast"}.get(precision, precision)
    model = build(made.arms[0].recipe, (1, 8, 8), 10).model
    assert place["kernels"] == kernel_set(model, "cpu", maps_dtype(precision))
    page = write_report(tmp_path / "s").read_text(encoding="utf-8")
    assert f"{place['precision']}, {place['layout']}; {place['kernels']}" in page


def test_a_trial_trained_anew_for_its_files_says_how_it_computed(tmp_path: Path) -> None:
    made = plan()
    run_plan(made, tmp_path)
    moved(tmp_path / "s", chip="Z80")
    run_plan(made, tmp_path, RunOptions(same_machine=True))
    with Store.read(tmp_path / "s") as store:
        ((place,),) = store.places(list(made.trials)).values()
    assert place["chip"] != "Z80"
    assert place["precision"] == "float32"
