# Each example's Makefile includes this file.
#
# make          installs what the example needs, starts it, and prints its address
# make install  only installs
#
# All examples share the environment examples/.venv.  PYTHON chooses the interpreter.

PYTHON ?= python3
EXAMPLES := $(dir $(lastword $(MAKEFILE_LIST)))
VENV := $(EXAMPLES).venv
INSTALLED := $(VENV)/$(notdir $(CURDIR)).stamp

.PHONY: run install

run: install
	@echo
	@echo '    Open http://localhost:3000 in two windows.  Ctrl-C stops the example.'
	@echo
	@PATH="$(abspath $(VENV))/bin:$$PATH" python $(EXAMPLES)start.py

install: $(INSTALLED)

$(INSTALLED): requirements.txt $(VENV)/server.stamp
	@echo 'Installing what $(notdir $(CURDIR)) needs ...'
	@$(VENV)/bin/pip install --quiet -r requirements.txt
	@touch $@

$(VENV)/server.stamp: $(EXAMPLES)../setup.cfg
	@echo 'Installing the server into $(abspath $(VENV)) ...'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --editable $(EXAMPLES)..
	@touch $@
