"""Weights of finished trials as safetensors, a file each, with a model card beside them.

A file is written whole, and has the hash of the stored weights in it: one that is there with the
same hash is not written again.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from normlab.files import write_whole
from normlab.store import Store
from normlab.store.losses import losses_of
from normlab.store.paths import read_regular
from normlab.study.stored import LostFile
from normlab.trackers.write.card import card
from normlab.trackers.write.exported import StudyRuns, TrialRun
from normlab.trackers.write.result import (
    Exported,
    file_names,
    folder_for,
    needed,
    outcome,
    writing_to,
)

_HEADER = 100_000_000
"""Bytes of the largest header that the format allows."""


def write(study: StudyRuns, dest: str, source: Path) -> Exported:
    """Write the weights of a study's finished trials to a folder; see `normlab.export`.

    Args:
        study: As it is exported.
        dest: The folder: `<arm>/seed-<n>.safetensors` and `README.md` in it.
        source: The study's run folder.

    Raises:
        UserError: The package is missing, the folder has other files, or cannot be written.
    """
    save = needed("safetensors.torch").save
    folder = folder_for(dest, "safetensors", study.name)
    names = file_names(arm.label for arm in study.arms)
    lost: list[LostFile] = []
    files: dict[str, str] = {}
    added = known = 0
    with Store.read(source) as store:
        for trial in study.trials:
            name = f"{names[trial.arm]}/seed-{trial.seed}.safetensors"
            stored = trial.tags.get("weights_sha256", "")
            there = _metadata(folder / name)
            if there and there.get("trial") == trial.id and there.get("weights_sha256") == stored:
                known += 1
                files[trial.id] = name
                continue
            try:
                weights = _weights(store, trial)
            except _LostError as error:
                lost.append(_lost(trial, error))
                continue
            content = save(_apart(weights), metadata=_told(study, trial, weights))
            with writing_to(dest):
                write_whole(folder / name, content)
            files[trial.id] = name
            added += 1
    readme, content = folder / "README.md", card(study, files).encode()
    with writing_to(dest):
        if not readme.is_file() or readme.read_bytes() != content:
            write_whole(readme, content)
    return outcome(study, "safetensors", dest, added=added, known=known, lost=lost)


class _LostError(Exception):
    """The weights of a trial are gone or damaged; the message says in what way."""


def _weights(store: Store, trial: TrialRun) -> dict[str, Any]:
    """A trial's tensors by name, as they were stored.

    Raises:
        _LostError: The file is not as it was stored, or the tensors are not.
    """
    import torch

    from normlab.train.checkpoint import weights_sha256

    artifact = next((one for one in store.artifacts(trial.id) if one.kind == "weights"), None)
    if artifact is None:
        raise _LostError("", "were not stored")
    content = read_regular(store.folder, artifact.path, artifact.bytes)
    if content is None or hashlib.sha256(content).hexdigest() != artifact.sha256:
        found = losses_of(store.folder, [(trial.id, artifact)], hashes=True)
        raise _LostError(artifact.path, found[0].reason if found else "is gone or damaged")
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, LookupError) as error:
        raise _LostError(artifact.path, f"is not what torch saves: {error}") from None
    tensors = isinstance(weights, dict) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()
    )
    if not tensors or weights_sha256(weights) != trial.tags.get("weights_sha256"):
        raise _LostError(artifact.path, "does not hold the weights that the trial ended with")
    return dict(weights)


def _apart(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors that share no memory: the format has each by itself, whole and in order."""
    return {name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}


def _told(study: StudyRuns, trial: TrialRun, weights: Mapping[str, Any]) -> dict[str, str]:
    """What a file says of itself."""
    shared = _shared(weights)
    return {
        "format": "pt",
        "normlab": study.normlab,
        "study": study.name,
        "arm": trial.arm,
        "seed": str(trial.seed),
        "trial": trial.id,
        "state": trial.state,
        "recipe": json.dumps(trial.recipe, sort_keys=True),
        "weights_sha256": trial.tags.get("weights_sha256", ""),
        **({"shared": json.dumps(shared)} if shared else {}),
    }


def _shared(weights: Mapping[str, Any]) -> dict[str, str]:
    """Tensors that were one with another in the model: their names, with that of the first."""
    first: dict[tuple[object, ...], str] = {}
    found: dict[str, str] = {}
    for name, tensor in weights.items():
        if not tensor.numel():
            continue
        view = (tensor.data_ptr(), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)
        if view in first:
            found[name] = first[view]
        first.setdefault(view, name)
    return found


def _metadata(path: Path) -> dict[str, str] | None:
    """What a safetensors file says of itself; None if there is none, or it is cut off."""
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > _HEADER:
                return None
            header = json.loads(stream.read(size))
            ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
            whole = path.stat().st_size == 8 + size + max(ends, default=0)
            told = header.get("__metadata__")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return told if whole and isinstance(told, dict) else None


def _lost(trial: TrialRun, error: _LostError) -> LostFile:
    path, reason = error.args
    return {
        "arm": trial.arm,
        "seed": trial.seed,
        "id": trial.id,
        "kind": "weights",
        "path": path or "weights",
        "reason": reason,
    }
