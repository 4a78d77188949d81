from typing import Any

import pytest

from normlab.figures import NotDrawnError, Source
from normlab.figures.drawing import figures_of
from normlab.figures.effects import Effects
from normlab.frames import claim_table, frames_from_csv
from normlab.study.resolve import outline
from normlab.study.spec import Study

CLAIMS: list[dict[str, Any]] = [
    {"kind": "better", "name": "b over a", "arm": "b", "over": "a", "published": {"a": 90, "b": 93}},
    {"kind": "better", "name": "lower loss", "arm": "b", "over": "a", "metric": "test_loss",
     "margin": 0.01},
]  # fmt: skip
FIGURE = Effects(kind="effects")


def frames(tmp_path: Any, rows: list[tuple[object, ...]], **values: object) -> Any:
    study = {
        "name": "s",
        "question": "?",
        "base": {"data": "digits", "model": "digits-small"},
        "arms": [{"label": "a"}, {"label": "b", "set": {"lr": 0.5}}],
        "seeds": 3,
        "claims": CLAIMS,
        **values,
    }
    lines = ["arm,test_accuracy,test_loss", *(",".join(map(str, row)) for row in rows)]
    path = tmp_path / "trials.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return frames_from_csv(path, outline(Study.parse(study)))


ROWS: list[tuple[object, ...]] = [
    ("a", 0.90, 0.30),
    ("a", 0.91, 0.31),
    ("a", 0.92, 0.32),
    ("b", 0.95, 0.20),
    ("b", 0.95, 0.21),
    ("b", 0.97, 0.22),
]


def test_the_verdicts_numbers_are_drawn_with_the_sign_that_was_measured(tmp_path: Any) -> None:
    made = frames(tmp_path, ROWS)
    rows = FIGURE.rows(Source(made)).set_index("claim")
    table = claim_table(made).set_index("claim")
    assert rows.loc["b over a", "estimate"] == pytest.approx(4.667, abs=1e-3)
    assert rows.loc["b over a", "low"] == pytest.approx(100 * table.loc["b over a", "low"])
    assert rows.loc["b over a", "margin"] == pytest.approx(0.1)  # digits: a tenth of a point
    assert rows.loc["lower loss", "estimate"] == pytest.approx(-0.1)
    assert rows["unit"].tolist() == [
        "Difference, points",
        "Difference in test loss, nats; left is better",
    ]


def test_the_published_difference_is_the_claim_s_own_or_that_of_the_arms_numbers(
    tmp_path: Any,
) -> None:
    published = [
        {"arm": label, "values": {"test_loss": v}} for label, v in (("a", 0.4), ("b", 0.1))
    ]
    rows = FIGURE.rows(Source(frames(tmp_path, ROWS, published=published)))
    assert rows["published"].tolist() == pytest.approx([3.0, -0.3])


def test_one_seed_is_drawn_without_an_interval(tmp_path: Any) -> None:
    drawn = FIGURE.draw(Source(frames(tmp_path, [ROWS[0], ROWS[3]])))
    assert drawn.data["low"].isna().all()
    drawn.chart.to_dict()


def test_claims_may_be_chosen_and_without_an_estimate_there_is_no_figure(tmp_path: Any) -> None:
    made = frames(tmp_path, ROWS)
    chosen = Effects(kind="effects", claims=("lower loss",)).rows(Source(made))
    assert chosen["claim"].tolist() == ["lower loss"]
    with pytest.raises(NotDrawnError, match="no claim has an estimate"):
        FIGURE.rows(Source(frames(tmp_path, ROWS[:3])))


def test_claims_are_drawn_first_unless_the_study_puts_them_elsewhere(tmp_path: Any) -> None:
    def names(*figures: object) -> list[str]:
        return [f.name for f in figures_of(frames(tmp_path, ROWS, figures=list(figures)))]

    assert names()[0] == "effects"
    assert names("dots") == ["effects", "dots"]
    assert names("dots", "effects") == ["dots", "effects"]
    assert names({"kind": "dots", "name": "effects"}) == ["claims-effects", "effects"]
