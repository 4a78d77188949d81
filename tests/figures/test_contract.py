"""What every kind of figure must do: one suite over the catalog, on the example of each kind."""

from pathlib import Path

import pytest
from tests.kinds import EVERY_KIND

from normlab.figures import FIGURES, Source
from normlab.figures.drawing import specification
from normlab.frames import Frames, load_frames
from normlab.records.plan import FigureRecord, PlanRecord
from normlab.store import Store


@pytest.fixture(scope="module")
def frames(illustrated: Path) -> Frames:
    with Store.read(illustrated) as store:
        return load_frames(store)


def records(frames: Frames, kind: str) -> list[FigureRecord]:
    return [record for record in frames.plan.figures if record.kind == kind]


def test_every_kind_has_an_example() -> None:
    assert {figure["kind"] for figure in EVERY_KIND} == set(FIGURES)


@pytest.mark.parametrize("kind", FIGURES)
def test_its_name_is_the_same_everywhere_and_it_says_what_it_is(kind: str) -> None:
    figure = FIGURES[kind]
    assert figure.title == f"figure '{kind}'"
    assert figure.describe()
    assert figure.usual[0].isupper()


@pytest.mark.parametrize("kind", FIGURES)
def test_it_comes_back_from_a_stored_plan_as_it_was(kind: str, frames: Frames) -> None:
    back = PlanRecord.from_json(frames.plan.to_json())
    assert back.figures == frames.plan.figures
    for record in records(frames, kind):
        figure = FIGURES[kind].of(record)
        assert figure.record(record.name) == record


@pytest.mark.parametrize("kind", FIGURES)
def test_its_rows_are_tidy_and_its_caption_says_how_to_read_it(
    kind: str, frames: Frames, illustrated: Path
) -> None:
    for record in records(frames, kind):
        drawn = FIGURES[kind].of(record).draw(Source(frames, illustrated))
        assert len(drawn.data)
        assert drawn.data.columns.is_unique
        assert all(isinstance(column, str) for column in drawn.data)
        assert drawn.data.index.equals(type(drawn.data)(index=range(len(drawn.data))).index)
        assert drawn.caption.rstrip().endswith(".")
        assert drawn.title
        drawn.chart.to_dict()  # validates
        assert specification(drawn)["config"]
