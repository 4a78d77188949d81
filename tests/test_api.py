"""The Python API, as a notebook uses it."""

from pathlib import Path

import pytest

import normlab


def test_the_verbs(tmp_path: Path) -> None:
    study = normlab.load_study(
        "digits-norms", quick=True, seeds=2, set={"epochs": 1, "norm": "batch"}
    )
    assert len(normlab.plan(study).rows()) == 2
    results = normlab.run(study, runs=tmp_path)
    assert results.arms["arm"].tolist() == ["base"]
    assert results.trials["state"].tolist() == ["complete"] * 2
    assert results.epochs["epoch"].tolist() == [1, 1]
    assert normlab.status("digits-norms", runs=tmp_path).finished == 2
    assert results.report() == tmp_path / "digits-norms" / "report.html"
    again = normlab.results("digits-norms", runs=tmp_path)
    assert again.arms.equals(results.arms)


def test_a_study_made_in_python(tmp_path: Path) -> None:
    study = normlab.Study.parse(
        {
            "name": "own",
            "question": "Is 64 better than 32?",
            "base": {"data": "digits", "model": "digits-small", "epochs": 1},
            "factors": {"batch_size": [32, 64]},
            "seeds": [7],
        }
    )
    found = normlab.run(study, runs=tmp_path)
    assert found.trials[["arm", "seed"]].to_numpy().tolist() == [
        ["batch_size=32", 7],
        ["batch_size=64", 7],
    ]


def test_mistakes_raise_user_errors(tmp_path: Path) -> None:
    with pytest.raises(normlab.UserError, match="'batch'"):
        normlab.plan(normlab.load_study("digits-norms", set={"norm": "btach"}))
    with pytest.raises(normlab.UserError, match="holds no runs"):
        normlab.status("digits-norms", runs=tmp_path)


def test_every_public_name_is_there_and_documented() -> None:
    for name in normlab.__all__:
        assert getattr(normlab, name).__doc__ or name == "__version__"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = normlab.nosuch
