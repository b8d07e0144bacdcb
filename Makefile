# make run     a development server on port 8000, and a page on port 3000
# make check   ruff, mypy and interrogate
# make test    all tests
# make unit    those that start no process and open no port
# make coverage   how many branches the unit tests take, against a gate per package
# make docs    the pages of the options anew, and all pages in build/docs
# make proto   the modules of the .proto files anew
# make linkcheck   which addresses in the pages do not answer; needs the internet
# make dist    the wheel and the source archive, with the pages, in dist
# make news    what the next release's news will be
# Each makes what it needs in .venv; PYTHON chooses the interpreter (3.11 or newer).
# WORKERS chooses how many processes share the tests; 0 runs them in one.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CONFIG = config/development.json
WORKERS ?= auto
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile \
    --max-worker-restart 3
PAGE_PORT = 3000
JS = tests/integration/js
KAFKA = tests/integration/kafka

.PHONY: run test unit coverage check docs proto dist news clean

# A closed terminal sends SIGHUP to the first process of the session alone.  Where that
# is make, it waits for the recipe; so the recipe looks for the terminal itself.
run: $(VENV)/run.stamp
	@echo
	@echo 'Three things to try once the server says "serving":'
	@echo
	@echo '1. Open a page in two windows:'
	@echo '     http://localhost:$(PAGE_PORT)/'
	@echo '2. Publish into the channel that it listens to:'
	@echo "     curl -H 'X-API-Key: development' -d '{\"channel\": \"news\", \"data\": {\"text\": \"Hello\"}}' http://localhost:8000/api/publish"
	@echo '3. Connect as user 42, on the page or with an SDK, by this token:'
	@echo "     $$($(BIN)/centrifugo-tx gentoken --quiet --config $(CONFIG) --user 42)"
	@echo
	@stop() { kill $$page $$server $$watch 2>/dev/null; }; trap stop INT TERM HUP; \
	terminal() { (: </dev/tty) 2>/dev/null; }; \
	$(BIN)/centrifugo-tx serve --dir docs/examples/page \
	    --address 127.0.0.1 --port $(PAGE_PORT) & page=$$!; \
	$(BIN)/twistd --nodaemon centrifugo --config $(CONFIG) & server=$$!; \
	if terminal; then \
	    (while terminal; do sleep 1; done; kill -HUP $$$$) & watch=$$!; \
	fi; \
	wait $$server; code=$$?; stop; wait; exit $$code

test: $(VENV)/test.stamp
	$(PYTEST) --no-loadscope-reorder

unit: WORKERS = logical
unit: $(VENV)/test.stamp
	$(PYTEST) tests --ignore=tests/integration

coverage: $(VENV)/test.stamp
	$(BIN)/coverage run -m pytest tests --ignore=tests/integration -q
	@mkdir -p build
	$(BIN)/coverage json -q -o build/coverage.json
	$(BIN)/python -m tests.coverage_gates build/coverage.json

check: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p centrifugo_tx
	$(BIN)/interrogate -q centrifugo_tx

docs: $(VENV)/docs.stamp
	$(BIN)/centrifugo-tx configdoc --update docs/configuration
	$(BIN)/sphinx-build -W -q docs build/docs
	@echo 'build/docs/index.html'
	@$(BIN)/python -m webbrowser "file://$(CURDIR)/build/docs/index.html" >/dev/null 2>&1 || true

# Modules that grpcio-tools 1.62 generates can be imported with protobuf 4.25 and newer.
proto:
	$(PYTHON) -m venv build/protoc
	build/protoc/bin/pip install --quiet 'grpcio-tools == 1.62.*'
	build/protoc/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. \
	    centrifugo_tx/protocol/proto/*.proto

linkcheck: $(VENV)/docs.stamp
	$(BIN)/sphinx-build -W -q -b linkcheck docs build/linkcheck

# Bytes depend on the commit only: archives bear the time of its author.
dist: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%at)
dist: $(VENV)/docs.stamp
	$(BIN)/pip install --quiet build twine
	rm -rf docs/_build build/lib build/bdist.* dist
	$(BIN)/sphinx-build -W -q docs docs/_build/html
	$(BIN)/python -m build --quiet
	rm -rf docs/_build
	$(BIN)/twine check --strict dist/*

news: $(VENV)/test.stamp
	$(BIN)/pip install --quiet 'towncrier >= 24.8'
	$(BIN)/towncrier build --draft --version next

clean:
	rm -rf $(VENV) build dist *.egg-info $(JS)/node_modules $(KAFKA)/jars

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: setup.cfg $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/docs.stamp: setup.cfg $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@

$(VENV)/test.stamp: setup.cfg $(wildcard $(JS)/package.json $(KAFKA)/pom.xml) $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable '.[test]'
	@if command -v npm >/dev/null && [ -f $(JS)/package.json ]; then \
	    npm install --prefix $(JS) --silent --no-audit --no-fund; \
	fi
	@if command -v mvn >/dev/null && [ -f $(KAFKA)/pom.xml ]; then \
	    mvn --quiet --batch-mode --file $(KAFKA)/pom.xml \
	        dependency:copy-dependencies \
	    || echo 'Kafka could not be fetched: its tests will be skipped.'; \
	fi
	@touch $@ $(VENV)/run.stamp
