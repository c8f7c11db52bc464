"""Sphinx's settings: `make docs` builds these pages offline, with warnings as errors."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import _cli  # noqa: E402

from fftune import __version__ as release  # noqa: E402, F401

project = "fftune"
author = "the fftune authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
default_role = "code"
add_module_names = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
html_theme = "alabaster"
html_theme_options = {
    "description": "How much of a model's score could a false friend have faked?",
    "fixed_sidebar": True,
    "body_max_width": "100%",
    "page_width": "1240px",
    "sidebar_width": "250px",
    "show_powered_by": False,
}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_show_copyright = False
html_show_sourcelink = False

(HERE / "cli.md").write_text(_cli.reference(), encoding="utf-8")


def _literal_stars(app, what, name, obj, options, lines):  # noqa: ARG001
    """`*shape` in a docstring is no beginning of an emphasis."""
    lines[:] = [re.sub(r"\*(\w+)\b(?!\*)", r"\\*\1", line) for line in lines]


def setup(app):  # noqa: D103
    app.connect("autodoc-process-docstring", _literal_stars)
