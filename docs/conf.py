"""How Sphinx builds the documentation: ``make docs``."""

project = "centrifugo-tx"
author = "the centrifugo-tx contributors"
copyright = "the centrifugo-tx contributors, under the MIT license"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinxcontrib.svgbob",
]
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
exclude_patterns = ["_build", "examples"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_title = "centrifugo-tx"
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
copybutton_only_copy_prompt_lines = True
