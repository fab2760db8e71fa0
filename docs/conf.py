"""Sphinx's settings for the site; `labkit site` builds it."""

from labkit import __version__

project = "Neural networks for embedded devices"
author = "the course"
version = release = __version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "labkit.authoring.site.docstrings",
    "labkit.authoring.site.extension",
]
exclude_patterns = ["generated", "notebooks", "pages"]
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = [(name, {"defer": "defer"}) for name in ("course.js", "front.js")]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # widgets are shown by the pictures beside them
nb_output_stderr = "remove"
nb_code_prompt_show, nb_code_prompt_hide = "Show the check", "Hide the check"
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # a type's bare name that several classes have an attribute of

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_use_type_comments = False  # there are none
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_favicon = "_static/favicon.svg"
html_title = "Neural networks for embedded devices"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_domain_indices = False
html_theme_options = {
    "logo": {"text": "Embedded networks"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button-field"],
    "header_links_before_dropdown": 6,
    "show_nav_level": 1,
    "show_toc_level": 1,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "back_to_top_button": False,
}
# Pages with no pages below them have nothing to list beside them.
_ALONE = ("index", "ledger", "published", "overview", "results", "labkit", "instructors", "data")
_ALONE += ("adding_a_lab", "contributing", "changes", "glossary")
html_sidebars = {name: [] for name in _ALONE}
html_context = {"default_mode": "auto"}
copyright = "the course's authors, Apache 2.0"
