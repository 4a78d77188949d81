"""A figure of every kind, for the study `illustrated`."""

import shutil
from pathlib import Path
from typing import Any

from normlab.records.plan import FigureRecord
from normlab.store import Store

EVERY_KIND: list[dict[str, Any]] = [
    {"kind": "factor", "x": "dropout.p", "lines": "norm"},
    {"kind": "factor", "x": "norm", "metric": {"kind": "time_to", "target": 0.3, "split": "train"}},
    {"kind": "interaction", "x": "norm", "lines": "dropout.p"},
    {"kind": "dots", "metrics": ["test_accuracy", "seconds"], "title": "What <b> & c cost"},
    {"kind": "bars", "metrics": ["train_accuracy", "test_accuracy"], "together": True},
    {"kind": "collapses", "x": "dropout.p", "y": "norm"},
    {"kind": "curves", "metric": "loss", "scale": "log"},
    {"kind": "survival", "target": 0.3, "split": "train", "clock": "examples"},
    {"kind": "effects"},
    {"kind": "specification_curve"},
    {"kind": "confusion", "arms": {"dropout.p": 0}},
    {"kind": "misclassified", "arm": {"norm": "layer", "dropout.p": 0}},
    {"kind": "misclassified", "name": "either", "arms": {"dropout.p": 0}, "count": 8},
    {
        "kind": "disagreement",
        "right": {"norm": "batch_instance", "dropout.p": 0},
        "wrong": {"norm": "layer", "dropout.p": 0},
    },
    {"kind": "activations"},
    {"kind": "gates"},
    {"kind": "gates", "epochs": "last"},
    {"kind": "sparsity"},
    {"kind": "gradients"},
    {"kind": "agc"},
]


def with_figures(folder: Path, to: Path, records: list[dict[str, Any]] | None = None) -> Path:
    """A copy of a study whose plan has these figures, or only its galleries."""
    shutil.copytree(folder, to)
    with Store.write(to) as store:
        plan = store.plan()
        galleries = [f for f in plan.figures if f.kind in {"misclassified", "disagreement"}]
        figures = list(map(FigureRecord.model_validate, records)) if records else galleries
        store.record_plan(plan.model_copy(update={"figures": tuple(figures)}), [])
    return to
