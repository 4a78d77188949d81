"""What the templates of the pages are given; each template's head says what that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, get_args
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from normlab.errors import unknown
from normlab.figures.curves import OF_SPLITS, SPLIT_TITLES, Curves, words_of_metric
from normlab.live.access import Refusal
from normlab.live.looking import Progress
from normlab.live.watching import Trouble
from normlab.reports.html import environment
from normlab.text import shown


def _inside(words: str) -> str:
    """Words that begin a title as they stand within a sentence."""
    return words[0].lower() + words[1:]


_BY_NAME = get_args(Curves.model_fields["metric"].annotation)
METRICS: Mapping[str, str] = {
    **{
        f"{split}_{metric}": f"{words} {_inside(words_of_metric(metric))}"
        for metric in OF_SPLITS
        for split, words in SPLIT_TITLES.items()
    },
    **{name: words_of_metric(name) for name in _BY_NAME if name not in OF_SPLITS},
}
"""Metrics that arms can be compared by, each with its words."""
_USUAL = "test_accuracy"
_TITLES = {
    403: "Not let in",
    404: "Not found",
    405: "Only for reading",
    421: "Another address",
    500: "Something is wrong",
    503: "Not yet",
}


class NotThereError(Exception):
    """There is no such arm or metric; the message names the nearest."""


class Asked(NamedTuple):
    """What is compared.

    Attributes:
        labels: Of all arms of the study.
        arms: Of those that are chosen; none: a report's choice.
        metrics: Names of those that are chosen.
    """

    labels: Sequence[str]
    arms: Sequence[str]
    metrics: Sequence[str]


class Views:
    """The pages as text."""

    def __init__(self) -> None:
        self._templates: Environment = environment(PackageLoader("normlab.live"))

    def index(self, studies: Iterable[Progress | Trouble]) -> str:
        """All studies of the folder."""
        rows = [
            {
                **_study(found.name),
                "question": found.question if isinstance(found, Progress) else None,
                **_state(found),
            }
            for found in studies
        ]
        return self._page("index.html", studies=rows)

    def progress(self, found: Progress) -> str:
        """How far a study is, as a part of its page."""
        return self._page("progress.html", progress=found)

    def study(self, found: Progress | Trouble, body: str, version: str) -> str:
        """A study's page.

        Args:
            found: How far it is.
            body: Its report as HTML; empty where it is still being drawn.
            version: Of the body.
        """
        given = {"study": _study(found.name), **_state(found)}
        return self._page("study.html", **given, body=_html(body), version=version)

    def compare(
        self, name: str, asked: Asked, figures: Sequence[Mapping[str, object]], problem: str
    ) -> str:
        """Arms of a study side by side.

        Args:
            name: The study's.
            asked: What is compared.
            figures: One for each metric, as `normlab.live.drawing.compared` makes them.
            problem: Why there are none, or what there is not.
        """
        labels, arms, metrics = asked
        return self._page(
            "compare.html",
            study=_study(name),
            arms=[{"label": one, "chosen": one in arms} for one in labels],
            metrics=[{"name": n, "words": w, "chosen": n in metrics} for n, w in METRICS.items()],
            figures=[_with_spec(figure) for figure in figures],
            problem=problem or None,
        )

    def refused(self, found: Refusal, *, inside: bool = False) -> str:
        """Why there is no page.

        Args:
            found: What is wrong.
            inside: Whether the browser is in, and may go on to the list of studies.
        """
        title = _TITLES.get(found.status, "Not here")
        return self._page("refused.html", title=title, reason=found.reason, inside=inside)

    def _page(self, template: str, **given: object) -> str:
        return self._templates.get_template(template).render(given)


def _html(made: str) -> Markup:
    return Markup(made)  # noqa: S704 (of our own templates)


def _with_spec(figure: Mapping[str, object]) -> dict[str, object]:
    """A figure whose specification came as plain text from the process that draws."""
    spec = figure["spec"]
    return {**figure, "spec": _html(spec) if isinstance(spec, str) else None}


def study_url(name: str) -> str:
    """The address of a study's page."""
    return f"/study/{quote(name, safe='')}"


def _study(name: str) -> dict[str, object]:
    compare = f"/compare?{urlencode({'study': name})}"
    return {"name": shown(name), "url": study_url(name), "compare": compare}


def _state(found: Progress | Trouble) -> dict[str, object]:
    if isinstance(found, Trouble):
        return {"progress": None, "problem": found.words}
    return {"progress": found, "problem": None}


def chosen(labels: Sequence[str], arms: Sequence[str], metrics: Sequence[str]) -> Asked:
    """The arms and metrics of an address, each once, in the study's order.

    Raises:
        NotThereError: One of them is not there; the message has the nearest that is.
    """
    for what, asked, there in (("arm", arms, labels), ("metric", metrics, [*METRICS])):
        for name in asked:
            if name not in there:
                raise NotThereError(unknown(what, shown(name), there))
    wanted = metrics or [_USUAL]
    return Asked(labels, [a for a in labels if a in arms], [m for m in METRICS if m in wanted])
