"""Sphinx configuration. Build with ``python -m sphinx -W -b html docs docs/_build/html``."""

import pyroipc

project = "pyroipc"
author = "the pyroipc authors"
copyright = "2026, the pyroipc authors"
version = release = pyroipc.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
nitpicky = False

# Pages are written in Markdown (MyST); API pages take the docstrings through {eval-rst} blocks.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"pyroipc {release}"
html_show_sphinx = False


def leave_first_line_alone(app, what, name, obj, options, lines):
    """In the docstring of an attribute, napoleon takes what precedes a colon for the type."""
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]  # a comment


def setup(app):
    app.connect("autodoc-process-docstring", leave_first_line_alone, priority=400)
