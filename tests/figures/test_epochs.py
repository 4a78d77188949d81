"""Figures of numbers by epoch: curves, clipping, sparsity, gradients, layers."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import vl_convert
from scipy import stats

from normlab.errors import UserError
from normlab.figures import FIGURES, Figure, NotDrawnError, Source
from normlab.figures.drawing import VEGA_LITE, specification
from normlab.figures.lines import line_chart
from normlab.frames import Frames

Make = Callable[..., Frames]
VALUES = {"a": [[0.5, 0.9], [0.6, 0.7]], "b": [[0.1, 0.2]]}


def figure(kind: str, **values: object) -> Figure:
    return FIGURES[kind].parse({"kind": kind, "arms": ["a", "b"], **values})


def curves(**values: object) -> Figure:
    return figure("curves", **values)


def curve_rows(frames: Frames, curve: Figure) -> pd.DataFrame:
    return curve.rows(Source(frames))


def test_curves_are_means_over_seeds_with_t_intervals(make: Make) -> None:
    rows = curve_rows(make(VALUES), curves(splits=["test"]))
    assert rows["panel"].unique().tolist() == ["Test"]
    assert rows["mean"].tolist() == pytest.approx([55, 80, 10, 20])
    low, high = stats.t.interval(0.95, 1, 55, stats.sem([50, 60]))
    assert (rows["low"][0], rows["high"][0]) == pytest.approx((max(low, 0), min(high, 100)))
    assert rows["seeds"].tolist() == [2, 2, 1, 1]
    assert np.isnan(rows["low"][2])


def test_arms_and_panels_have_the_plan_s_and_the_file_s_order(make: Make) -> None:
    made = make({"z": [[0.5]], "a": [[0.5]]})
    rows = curve_rows(made, curves(arms=["z", "a"], splits=["test", "train"], metric="loss"))
    assert rows[["panel", "arm"]].to_numpy().tolist() == [
        ["Test", "z"],
        ["Test", "a"],
        ["Train (running)", "z"],
        ["Train (running)", "a"],
    ]


def test_running_trials_are_in_curves_and_failed_ones_are_not(make: Make) -> None:
    states = {("a", 0): "failed", ("a", 1): "running"}
    rows = curve_rows(make(VALUES, states=states), curves(splits=["test"], arms=["a"]))
    assert rows["mean"].tolist() == pytest.approx([60, 70])


def test_a_number_without_splits_has_one_panel(make: Make) -> None:
    rows = curve_rows(make(VALUES), curves(metric="lr", arms=["b"]))
    assert rows[["panel", "epoch", "mean"]].to_numpy().tolist() == [["", 1, 0.1], ["", 2, 0.1]]


def test_a_metric_that_nothing_recorded_is_said(make: Make) -> None:
    with pytest.raises(NotDrawnError, match="no epoch has recorded it"):
        curve_rows(make(VALUES), curves(metric="ece"))


def test_a_logarithmic_axis_leaves_zeros_out(make: Make) -> None:
    rows = curve_rows(make({"a": [[1.0, 0.5]]}), curves(arms=["a"], metric="loss", splits=["test"]))
    spec = line_chart(rows, ["a"], "Loss", scale="log").to_dict()
    means = [r["mean"] for data in spec["datasets"].values() for r in data if "mean" in r]
    assert set(means) == {0.5}
    with pytest.raises(NotDrawnError, match="above 0"):
        line_chart(rows[rows["mean"] == 0], ["a"], "Loss", scale="log")


@pytest.mark.parametrize("epochs", [1, 4000])
def test_single_epochs_and_long_curves_are_drawn(make: Make, epochs: int) -> None:
    made = make({"a": [[0.5] * epochs] * 2})
    spec = curves(arms=["a"]).draw(Source(made)).chart.to_dict()
    sizes = [len(data) for data in spec["datasets"].values() if "panel" in data[0]]
    # Three panels of a line and a band; the shapes are few, however long the line is.
    assert sizes.count(epochs) >= 3
    assert min(sizes) <= 7


def test_details_are_drawn_by_name(make: Make) -> None:
    details = {"a": [{"agc_clipped": 0.5}, {"agc_clipped": None}], "b": [{}, {}]}
    rows = figure("agc").rows(Source(make(VALUES, details=details)))
    assert rows[["arm", "epoch", "mean", "seeds"]].to_numpy().tolist() == [["a", 1, 50.0, 2]]


def test_sparsity_is_that_of_the_threshold(make: Make) -> None:
    details = {"b": [{"sparsity": {"w": [0.1, 0.3], "v": [0.0, 0.5]}}] * 2}
    made = make(VALUES, details=details)
    rows = figure("sparsity", threshold=0.001).rows(Source(made))
    assert rows[["panel", "mean"]].drop_duplicates().to_numpy().tolist() == [["w", 10], ["v", 0]]
    rows = figure("sparsity", layers=["v"]).rows(Source(made))
    assert rows["mean"].tolist() == [50, 50]


def test_activations_are_means_of_percentiles_by_layer(make: Make) -> None:
    details = {"a": [{"activations": {"n1": [-1, 0, 1, 2], "n2": [0, 0, 0, 0]}}, {}], "b": [{}, {}]}
    shown = figure("activations", layers=["n1"])
    rows = shown.rows(Source(make(VALUES, details=details)))
    assert rows.to_numpy().tolist() == [["a", "n1", 1, -1, 0, 1, 2]]
    assert rows.attrs["there"] == 2


def test_an_arm_without_norm_layers_is_left_out(make: Make) -> None:
    details = {"a": [{"activations": {}}] * 2, "b": [{"activations": {"n": [0, 1, 2, 3]}}] * 2}
    rows = figure("activations").rows(Source(make(VALUES, details=details)))
    assert rows["arm"].unique().tolist() == ["b"]


def test_many_layers_are_thinned_to_six_from_the_first_to_the_last(make: Make) -> None:
    found = {f"norm{number}": [0.0, 1.0, 2.0, 3.0] for number in range(53)}
    made = make(VALUES, details={"b": [{"activations": found}] * 2})
    rows = figure("activations").rows(Source(made))
    assert rows["layer"].unique().tolist() == [f"norm{n}" for n in (0, 10, 21, 31, 42, 52)]
    assert rows.attrs["there"] == 53


def test_a_layer_is_named_whole_or_as_show_model_prints_it(make: Make) -> None:
    found = {f"layers.{name}": [0.0, 1.0, 2.0, 3.0] for name in ("norm1", "norm10", "norm2.rho")}
    frames = make(VALUES, details={"b": [{"activations": found}] * 2})
    wanted = ["norm2", "norm1", "layers.norm1"]
    rows = figure("activations", layers=wanted).rows(Source(frames))
    assert rows["layer"].unique().tolist() == ["layers.norm2.rho", "layers.norm1"]


def test_long_names_of_layers_are_broken_at_dots_and_not_cut(make: Make) -> None:
    names = [f"layers.stage{s}.block{b}.branch.norm1" for s in (1, 2, 3) for b in (1, 2)]
    found = {name: [0.0, 1.0, 2.0, 3.0] for name in ("layers.stem", *names[1:])}
    frames = make(VALUES, details={"b": [{"activations": found}] * 2})
    drawn = figure("activations").draw(Source(frames))
    svg = vl_convert.vegalite_to_svg(specification(drawn), vl_version=VEGA_LITE)
    lines = re.findall(r">([a-z][\w.]*)</t", svg)
    assert {"stem", "stage3.block2.branch", "norm1"} <= set(lines)
    assert "…" not in svg


def test_a_layer_that_is_not_there_is_the_user_s_mistake(make: Make) -> None:
    details = {"b": [{"activations": {"norm1": [0, 1, 2, 3]}}] * 2}
    with pytest.raises(UserError, match="unknown norm layer 'nrm1'"):
        figure("activations", layers=["nrm1"]).rows(Source(make(VALUES, details=details)))


def test_gates_are_histograms_over_seeds_at_every_epoch_or_the_last(make: Make) -> None:
    first = [1.0] + [0.0] * 9
    last = [0.5] + [0.0] * 8 + [0.5]
    details = {"a": [{"gates": {"rho": first}}, {"gates": {"rho": last}}]}
    made = make(VALUES, details=details)
    rows = figure("gates", epochs="last").rows(Source(made))
    assert rows[rows["share"] > 0][["epoch", "low", "high", "share"]].to_numpy().tolist() == [
        [2, 0.0, 0.1, 50.0],
        [2, 0.9, 1.0, 50.0],
    ]
    assert set(figure("gates").rows(Source(made))["epoch"]) == {1, 2}
    for epochs in ("all", "last"):
        figure("gates", epochs=epochs).draw(Source(made)).chart.to_dict()
