"""The model card of exported weights, in the form of the Hugging Face Hub."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping

import yaml

from normlab.recipe import DATA
from normlab.reports.typeset import Table
from normlab.trackers.write.exported import ArmRun, StudyRuns
from normlab.trackers.write.result import REHEARSAL
from normlab.wording import interval, percent

_OF_THE_USER = {"image-folder"}
"""Data whose name says nothing to others."""

_LOADING = """\
```python
import json

from safetensors import safe_open
from safetensors.torch import load_file

import normlab
from normlab.data import describe
from normlab.models import build

path = {path}
with safe_open(path, framework="pt") as file:
    recipe = normlab.Recipe.parse(json.loads(file.metadata()["recipe"]))
images = describe(recipe.data)
model = build(recipe, images.shape, images.num_classes).model
model.load_state_dict(load_file(path))
model.eval()
```
"""


def card(study: StudyRuns, files: Mapping[str, str]) -> str:
    """The card of a study's weights.

    Args:
        study: As it is exported.
        files: The file of each trial whose weights are there, by its id.
    """
    kinds = {_kind(arm.params.get("data.kind", arm.params.get("data"))) for arm in study.arms}
    head = {
        "library_name": "normlab",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", "safetensors", "normlab"],
        "datasets": sorted(kind for kind in kinds if kind),
        "metrics": ["accuracy", "f1"],
    }
    front = yaml.safe_dump({k: v for k, v in head.items() if v}, sort_keys=False)
    first = next(iter(files.values()), "<arm>/seed-0.safetensors")
    results = Table(
        [("Arm", "l"), ("Seeds", "r"), ("Test accuracy, %", "r"), ("95 % interval", "r")],
        [_row(arm) for arm in study.arms],
    )
    verdicts = [[one.claim, one.words] for one in study.judged]
    weights = [
        [arm.label, str(trial.seed), trial.state, files[trial.id], trial.id]
        for arm in study.arms
        for trial in arm.trials
        if trial.id in files
    ]
    parts = [
        f"---\n{front}---\n",
        f"# {_line(study.name)}\n",
        f"{_line(study.question)}\n",
        *([f"{REHEARSAL}\n"] if study.rehearsal else []),
        "Weights after the last epoch of every finished trial of this study, one file for each arm "
        f"and seed. normlab {study.normlab} trained and exported them.\n",
        "## Results\n",
        "Means over seeds of the test accuracy, with 95 % t-intervals. A trial that diverged "
        "counts with the score it earned.\n",
        results.markdown(),
        *(
            [
                "## Verdicts\n",
                Table([("Claim", "l"), ("Verdict", "l")], verdicts).markdown(),
            ]
            if verdicts
            else []
        ),
        "## How to load them\n",
        _LOADING.format(path=json.dumps(first)),
        "Without normlab, `load_file` gives the tensors by the names that torch's modules have. "
        "Inputs are scaled as the recipe says (`data.scaling`).\n",
        "## Files\n",
        Table(
            [("Arm", "l"), ("Seed", "r"), ("State", "l"), ("File", "l"), ("Trial", "l")], weights
        ).markdown(),
        "The metadata of each file has the trial's id, its recipe as JSON, and the SHA-256 of its "
        "weights as `normlab verify` compares it.\n",
        "## Intended use and limits\n",
        "The weights are for comparing arms: to look into what a norm or a regularizer changed, or "
        "to check the numbers above. They were trained to answer the study's question, not to be "
        "the best model for a task. Scores hold for the images they were measured on. No license "
        "is stated here: that of the data, and the wish of whoever trained them, decide.\n",
        "## Recipes\n",
        *(_recipe(arm) for arm in study.arms),
    ]
    return "\n".join(parts)


def _row(arm: ArmRun) -> list[str]:
    found = arm.summary
    limits = found.get("test_accuracy_low"), found.get("test_accuracy_high")
    mean = percent(found.get("test_accuracy_mean"))
    return [arm.label, f"{found.get('trials_finished', 0):.0f}", mean, interval(limits)]


def _recipe(arm: ArmRun) -> str:
    text = json.dumps(arm.trials[0].recipe, indent=2, sort_keys=True)
    fence = "```"
    while fence in text:  # whatever a recipe holds does not end its block
        fence += "`"
    label = _line(arm.label)
    return f"<details><summary>{label}</summary>\n\n{fence}json\n{text}\n{fence}\n\n</details>\n"


def _kind(kind: object) -> str:
    return str(kind) if kind in DATA and kind not in _OF_THE_USER else ""


def _line(text: str) -> str:
    """Text on one line that is no HTML and no heading."""
    return html.escape(" ".join(text.split()), quote=False)
