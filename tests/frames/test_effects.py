from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from normlab.frames import load_frames
from normlab.frames.effects import effect_table, robust_table
from normlab.store import Store
from normlab.study.plan import make_plan
from normlab.study.runner import run_plan
from normlab.study.spec import Study


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 norms x 2 learning rates x 2 seeds: one rate is so small that nothing is learned."""
    runs = tmp_path_factory.mktemp("runs")
    study = {
        "name": "grid",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small", "epochs": 2, "batch_size": 64},
        "factors": {"norm": ["batch", "layer"], "lr": [1e-9, 0.1]},
        "seeds": 2,
    }
    run_plan(make_plan(Study.parse(study)), runs)
    return runs / "grid"


def test_the_factor_that_matters_has_the_effect(grid: Path) -> None:
    with Store.read(grid) as store:
        table = effect_table(load_frames(store))
    found = table.set_index(["scale", "term"])["omega_squared"]
    assert set(table["scale"]) == {"accuracy", "logit(error)"}
    assert found["accuracy", "lr"] > 0.5
    assert found["accuracy", "lr"] > found["accuracy", "norm"]


def test_the_image_interval_rests_on_the_stored_predictions(grid: Path) -> None:
    with Store.read(grid) as store:
        frames = load_frames(store)
    table = robust_table(frames, grid)
    scores = frames.trials.groupby("arm", sort=False)["test_accuracy"].mean().to_numpy()
    assert (table["images_low"].to_numpy() < scores).all()
    assert (scores < table["images_high"].to_numpy()).all()
    assert np.isnan(table["iqm"]).all()  # two seeds: too few
    assert robust_table(frames).drop(columns="arm").isna().all(axis=None)


def test_a_study_without_a_design_has_no_effects(finished: Path) -> None:
    with Store.read(finished) as store:
        assert not len(effect_table(load_frames(store)))


def test_predictions_that_were_not_kept_are_no_error(grid: Path, tmp_path: Path) -> None:
    with Store.read(grid) as store:
        frames = load_frames(store)
    assert robust_table(frames, tmp_path)["images_low"].isna().all()


def test_a_watched_study_has_no_effects_before_its_end(grid: Path) -> None:
    with Store.read(grid) as store:
        frames = load_frames(store)
    assert len(effect_table(replace(frames, watched=True)))
    states = ["pending", *frames.trials["state"][1:]]
    running = replace(frames, trials=frames.trials.assign(state=states))
    assert len(effect_table(running))
    assert not len(effect_table(replace(running, watched=True)))
