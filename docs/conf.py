"""The documentation site: `make docs` builds it into build/docs, strictly.

The pages are the repository's own Markdown files, read where they lie, so that every relative link
works on the site and on a code host alike. What only the site needs (its contents, the reference
from docstrings) is added while a page is read: see `public_names.py`.
"""

# Sphinx and not MkDocs: MkDocs itself has had no release since 2024.

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "normlab"
author = "The normlab authors"
project_copyright = "the normlab authors, Apache License 2.0"
version = release = version_of("normlab")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "public_names"]

# The source folder is the repository, README.md its first page.
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**.md"]
exclude_patterns = [".*", "build", "dist", "runs", "src", "tests", "benchmarks"]

CONTENTS = {
    "Guides": [
        "docs/first-study",
        "docs/recipe",
        "docs/augment",
        "docs/own-images",
        "docs/own-data",
        "docs/own-model",
        "docs/own-norm",
        "docs/claims",
        "docs/other-tools",
        "docs/live",
        "docs/figures",
        "docs/lint",
        "docs/from-python",
        "docs/json",
        "docs/performance",
        "docs/running-at-scale",
    ],
    "Background": [
        "docs/statistics",
        "docs/liveness",
        "docs/durability",
        "docs/security",
        "docs/glossary",
    ],
    "Reference": [
        "docs/public-api",
        "docs/cards/README",
        "docs/studies",
        "docs/findings/README",
        "docs/api/README",
    ],
    "Project": ["CONTRIBUTING", "CHANGELOG"],
}
"""The sidebar: caption -> pages. A page that stands in no contents fails the build."""

toctree_of = {
    "README": CONTENTS,
    "docs/cards/README": {"": ["docs/cards/*"]},
    "docs/findings/README": {"": ["docs/findings/*"]},
    "docs/api/README": {
        "": [
            "docs/api/normlab",
            "docs/api/events",
            "docs/api/recipe",
            "docs/api/norms",
            "docs/api/conformance",
            "docs/api/convolutions",
            "docs/api/models",
            "docs/api/regularizers",
            "docs/api/augment",
            "docs/api/data",
            "docs/api/stats",
            "docs/api/claims",
            "docs/api/frames",
            "docs/api/figures",
            "docs/api/sentences",
        ]
    },
}
"""Page -> the contents below it."""

public_packages = [
    "normlab",
    "normlab.study.events",
    "normlab.recipe",
    "normlab.norms",
    "normlab.norms.conformance",
    "normlab.models",
    "normlab.regularizers",
    "normlab.augment",
    "normlab.data",
    "normlab.stats",
    "normlab.stats.claims",
    "normlab.frames",
    "normlab.figures",
    "normlab.sentences",
]
"""Every name in the `__all__` of these must be documented, or the build fails."""

awaiting_docstrings: set[str] = set()
"""Public names that the build lets pass without a docstring. Only ever take names out."""

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_type_aliases = {"npt.ArrayLike": "ArrayLike"}
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Shape", "notes_style")]
default_role = "py:obj"  # `name` in a docstring links to what is documented, else is code
# Not nitpicky: most types in signatures are torch's, numpy's or Python's, and resolving those
# needs their inventories from the network. Links between pages and files are checked always.
nitpicky = False

html_theme = "furo"
html_title = f"normlab {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
