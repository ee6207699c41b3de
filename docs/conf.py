"""Build the site: `make docs` writes build/docs. It needs no network, nor do its pages.

The sources are the Markdown pages of this folder, README.md for the front page, the docstrings of
the package (site/docstrings.py, site/reference.py) and the programs of examples/. Equations become
MathML (site/equations.py), which browsers draw without a script.
"""

import sys
from importlib.metadata import version as version_of
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "site")]

project = "sdeflow"
author = "The sdeflow authors"
copyright = "The sdeflow authors, MIT licence"
version = release = version_of("sdeflow")

extensions = [
    "sphinx.ext.autodoc",
    "docstrings",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
    "equations",
    "reference",
    "pages",
    "program_pages",
    "links",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = [
    "site", "claims", "figures", "examples", "pictures",
    "examples.md",  # the gallery shows the same
    "gallery/*.ipynb", "gallery/*.py", "sg_execution_times.rst", "gallery/sg_execution_times.rst",
]  # fmt: skip
add_module_names = False
python_use_unqualified_type_names = True

myst_enable_extensions = ["dollarmath", "html_image"]
myst_dmath_double_inline = True
myst_heading_anchors = 4

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples"),
    "gallery_dirs": "gallery",
    "plot_gallery": False,  # the tests run them; their pictures are stored (site/pages.py)
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "within_subsection_order": "FileNameSortKey",
}

html_theme = "furo"
html_title = f"sdeflow {version}"
html_static_path = ["site/static", str(files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf")]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
pygments_style = "friendly"
