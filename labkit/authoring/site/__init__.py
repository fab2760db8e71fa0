"""The rendered course: a static site from the executed labs, the guides and the docstrings.

`stored` reads what the executed notebooks hold, `pages` writes what is generated from it beside the
prose of docs/, `build` has Sphinx render both. Needs the extra `site`.
"""
