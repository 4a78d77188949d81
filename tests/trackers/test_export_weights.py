"""Weights as safetensors, read back by safetensors itself."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

import normlab
from normlab.store import Store


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
    assert {one["id"] for one in found["lost"]} == {gone, changed}
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
