"""Weights as safetensors, read back by safetensors itself."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import normlab
from normlab.data import splits
from normlab.store import Store
from normlab.trackers.write import safetensors


def test_weights_come_back_bit_for_bit_with_what_they_are_of(
    finished: Path, tmp_path: Path
) -> None:
    found = normlab.export("tiny", to="safetensors", dest=tmp_path / "w", runs=finished.parent)
    assert (found.added, found.known, found.lost) == (6, 0, [])
    files = sorted((tmp_path / "w").rglob("*.safetensors"))
    assert len(files) == 6
    for path in files:
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
        stored = torch.load(
            finished / "artifacts" / told["trial"] / "weights.pt", weights_only=True
        )
        loaded = load_file(path)
        assert set(loaded) == set(stored)
        # A diverged trial has NaN: bits are compared.
        for name, tensor in stored.items():
            assert loaded[name].dtype == tensor.dtype
            assert loaded[name].numpy().tobytes() == tensor.numpy().tobytes()
        assert json.loads(told["recipe"])["model"]["kind"] == "digits-small"
        assert told["normlab"] == normlab.__version__
    again = normlab.export("tiny", to="safetensors", dest=tmp_path / "w", runs=finished.parent)
    assert (again.added, again.known) == (0, 6)
    card = (tmp_path / "w" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: normlab\n")
    assert "license:" not in card


def test_the_code_of_the_card_gives_the_trial_s_weights_and_predictions(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    normlab.export("tiny", to="safetensors", dest=tmp_path, runs=finished.parent)
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (tmp_path / "README.md").read_text("utf-8"), re.S | re.M
    )
    (first,) = re.findall(r'^path = "(.*)"$', code, re.M)
    assert first == "batch/seed-0.safetensors"
    monkeypatch.chdir(tmp_path)
    for path in sorted(tmp_path.rglob("*.safetensors")):
        other = path.relative_to(tmp_path).as_posix()
        made: dict[str, Any] = {}
        exec(code.replace(first, other), made)
        with safe_open(path, framework="pt") as file:
            told = file.metadata()
        folder = finished / "artifacts" / told["trial"]
        model = made["model"]
        assert not model.training
        stored = torch.load(folder / "weights.pt", weights_only=True)
        assert set(stored) == set(model.state_dict())
        for name, tensor in model.state_dict().items():
            assert tensor.numpy().tobytes() == stored[name].numpy().tobytes()
        if told["state"] == "diverged":  # its outputs are no numbers
            continue
        with torch.no_grad():
            said = model(torch.from_numpy(splits(made["recipe"]).test.inputs)).softmax(1).max(1)
        with np.load(folder / "predictions.npz") as answers:
            np.testing.assert_array_equal(said.indices.numpy(), answers["predictions"])
            np.testing.assert_allclose(said.values.numpy(), answers["confidences"], rtol=1e-4)


def test_no_file_is_read_a_second_time_but_one_that_is_damaged(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(safetensors, "losses_of")
    opened = []
    read = Store.read.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Store], folder: Path) -> Any:
        opened.append(folder)
        return read(cls, folder)

    monkeypatch.setattr(Store, "read", classmethod(counted))
    monkeypatch.setattr(Store, "losses", None)
    found = normlab.export("tiny", to="safetensors", dest=tmp_path / "w", runs=finished.parent)
    assert found.added == 6
    assert len(opened) == 2  # to read the study, and what is stored of its files


def test_lost_weights_are_named_and_left_out(
    finished: Path, tmp_path: Path, normlab_command: Any
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs / "tiny")
    with Store.read(runs / "tiny") as store:
        gone, changed, *_ = store.finished()
    (runs / "tiny" / "artifacts" / gone / "weights.pt").unlink()
    path = runs / "tiny" / "artifacts" / changed / "weights.pt"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    words = ["export", "tiny", str(tmp_path / "w"), "--to", "safetensors", "--runs", str(runs)]
    code, out, _ = normlab_command(*words, "--json")
    found = json.loads(out)
    assert code == 1
    assert found["added"] == 4
    assert {one["id"]: one["reason"] for one in found["lost"]} == {
        gone: "is gone",
        changed: "is damaged: its SHA-256 is not the one stored",
    }
    assert len(list((tmp_path / "w").rglob("*.safetensors"))) == 4


def test_a_missing_package_is_named(
    finished: Path, tmp_path: Path, normlab_command: Any, monkeypatch: Any
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    words = ["export", "tiny", str(tmp_path / "w"), "--to", "wandb"]
    code, _, err = normlab_command(*words, "--runs", str(finished.parent))
    assert code == 2
    assert "pip install 'normlab[trackers]'" in err
    assert not (tmp_path / "w").exists()
