"""How Sphinx builds the documentation: ``sphinx-build -W docs docs/_build``."""

project = "centrifugo-tx"
author = "the centrifugo-tx contributors"
extensions: list[str] = []
exclude_patterns = ["_build", "examples"]
html_theme = "alabaster"
