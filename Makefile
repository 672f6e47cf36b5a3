# SPDX-License-Identifier: GPL-3.0-or-later
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help rehearse prune down status venv lint unit test bench-converge bench-growth bench-plan docs release-notes build publish

INVENTORY ?= inventories/single_box
APP ?= calf
STATE ?= .rehearsal
PYTHON ?= python3
# More options of `rehearsal/fleet.py up`, for example: REHEARSE_OPTIONS="--vars my.yml --mount /srv/mastodon.git"
REHEARSE_OPTIONS ?=

VENV_PYTHON := .venv/bin/python
# An environment is made anew when what it was made from has changed: the name of its stamp says what that was.
stamp = .venv/.$(1)-$(shell cat $(2) | sha256sum | cut -c1-12)
RUNTIME := $(call stamp,runtime,requirements.txt)
TESTING := $(call stamp,testing,requirements.txt requirements-test.txt)
# The environment's programs call each other by name; it is itself made with the system's Python.
SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
FLEET = $(VENV_PYTHON) rehearsal/fleet.py

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

rehearse: venv ## Set up a whole instance in containers of this machine: INVENTORY, APP=calf|mastodon
	@$(FLEET) up --state $(STATE) --inventory $(INVENTORY) --app $(APP) $(REHEARSE_OPTIONS)
	@$(FLEET) deploy --state $(STATE)

prune: venv ## Remove the rehearsal's hosts that were taken out of its inventory
	@$(FLEET) prune --state $(STATE)

down: venv ## Remove what `make rehearse` made
	@$(FLEET) down --state $(STATE)

status: venv ## Show what is up of the rehearsal
	@$(FLEET) status --state $(STATE)

venv: $(RUNTIME) ## Make .venv with Ansible

lint: $(TESTING) ## Check style, documentation and packaging
	@tests/lint.sh

unit: $(TESTING) ## Run the unit tests: no Docker; promtool is fetched once, where it is missing
	@.venv/bin/pytest tests/unit

test: $(TESTING) ## Run everything: lint, unit tests, scenarios in containers
	@tests/run.sh

bench-converge: $(TESTING) rehearse ## Measure a run on a finished fleet against as many pings: INVENTORY, STATE
	@$(VENV_PYTHON) tests/bench/converge.py --state $(STATE)

bench-growth: $(TESTING) ## Measure what one more host costs, on a fleet of its own
	@$(VENV_PYTHON) tests/bench/growth.py

bench-plan: $(TESTING) ## Measure the plan of 10 to 1,000 hosts
	@$(VENV_PYTHON) tests/bench/plan.py

docs: venv ## Write anew what is made: docs/variables.md, and the plans of the inventories
	@$(VENV_PYTHON) docs/make_variables.py
	@$(VENV_PYTHON) docs/make_plans.py
	@$(VENV_PYTHON) docs/make_measured.py

release-notes: $(TESTING) ## Turn the changelog's fragments into CHANGELOG.md
	@tests/release.sh notes

build: $(TESTING) ## Build the artifact, if galaxy-importer accepts it
	@tests/release.sh build

publish: build ## Publish the artifact; the token is in GALAXY_TOKEN
	@tests/release.sh publish

$(RUNTIME): requirements.txt
	@PATH='$(SYSTEM_PATH)' rehearsal/make_venv.sh $(PYTHON) requirements.txt
	@rm -f .venv/.runtime-* && touch $@

$(TESTING): $(RUNTIME) requirements-test.txt
	@PATH='$(SYSTEM_PATH)' rehearsal/make_venv.sh $(PYTHON) requirements-test.txt
	@rm -f .venv/.testing-* && touch $@
