# make run     a development server on port 8000, and a page on port 3000
# make check   ruff and mypy
# make test    all tests
# Each makes what it needs in .venv; PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CONFIG = config/development.json
JS = tests/integration/js

.PHONY: run test check docs clean

run: $(VENV)/run.stamp
	@echo
	@echo 'Three things to try once the server says "serving":'
	@echo
	@echo '1. Open a page in two windows:'
	@echo '     http://localhost:3000/'
	@echo '2. Publish into the channel that it listens to:'
	@echo "     curl -H 'X-API-Key: development' -d '{\"channel\": \"news\", \"data\": {\"text\": \"Hello\"}}' http://localhost:8000/api/publish"
	@echo '3. Connect as user 42, on the page or with an SDK, by this token:'
	@echo "     $$($(BIN)/centrifugo-tx gentoken --quiet --config $(CONFIG) --user 42)"
	@echo
	@$(BIN)/centrifugo-tx serve --dir docs/examples/page --address 127.0.0.1 & page=$$!; \
	trap "kill $$page" EXIT; \
	$(BIN)/twistd --nodaemon --pidfile= centrifugo --config $(CONFIG)

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest

check: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p centrifugo_tx

docs: $(VENV)/test.stamp
	$(BIN)/centrifugo-tx configdoc > docs/configuration.rst

clean:
	rm -rf $(VENV) build dist *.egg-info $(JS)/node_modules

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: setup.cfg $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/test.stamp: setup.cfg $(wildcard $(JS)/package.json) $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test]'
	@if command -v npm >/dev/null && [ -f $(JS)/package.json ]; then \
	    npm install --prefix $(JS) --silent --no-audit --no-fund; \
	fi
	@touch $@ $(VENV)/run.stamp
