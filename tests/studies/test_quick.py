"""The quickest study of each source, trained in its quick variant and smaller still.

With the real data sets where they are. Everywhere on what is here or made here: the packaged digits where
the network takes 8x8 images, noise in MNIST's format where it does not.
"""

from pathlib import Path

import pytest
from tests.data.made import idx_set

from normlab import api
from normlab.data import SOURCES
from normlab.data.mnist import MNIST
from normlab.store import Store

SMALL = {
    "resnet50-cutout-copies": {"epochs": 1},
    "mnist-gbn-splits": {"data.limit": 100, "epochs": 1},
    "mnist-norms": {"data.limit": 50, "epochs": 1},
    "resnet14-batch-size": {"data.limit": 20, "data.test_limit": 10, "epochs": 1},
}
MNIST_SIZE = ("mnist-gbn-splits", "mnist-norms")
ANY_SIZE = ("resnet50-cutout-copies", "resnet14-batch-size")


@pytest.mark.parametrize("name", SMALL)
def test_the_quick_variant_runs_on_the_study_s_data(
    name: str, tmp_path: Path, real_data: Path
) -> None:
    study = api.load_study(name, quick=True, seeds=1, overrides=SMALL[name])
    kind = study.overrides.get("data", study.base["data"])
    kind = kind["kind"] if isinstance(kind, dict) else kind
    if not any(real_data.glob(f"{kind}*")):
        pytest.skip(f"no {kind} in {real_data}")
    results = api.run(study, runs=tmp_path)
    assert set(results.trials["state"]) == {"complete"}
    page = results.report().read_text(encoding="utf-8")
    assert study.question in page
    with Store.read(tmp_path / name) as store:
        counts = {arm.parameters for arm in store.plan().arms}
    stated = {"mnist-gbn-splits": 7_288, "mnist-norms": 7_704}
    if name in stated:
        assert counts == {stated[name]}
        assert f"{stated[name]:,}" in page


@pytest.mark.parametrize("name", MNIST_SIZE)
def test_the_quick_variant_runs_on_noise_of_mnist_s_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = idx_set(MNIST, tmp_path, side=28, train=(20,) * 10, test=(3,) * 10)
    monkeypatch.setitem(SOURCES, "mnist", made)
    monkeypatch.setenv("NORMLAB_DATA", str(tmp_path))
    values = {
        "epochs": 1,
        "batch_size": 64,
        "data.limit": 20,
        "data.test_limit": 3,
        "validation": 0.1,
    }
    study = api.load_study(name, quick=True, seeds=1, overrides=values)
    assert set(api.run(study, runs=tmp_path).trials["state"]) == {"complete"}


@pytest.mark.parametrize("name", ANY_SIZE)
def test_the_quick_variant_runs_on_digits(name: str, tmp_path: Path) -> None:
    values = {**SMALL[name], "data": "digits", "data.limit": 10, "data.test_limit": 5}
    study = api.load_study(name, quick=True, seeds=1, overrides=values)
    assert set(api.run(study, runs=tmp_path).trials["state"]) == {"complete"}
