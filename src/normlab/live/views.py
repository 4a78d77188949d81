"""What the templates of the pages are given, and the pages made of it.

`Views` says what each template is given; `progress_row` and `study_row` are rows of several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, get_args
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from normlab.errors import unknown
from normlab.figures.curves import OF_SPLITS, SPLIT_TITLES, Curves
from normlab.live.access import Refusal
from normlab.live.looking import Left, Progress
from normlab.live.watching import Trouble
from normlab.live.words import without_paths
from normlab.reports.html import environment
from normlab.text import shown
from normlab.wording import counted, rough_hours, state_counts

_BY_NAME = get_args(Curves.model_fields["metric"].annotation)
METRICS: Mapping[str, str] = {
    **{
        f"{split}_{metric}": f"{words} {metric.replace('_', ' ')}"
        for metric in OF_SPLITS
        for split, words in SPLIT_TITLES.items()
    },
    **{name: name.replace("_", " ") for name in _BY_NAME if name not in OF_SPLITS},
}
"""Metrics that arms can be compared by, each with its words."""
MOST_FAILURES = 50
"""Failures that a page has a row for."""
_USUAL = "test_accuracy"
_MOST_RUNNING = 100
_TITLES = {
    403: "Not let in",
    404: "Not found",
    405: "Only for reading",
    421: "Another address",
    500: "Something is wrong",
    503: "Not yet",
}


class NotThereError(Exception):
    """There is no such page; the message says what there is."""


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
        self._templates.filters["shown"] = shown

    def index(self, studies: Sequence[Progress | Trouble], trouble: str = "") -> str:
        """All studies of the folder."""
        return self._page("index.html", studies=[*map(study_row, studies)], trouble=trouble)

    def progress(self, found: Progress | Trouble) -> str:
        """How far a study is, as a part of its page."""
        return self._page("progress.html", **progress_row(found))

    def study(self, found: Progress | Trouble, body: str, version: str) -> str:
        """A study's page.

        Args:
            found: How far it is.
            body: Its report as HTML; empty where it is still being drawn.
            version: Of the body.
        """
        return self._page(
            "study.html",
            **study_row(found),
            progress=_html(self.progress(found)),
            body=_html(body),
            body_version=version,
            compare=f"/compare?{urlencode({'study': found.name})}",
        )

    def compare(
        self,
        name: str,
        asked: Asked,
        figures: Sequence[Mapping[str, object]],
        trouble: str,
    ) -> str:
        """Arms of a study side by side; the template has a link that leads to the same view.

        Args:
            name: The study's.
            asked: What is compared.
            figures: One for each metric, as `normlab.live.drawing.compared` makes them.
            trouble: Why there are none.
        """
        labels, arms, metrics = asked
        pairs = [("study", name), *(("arm", a) for a in arms), *(("metric", m) for m in metrics)]
        return self._page(
            "compare.html",
            name=shown(name),
            study=name,
            url=study_url(name),
            trouble=trouble,
            arms=_choices({label: label for label in labels}, arms),
            metrics=_choices(METRICS, metrics),
            figures=[_with_spec(figure) for figure in figures],
            link=f"/compare?{urlencode(pairs)}",
        )

    def refused(self, found: Refusal) -> str:
        """Why there is no page."""
        return self._page(
            "refused.html",
            status=found.status,
            title=_TITLES.get(found.status, "Not here"),
            reason=found.reason,
        )

    def _page(self, template: str, **given: object) -> str:
        return self._templates.get_template(template).render(given)


def _html(made: str) -> Markup:
    return Markup(made)  # noqa: S704 (of our own templates)


def _with_spec(figure: Mapping[str, object]) -> dict[str, object]:
    """A figure whose specification came as plain text from the process that draws."""
    spec = figure["spec"]
    return {**figure, "spec": _html(spec) if isinstance(spec, str) else None}


def _choices(every: Mapping[str, str], chosen: Collection[str]) -> list[dict[str, object]]:
    return [{"value": n, "words": w, "chosen": n in chosen} for n, w in every.items()]


def study_url(name: str) -> str:
    """The address of a study's page."""
    return f"/study/{quote(name, safe='')}"


def study_row(found: Progress | Trouble) -> dict[str, object]:
    """A study in a row: `name`, `url`, `question`, `trouble`, and what `progress_row` says."""
    question = found.question if isinstance(found, Progress) else ""
    return {**progress_row(found), "url": study_url(found.name), "question": question}


def progress_row(found: Progress | Trouble) -> dict[str, object]:
    """How far a study is, for a template.

    Returns:
        `name`; `trouble`, why nothing is known, or ""; and where there is none: `counts`, trials by
        state; `states`, the same in words; `trials`, `finished`; `epochs` of `planned`, and `share`
        from 0 to 1; `done`, whether all is finished; `left` in words, or ""; `work`, who is at work
        in words, or ""; `running`, rows of `arm`, `seed`, `epoch`, `of`, and `more_running`, how
        many others; `failures`, rows of `arm`, `seed`, `state`, `last`, `traceback`, and
        `more_failures`; `lost`, rows of `arm`, `seed`, `kind`, `reason`, and `more_lost`.
    """
    if isinstance(found, Trouble):
        return {"name": shown(found.name), "trouble": shown(found.words)}
    failures = [
        {
            "arm": one.arm,
            "seed": one.seed,
            "state": one.state,
            "last": without_paths(one.last),
            "traceback": without_paths(one.reason),
        }
        for one in found.failures[:MOST_FAILURES]
    ]
    return {
        "name": shown(found.name),
        "trouble": "",
        "counts": dict(found.counts),
        "states": state_counts(found.counts),
        "trials": found.trials,
        "finished": found.finished,
        "epochs": found.epochs,
        "planned": found.planned,
        "share": found.epochs / found.planned if found.planned else 0.0,
        "done": found.finished == found.trials,
        "left": _left(found.left),
        "work": _work(found),
        "running": found.running[:_MOST_RUNNING],
        "more_running": max(len(found.running) - _MOST_RUNNING, 0),
        "failures": failures,
        "more_failures": len(found.failures) - len(failures),
        "lost": found.lost[:MOST_FAILURES],
        "more_lost": max(len(found.lost) - MOST_FAILURES, 0),
    }


def _left(left: Left | None) -> str:
    if left is None:
        return ""
    words = f"about {rough_hours(left.hours)}"
    if not left.workers:
        return f"{words} of one worker left"
    return f"{words} left" + (f" with {left.workers} workers" if left.workers > 1 else "")


def _work(found: Progress) -> str:
    """Who is at work, in words."""
    if not found.running:
        return ""
    trials = f"{counted(len(found.running), 'trial')} at work"
    return f"{trials} in {found.at_work} runs" if found.at_work > 1 else trials


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
