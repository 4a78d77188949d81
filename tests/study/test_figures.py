"""Figures of a study file: what is refused, and what of them a plan records."""

import re

import pytest

from normlab.arms import Arms
from normlab.errors import UserError
from normlab.figures.against_factor import AgainstFactor
from normlab.figures.places import Places
from normlab.study.cells import cells
from normlab.study.plan import make_plan
from normlab.study.resolve import outline
from normlab.study.spec import Study

GRID = {
    "norm": ["batch", {"kind": "group", "groups": 2}],
    "dropout.p": [0, 0.2, 0.5],
    "dropout.slots": [1, 2],
}
NEST = [{"nest": "dropout.slots", "within": {"dropout.p": [0.2, 0.5]}}]


def study(*figures: object, **values: object) -> Study:
    content: dict[str, object] = {
        "name": "s",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small"},
        "factors": GRID,
        "constraints": NEST,
        "seeds": 2,
        **values,
    }
    return Study.parse({**content, "figures": list(figures)})


def records(*figures: object, **values: object) -> list[dict[str, object]]:
    made = outline(study(*figures, **values)).figures
    return [{**one.options, **one.model_dump(exclude={"options"})} for one in made]


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ({"kind": "factr", "x": "norm"}, "unknown kind 'factr'. Did you mean 'factor'"),
        ({"kind": "factor", "x": "dropot.p"}, "Did you mean 'dropout.p'"),
        ({"kind": "factor", "x": "norm", "line": "norm"}, "Did you mean 'lines'"),
        ({"kind": "factor", "x": "norm", "lines": "nrm"}, "unknown factor 'nrm'"),
        ({"kind": "factor", "x": "dropout.p", "scale": "log"}, "scale is 'log'"),
        ({"kind": "factor", "x": "norm", "arms": [{"norm": "batch"}]}, "two levels of norm"),
        ({"kind": "dots", "metrics": "test_acuracy"}, "Did you mean 'test_accuracy'"),
        ({"kind": "dots", "metrics": {"kind": "time_to", "target": 2}}, "metrics.0.target is 2"),
        ({"kind": "dots", "metrics": []}, "name at least one"),
        ({"kind": "dots", "arms": "nrom"}, "unknown arm 'nrom'"),
        ({"kind": "dots", "arms": {"norm": "btch"}}, "no arm has {norm: btch}"),
        ({"kind": "curves", "metric": "acuracy"}, "nearest: 'accuracy'"),
        ({"kind": "curves", "splits": "tst"}, "nearest: 'test'"),
        ({"kind": "sparsity", "threshold": 0.1}, "0.001 or 0.01"),
        ({"kind": "misclassified", "arm": {"norm": "batch"}}, "fits 5: norm=batch"),
        ({"kind": "effects"}, "makes no claims"),
        ({"kind": "dots", "name": "a b"}, "figures.0.name is 'a b'"),
        (
            {"kind": "dots", "titel": "Dots"},
            "Did you mean 'title'? Allowed: arms, at, caption, kind",
        ),
        ({"kind": "dots", "title": 5}, "figures.0.title is 5"),
        ({"kind": "dots", "at": "worst_of_last"}, "mean_of_last_5, or an epoch's number"),
        ({"kind": "dots", "at": 0}, "figures.0.at is 0: allowed: last"),
        ({"kind": "dots", "metrics": ["gap", "gap"]}, "gap is there twice"),
        ({"kind": "dots", "metrics": "time_to"}, "needs a target"),
        ({"kind": "dots", "arms": {"norm": ["batch", "layer"]}}, "no level layer; it has batch"),
        ({"kind": "dots", "arms": 5}, "figures.0.arms is 5: a list is needed"),
        ({"kind": "factor", "x": "norm", "lines": "norm"}, "norm is x and cannot be lines"),
        ({"kind": "factor", "x": "norm", "lines": ["dropout.p"] * 2}, "is among lines twice"),
    ],
)
def test_a_mistake_names_what_is_wrong_and_the_nearest(
    figure: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        records(figure)


def test_names_are_kinds_with_numbers_and_differ() -> None:
    found = records("dots", {"kind": "bars", "name": "dots-2"}, "dots", "curves")
    assert [figure["name"] for figure in found] == ["dots", "dots-2", "dots-3", "curves"]
    with pytest.raises(UserError, match="two of them have the name 'x'"):
        records({"kind": "dots", "name": "x"}, {"kind": "bars", "name": "x"})


def test_a_title_is_kept() -> None:
    assert records({"kind": "dots", "title": "Arms"})[0]["heading"] == "Arms"


def test_arms_are_those_that_any_selector_fits_in_the_plan_s_order() -> None:
    (figure,) = records(
        {"kind": "dots", "arms": [{"norm": "group", "dropout.p": 0}, {"norm": "batch"}]}
    )
    assert figure["arms"] == [
        "norm=batch, dropout.p=0",
        "norm=batch, dropout.p=0.2, dropout.slots=1",
        "norm=batch, dropout.p=0.2, dropout.slots=2",
        "norm=batch, dropout.p=0.5, dropout.slots=1",
        "norm=batch, dropout.p=0.5, dropout.slots=2",
        "norm=group, dropout.p=0",
    ]


def test_what_a_figure_leaves_open_is_the_analysis() -> None:
    analysis = {"metric": "test_loss", "at": 3}
    factor, dots = records({"kind": "factor", "x": "norm"}, "dots", analysis=analysis)
    assert (factor["metric"], factor["at"]) == ("test_loss", 3)
    assert (dots["metrics"], dots["at"]) == (["test_loss"], 3)


def places(figure: object, **values: object) -> Places:
    made = study(figure, **values)
    arms = Arms({cell.label: cell.levels for cell in cells(made)})
    (against,) = made.figures
    assert isinstance(against, AgainstFactor)
    return against.places(arms)


def of_batch(found: Places) -> list[tuple[object, ...]]:
    return [(p.x, p.line, p.panel) for p in found.points if p.arm.startswith("norm=batch")]


def test_an_arm_without_a_nested_level_stands_in_every_line_that_lacks_its_place() -> None:
    found = places({"kind": "factor", "x": "dropout.p", "lines": "dropout.slots"})
    assert found.numeric is True
    assert of_batch(found) == [
        (0, "1", None),
        (0, "2", None),
        (0.2, "1", None),
        (0.2, "2", None),
        (0.5, "1", None),
        (0.5, "2", None),
    ]
    assert found.repeated == ("norm=batch, dropout.p=0", "norm=group, dropout.p=0")


def test_where_the_place_is_taken_it_is_a_line_of_its_own() -> None:
    found = places({"kind": "factor", "x": "norm", "lines": "dropout.slots"})
    assert (found.numeric, found.repeated) == (False, ())
    assert of_batch(found) == [
        ("batch", "no dropout.slots", None),
        ("batch", "1", None),
        ("batch", "2", None),
        ("batch", "1", None),
        ("batch", "2", None),
    ]


def test_a_level_has_the_same_name_in_a_figure_as_in_an_arm_s_label() -> None:
    ghosts = [{"kind": "ghost_batch", "ghost_size": size} for size in (8, 32)]
    factors = {"norm": ["batch", *ghosts], "batch_size": [32, 64]}
    figure = {"kind": "factor", "x": "batch_size", "lines": "norm"}
    found = places(figure, factors=factors, constraints=[])
    assert {point.line for point in found.points} == {
        "batch",
        "ghost_batch(ghost_size=8)",
        "ghost_batch(ghost_size=32)",
    }
    for point in found.points:
        assert point.arm == f"norm={point.line}, batch_size={point.x}"


def test_several_factors_name_a_line_together_and_panels_are_named_in_full() -> None:
    lines = ["norm", "dropout.slots"]
    found = places({"kind": "interaction", "x": "dropout.p", "lines": lines, "panels": "norm"})
    assert found.numeric is False  # an interaction's axis has names
    assert of_batch(found)[:2] == [
        ("0", "norm=batch, dropout.slots=1", "norm=batch"),
        ("0", "norm=batch, dropout.slots=2", "norm=batch"),
    ]


def test_levels_that_no_line_has_are_a_line_of_their_own() -> None:
    found = places({"kind": "factor", "x": "norm", "lines": ["dropout.slots", "dropout.p"]})
    assert of_batch(found)[:2] == [
        ("batch", "dropout.p=0", None),
        ("batch", "dropout.slots=1, dropout.p=0.2", None),
    ]


def test_arms_without_a_place_on_the_axis_are_named() -> None:
    found = places({"kind": "factor", "x": "dropout.slots"})
    assert found.without == ("norm=batch, dropout.p=0", "norm=group, dropout.p=0")


def test_a_variant_keeps_a_figure_that_it_lacks_the_arms_for_with_the_reason() -> None:
    varied = study({"kind": "factor", "x": "dropout.p"}).vary(overrides={"dropout.p": 0.2})
    (figure,) = outline(varied).figures
    assert figure.unresolved == "dropout.p is set to 0.2 in every arm"


def test_figures_survive_what_a_run_changes() -> None:
    made = study({"kind": "dots", "metrics": {"kind": "time_to", "target": 0.9}}, "gates")
    assert made.vary(seeds=3).figures == made.figures


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ({"kind": "dots", "metrics": "validation_loss"}, "no arm has validation images"),
        ({"kind": "bars", "at": "best_validation"}, "no arm has validation images"),
        (
            {"kind": "factor", "x": "norm", "metric": {"kind": "time_to", "target": 0.9}},
            "no arm has",
        ),
        ({"kind": "survival", "target": 0.9}, "no arm has validation images"),
        ({"kind": "curves", "splits": "validation"}, "no arm has validation images"),
        ({"kind": "dots", "at": 4}, "4 epochs are needed, and its arms train 3"),
        ({"kind": "dots", "at": "worst_of_last_4"}, "4 epochs are needed"),
        ({"kind": "survival", "target": 0.9, "split": "train", "hold": 4}, "4 epochs are needed"),
    ],
)
def test_what_no_arm_could_ever_show_is_refused(figure: dict[str, object], message: str) -> None:
    base = {"data": "digits", "model": "digits-small", "epochs": 3, "validation": 0}
    factors = {"factors": {"norm": ["batch", "layer"]}, "constraints": []}
    with pytest.raises(UserError, match=message) as caught:
        make_plan(study(figure, base=base, **factors))
    assert str(caught.value).startswith(f"figure {figure['kind']}: ")
    shown = ("curves", {"kind": "dots", "at": 3}, {"kind": "dots", "metrics": "gap", "at": "last"})
    assert len(make_plan(study(*shown, base=base, **factors)).arms) == 2
    # A quick variant may train shorter than the study that its figures are of.
    make_plan(study(figure, base=base, **factors).vary(quick=True))


@pytest.mark.parametrize(
    ("analysis", "message"),
    [
        ({"at": "best_validation"}, "analysis: no arm has validation images"),
        ({"metric": "validation_accuracy"}, "analysis: no arm has validation images"),
        ({"at": 4}, "analysis: 4 epochs are needed"),
    ],
)
def test_an_analysis_of_what_no_arm_has_is_refused(
    analysis: dict[str, object], message: str
) -> None:
    base = {"data": "digits", "model": "digits-small", "epochs": 3, "validation": 0}
    with pytest.raises(UserError, match=message):
        make_plan(study(base=base, factors={}, constraints=[], analysis=analysis))
