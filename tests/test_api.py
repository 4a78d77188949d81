"""The Python API, as a notebook uses it."""

import errno
from pathlib import Path
from typing import Any

import pytest

import normlab
from normlab import events
from normlab.errors import MachineError


def tiny(name: str = "tiny", **changes: Any) -> normlab.Study:
    """A study of one trial, or of what `changes` make of it."""
    base = {"data": "digits", "data.limit": 5, "model": "digits-small", "norm": "none", "epochs": 2}
    content = {"name": name, "question": "Is it <b>so</b>?", "base": base, "seeds": 1}
    return normlab.Study.parse({**content, **changes})


CLAIMED: dict[str, Any] = {
    "arms": [{"label": "<script>a & b</script>", "set": {"lr": 0.1}}, {"label": "plain"}],
    "seeds": 2,
    "analysis": {"looks": [3, 4], "margin": 1},
    "claims": [
        {"kind": "equal", "name": "<i>x</i>", "arm": "<script>a & b</script>", "to": "plain"}
    ],
}


def kinds(told: list[events.Event]) -> list[str]:
    return [type(event).__name__ for event in told]


def test_the_verbs(tmp_path: Path) -> None:
    study = normlab.load_study(
        "digits-norms", quick=True, seeds=2, overrides={"epochs": 1, "norm": "batch"}
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
        normlab.plan(normlab.load_study("digits-norms", overrides={"norm": "btach"}))
    with pytest.raises(normlab.UserError, match="holds no runs"):
        normlab.status("digits-norms", runs=tmp_path)


def test_every_public_name_is_there_and_documented() -> None:
    for name in normlab.__all__:
        assert getattr(normlab, name).__doc__ or name == "__version__"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = normlab.nosuch


def test_the_old_word_for_overrides_works_with_a_warning_that_has_the_new_one() -> None:
    with pytest.warns(DeprecationWarning, match=r"load_study\(overrides=\.\.\.\)") as found:
        study = normlab.load_study("digits-norms", set={"epochs": 1})  # type: ignore[call-arg]
    assert found[0].filename == __file__
    assert study.overrides == {"epochs": 1}
    with pytest.raises(TypeError, match="they are one"):
        normlab.load_study("digits-norms", set={}, overrides={})  # type: ignore[call-arg]


def test_a_function_is_told_what_a_run_does(tmp_path: Path) -> None:
    told: list[events.Event] = []
    results = normlab.run(tiny(), runs=tmp_path, progress=told.append)
    trial = ["TrialStarted", "EpochEnded", "EpochEnded", "TrialEnded"]
    assert kinds(told) == ["RunPlanned", "RunBegan", *trial, "RunEnded"]
    began, first, ended = told[1], told[3], told[5]
    assert began == events.RunBegan(study="tiny", trials=1, epochs=2, workers=1)
    assert isinstance(first, events.EpochEnded)
    assert (first.arm, first.seed, first.name) == ("base", 0, "base, seed 0")
    assert first.record.epoch == 1
    assert isinstance(ended, events.TrialEnded)
    assert (ended.state, ended.epochs, ended.reason) == ("complete", 2, "")
    assert [ended.test_accuracy] == results.trials["test_accuracy"].tolist()
    told.clear()
    normlab.run(tiny(), runs=tmp_path, progress=told.append)
    assert kinds(told) == ["RunPlanned", "RunBegan", "RunEnded"]


@pytest.mark.parametrize("error", [ValueError("mine"), OSError(errno.ENOSPC, "mine")], ids=repr)
def test_what_a_progress_function_raises_ends_the_run_with_everything_stored(
    tmp_path: Path, error: Exception
) -> None:
    def stop(event: events.Event) -> None:
        if isinstance(event, events.EpochEnded):
            raise error

    with pytest.raises(type(error), match="mine") as raised:
        normlab.run(tiny(), runs=tmp_path, progress=stop)
    assert not isinstance(raised.value, MachineError)
    (trial,) = normlab.status("tiny", runs=tmp_path).trials
    assert (trial["state"], trial["epochs"]) == ("pending", 1)
    started: list[events.Event] = []
    normlab.run(tiny(), runs=tmp_path, progress=started.append)
    assert isinstance(started[2], events.TrialStarted)
    assert started[2].epochs == 1


def test_an_interrupted_run_has_its_report(tmp_path: Path) -> None:
    def interrupt(event: events.Event) -> None:
        if isinstance(event, events.EpochEnded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        normlab.run(tiny(), runs=tmp_path, progress=interrupt)
    assert (tmp_path / "tiny" / "report.html").is_file()


def test_seeds_are_added_until_the_claims_are_settled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looks: list[events.LookTaken] = []

    def follow(event: events.Event) -> None:
        if isinstance(event, events.LookTaken):
            looks.append(event)

    results = normlab.run(
        tiny(**CLAIMED), runs=tmp_path, until_settled=True, max_seeds=4, progress=follow
    )
    assert [look.seeds for look in looks] == [3, 4][: len(looks)]
    assert [look.settled for look in looks[:-1]] == [False] * (len(looks) - 1)
    assert looks[0].open_claims in {(), ("<i>x</i>",)}
    assert len(results.trials) == 2 * looks[-1].seeds
    assert results.claims.equals(normlab.claims("tiny", runs=tmp_path))
    assert capsys.readouterr().out == ""
    normlab.run(tiny(**CLAIMED), runs=tmp_path, until_settled=True, progress=True)
    assert "3 seeds:" in capsys.readouterr().out


def test_an_arm_of_settled_claims_alone_gets_no_more_seeds(tmp_path: Path) -> None:
    looks: list[events.LookTaken] = []
    study = tiny(
        arms=[
            {"label": "a", "set": {"lr": 0.1, "norm": "batch"}},
            {"label": "b", "set": {"lr": 0.1, "norm": "batch", "batch_size": 32}},
            {"label": "still", "set": {"lr": 1e-9}},
        ],
        base={"data": "digits", "data.limit": 40, "model": "digits-small", "norm": "none",
              "epochs": 6},
        seeds=3,
        analysis={"looks": [3, 4], "margin": 0.01},
        claims=[
            {"kind": "better", "name": "learns", "metric": "train_loss", "margin": 0.001,
             "arm": "a", "over": "still", "at": "mean_of_last_2"},
            {"kind": "equal", "name": "open", "arm": "a", "to": "b"},
        ],
    )  # fmt: skip
    results = normlab.run(
        study,
        runs=tmp_path,
        until_settled=True,
        progress=lambda e: looks.append(e) if isinstance(e, events.LookTaken) else None,
    )
    assert looks[0].settled_claims == {"learns": "supported"}
    ahead = looks[0].next_look
    assert ahead is not None
    assert (ahead.seeds, ahead.arms, ahead.trials) == (4, 2, 2)
    assert ahead.hours > 0
    assert looks[-1].next_look is None
    assert results.trials.groupby("arm")["seed"].count().to_dict() == {"a": 4, "b": 4, "still": 3}
    settled, open_ = results.claims.to_dict("records")
    assert (settled["verdict"], settled["seeds"]) == ("supported", 3)
    assert open_["seeds"] == 4
    assert settled["estimate"] < 0  # a loss keeps its sign
    assert "still stopped at 3 seeds, others have up to 4" in results.notices[0]


def test_max_seeds_needs_until_settled(tmp_path: Path) -> None:
    with pytest.raises(normlab.UserError, match="max_seeds needs until_settled"):
        normlab.run(tiny(), runs=tmp_path, max_seeds=3)
    assert not list(tmp_path.iterdir())


def test_progress_prints_the_command_s_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    normlab.run(tiny(), runs=tmp_path, progress=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "training 1 trial on 1 worker"
    assert second.startswith("[1/1] base, seed 0: complete after 2 epochs, test accuracy ")


def test_results_and_status_show_themselves_with_all_text_escaped(tmp_path: Path) -> None:
    study = tiny(**CLAIMED)
    results = normlab.run(study, runs=tmp_path)
    page = results._repr_html_()
    assert "<td>&lt;script&gt;a &amp; b&lt;/script&gt;</td>" in page
    assert "<td>&lt;i&gt;x&lt;/i&gt;</td>" in page
    status = normlab.status(study, runs=tmp_path)
    assert "<td>&lt;script&gt;a &amp; b&lt;/script&gt;</td><td>4/4</td>" in status._repr_html_()
    for text in (page, status._repr_html_()):
        assert "<script" not in text
        assert "<i>" not in text
    mean = results.arms["test_mean"][1]
    assert f"<td>plain</td><td>{100 * mean:.2f}</td>" in page


def test_results_and_status_are_said_in_few_words(tmp_path: Path) -> None:
    study = tiny(arms=[{"label": "a\x1b[31mb"}])
    results = normlab.run(study, runs=tmp_path)
    assert repr(results) == f"<Results of {tmp_path / 'tiny'}: 1 arm, 1 trial: 1 complete>"
    assert "\x1b" not in str(results)
    assert ", 1 seed" in str(results).splitlines()[1]
    status = normlab.status(study, runs=tmp_path)
    assert str(status) == "tiny: 1 of 1 trial finished (1 complete)"
    assert repr(status) == f"<Status of {status}>"
    assert repr(normlab.verify(study, runs=tmp_path)) == "<Verified: 2 of 2 files as stored>"


def test_a_study_stands_for_its_name(tmp_path: Path) -> None:
    study = tiny()
    normlab.run(study, runs=tmp_path)
    assert normlab.results(study, runs=tmp_path).trials["state"].tolist() == ["complete"]
    assert normlab.report(study, runs=tmp_path, csv=tmp_path / "e.csv").is_file()
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 3
    assert normlab.claims(study, runs=tmp_path).empty


def test_lint_takes_a_study_or_its_plan() -> None:
    study = tiny()
    (seeds, *_) = found = normlab.lint(study)
    assert found == normlab.lint(normlab.plan(study))
    assert (seeds.rule, "one seed" in seeds.says) == ("one-seed", True)
    assert "arXiv" in seeds.reference
    assert seeds.why


def test_a_norm_is_checked_by_kind_path_or_class() -> None:
    from normlab.norms import by_name

    passed = normlab.check_norm("rms", options={})
    assert passed
    assert {finding.wrong for finding in passed} == {None}
    assert normlab.check_norm(by_name("rms"), against="rms", options={}) == passed
    with pytest.raises(normlab.UserError, match="'rsm'"):
        normlab.check_norm("rsm")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: normlab.plan("digits-norms"), "a Study is needed, as load_study makes it"),
        (lambda s: normlab.lint("digits-norms"), "a Study is needed"),
        (lambda s: normlab.run("digits-norms"), "a Study is needed"),
        (lambda s: normlab.load_study(3), "named by a str or a Path, not int"),
        (lambda s: normlab.load_study("digits-norms", overrides=["epochs"]), "a mapping of recipe"),
        (
            lambda s: normlab.run(s, until_settled=True, max_seeds=0),
            "max_seeds is 0: a whole number",
        ),
    ],
)
def test_an_argument_that_is_none_is_named(
    call: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    claim = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
    base = {"data": "digits", "model": "digits-small", "epochs": 1}
    content = {"name": "s", "question": "?", "base": base, "factors": {"norm": ["none", "batch"]}}
    with pytest.raises(normlab.UserError, match=words):
        call(normlab.Study.parse({**content, "seeds": 2, "claims": [claim]}))
    assert not (tmp_path / "runs").exists()


def test_no_seed_is_added_where_no_claim_can_be_judged(tmp_path: Path) -> None:
    claim = {"kind": "better", "arm": {"norm": "batch"}, "over": {"norm": "none"}}
    base = {"data": "digits", "model": "digits-small", "epochs": 1}
    content = {"name": "s", "question": "?", "base": base, "factors": {"norm": ["none", "batch"]}}
    study = normlab.Study.parse({**content, "seeds": 2, "claims": [claim]})
    with pytest.raises(normlab.UserError, match="has the arms of none of its claims"):
        normlab.run(study.vary(overrides={"norm": "batch"}), runs=tmp_path, until_settled=True)
