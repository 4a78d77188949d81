"""Sphinx extension: contents of pages, and the reference of everything in a package's `__all__`.

A page says `<!-- names PACKAGE -->`, invisible on a code host; here it becomes the documentation of
every name in that package's `__all__`, whatever module a name lives in. No name is written down
twice, and one without a docstring fails the build.
"""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

logger = logging.getLogger(__name__)
MARK = re.compile(r"^<!-- names ([\w.]+) -->$", re.MULTILINE)


def public_names(package: str) -> list[str]:
    """What a package offers, by its `__all__`, but for names like `__version__`."""
    names: list[str] = import_module(package).__all__
    return [name for name in names if not name.startswith("__")]


def docstring_of_value(package: str, name: str) -> list[str]:
    """The docstring below the assignment of a public value, wherever it is assigned; or nothing."""
    value = getattr(import_module(package), name)
    for home in [package, *(m for m in sorted(sys.modules) if m.startswith("normlab."))]:
        if getattr(sys.modules.get(home), name, None) is not value:
            continue
        try:
            found = ModuleAnalyzer.for_module(home).find_attr_docs().get(("", name))
        except PycodeError:  # a module without source has no docstrings to look for
            continue
        if found:
            return found
    return []


def shared_home(package: str, name: str, packages: list[str]) -> str:
    """The public package that documents a name in full: of several with one object, the deepest."""
    value = getattr(import_module(package), name)
    same = [
        other
        for other in packages
        if name in public_names(other) and getattr(import_module(other), name) is value
    ]
    return max([package, *same], key=lambda other: other.count("."))


def reference(package: str, packages: list[str], awaiting: set[str]) -> str:
    """The documentation of all names of a package, in reStructuredText."""
    parts = {"Functions": [], "Classes": [], "Errors": [], "Values": []}
    for name in public_names(package):
        value = getattr(import_module(package), name)
        full, home = f"{package}.{name}", shared_home(package, name, packages)
        kind, group = kind_of(value)
        if home != package:
            text = f".. py:{kind}:: {full}\n\n   The same as :py:obj:`{home}.{name}`.\n"
        elif kind == "data":
            doc = docstring_of_value(package, name)
            text = f".. py:data:: {full}\n\n" + "".join(f"   {line}\n" for line in doc)
            text = text if doc or full in awaiting else ""
        else:
            text = f".. auto{kind}:: {full}\n" if inspect.getdoc(value) else ""
        if text:
            parts[group].append(text)
    return "\n\n".join(
        f"## {group}\n\n```{{eval-rst}}\n{''.join(f'{text}{chr(10)}' for text in texts)}```"
        for group, texts in parts.items()
        if texts
    )


def kind_of(value: Any) -> tuple[str, str]:
    """How Sphinx calls an object, and the heading that it stands under."""
    if inspect.isclass(value):
        wrong = issubclass(value, BaseException)
        return ("exception", "Errors") if wrong else ("class", "Classes")
    return ("function", "Functions") if inspect.isroutine(value) else ("data", "Values")


def contents(parts: dict[str, list[str]]) -> str:
    """Hidden tables of contents, which only the sidebar shows."""
    return "".join(
        "\n\n```{toctree}\n:hidden:\n:glob:\n"
        + (f":caption: {caption}\n" if caption else "")
        + "".join(f"\n/{page}" for page in pages)
        + "\n```\n"
        for caption, pages in parts.items()
    )


def on_source_read(app: Sphinx, page: str, source: list[str]) -> None:
    """Add to a page what only the site has."""
    known = app.config.public_packages, app.config.awaiting_docstrings
    text = MARK.sub(lambda found: reference(found[1], *known), source[0])
    source[0] = text + contents(app.config.toctree_of.get(page, {}))


def undocumented(packages: list[str], documented: set[str]) -> list[str]:
    """Public names that are not among those documented."""
    wanted = (f"{package}.{name}" for package in packages for name in public_names(package))
    return [name for name in wanted if name not in documented]


def on_consistency_check(app: Sphinx, env: Any) -> None:
    """Warn, which fails a strict build, of every public name that has no documentation."""
    documented = set(env.domains.python_domain.objects)
    for name in undocumented(app.config.public_packages, documented):
        logger.warning("%s is public and has no docstring, or no page names its package", name)


def on_finish(app: Sphinx, error: Exception | None) -> None:
    """Have the site's folder open at its first page."""
    if error is None and app.builder.format == "html":
        first = app.builder.get_target_uri(app.config.root_doc)
        Path(app.outdir, "index.html").write_text(
            f'<!doctype html><meta charset="utf-8"><title>{app.config.project}</title>'
            f'<meta http-equiv="refresh" content="0; url={first}"><a href="{first}">{first}</a>\n',
            encoding="utf-8",
        )


def drop_inherited(app: Sphinx, kind: str, name: str, value: Any, *_: Any) -> bool | None:
    """Leave out what pydantic adds to every model and named tuples say of every field."""
    made = type(value).__name__ == "_tuplegetter" or name in {"model_config", "model_post_init"}
    return True if made else None


def keep_colons(app: Sphinx, kind: str, name: str, *others: Any) -> None:
    """Undo what napoleon makes of "Images set aside: a fraction": not every colon ends a type."""
    lines: list[str] = others[-1]
    if kind in {"attribute", "data", "property"} and lines[-1:] and lines[-1].startswith(":type:"):
        before = lines[-1].removeprefix(":type:").strip()
        lines[:] = [f"{before}: {lines[0]}", *lines[1:-1]]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_config_value("public_packages", [], "env", types=[list])
    app.add_config_value("awaiting_docstrings", set(), "env", types=[set])
    app.add_config_value("toctree_of", {}, "env", types=[dict])
    app.connect("source-read", on_source_read)
    app.connect("env-check-consistency", on_consistency_check)
    app.connect("build-finished", on_finish)
    app.connect("autodoc-skip-member", drop_inherited)
    app.connect("autodoc-process-docstring", keep_colons, priority=900)  # after napoleon
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
