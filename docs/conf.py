"""Sphinx configuration. Build with ``sphinx-build -n -W -b html docs docs/_build/html``; it needs no network."""

from __future__ import annotations

import os

import fxcarry

project = "fxcarry"
author = "the fxcarry authors"
copyright = "the fxcarry authors"
version = release = fxcarry.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"fxcarry {release}"
html_theme_options = {
    "announcement": "For education only, no advice. Past results promise nothing; trading FX on margin can lose all "
    "of your money, and more than you deposited."
}

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False

# Links to other projects' documentation need the network, so they are made only on request; without them the types of
# those projects, and the type aliases in signatures, are names without a link.
if os.environ.get("FXCARRY_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
    }
nitpick_ignore_regex = [(r"py:.*", r"(?!fxcarry\b).*")]
nitpick_ignore = [
    ("py:class", "fxcarry.covariance.Matrix"),  # a type alias
    ("py:class", "fxcarry.lots.Number"),  # a type variable
    ("py:obj", "fxcarry.lots.Number"),
    ("py:class", "fxcarry.regimes.models._TwoStates"),  # what two models share
]


def escape_bars(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Let ``|w|`` in a docstring mean an absolute value, not a substitution."""
    for i, line in enumerate(lines):
        if not line.startswith("    "):  # not in a literal block
            parts = line.split("``")
            parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
            lines[i] = "``".join(parts)


def setup(app: object) -> None:
    """Connect the hook above."""
    app.connect("autodoc-process-docstring", escape_bars)  # type: ignore[attr-defined]  # a Sphinx application
