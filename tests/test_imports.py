"""The layering: who may import whom, and what stays light."""

import subprocess
import sys

import pytest


def test_imports_keep_their_layers() -> None:
    from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("normlab", {"torch", "pandas", "pydantic", "numpy"}),
        ("normlab.reports", {"torch"}),
        ("normlab.stats", {"torch", "pandas"}),
        ("normlab.store", {"torch", "pandas", "numpy"}),
        ("normlab.recipe", {"torch", "numpy"}),
        ("normlab.data", {"torch", "rich", "pooch", "requests", "PIL"}),
        ("normlab.study.spec", {"torch", "scipy", "pandas", "altair"}),
        ("normlab.api", {"torch", "pandas"}),
        ("normlab.cli", {"torch", "pandas", "pydantic", "numpy", "rich"}),
        ("normlab.cli.outputs", {"pydantic"}),
        (
            "normlab.train",
            {"pandas", "altair", "scipy", "rich", "typer", "yaml", "jinja2", "pooch", "PIL"},
        ),
        ("normlab.study.engines.work", {"pandas", "altair", "scipy", "rich", "typer", "yaml"}),
    ],
)
def test_a_module_brings_nothing_it_should_not(module: str, forbidden: set[str]) -> None:
    code = f"import sys, {module}; found = {forbidden} & set(sys.modules); assert not found, found"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
