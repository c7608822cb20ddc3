.DEFAULT_GOAL := help
.PHONY: help setup run test test-long check bench bench-peers bench-memory chaos fuzz soak

# Of the whole test run: its tests mostly wait, so there are more than a small machine's processors.
WORKERS = -n 3

help:  ## Show these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## Install what the server needs into .venv, and build the chat page (what has changed)
	@scripts/setup.sh requirements.txt
	@CI= scripts/build-page.sh

run: setup  ## Start the server; its first lines say where
	@exec .venv/bin/python main.py

test:  ## Install what the tests need and run them all; ARGS="tests/server -k guest" picks some
	@scripts/setup.sh requirements-dev.txt
	@scripts/test-servers.sh
	@scripts/build-page.sh --with-packages
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/pytest $(if $(ARGS),$(ARGS),$(WORKERS))

test-long:  ## The tests that take minutes: the same faults with the times that are set by default
	@scripts/setup.sh requirements-dev.txt
	@scripts/test-servers.sh
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/pytest -m long $(ARGS)

check:  ## Lint, formatting, types, and who may import whom
	@scripts/setup.sh requirements-dev.txt
	.venv/bin/ruff check --no-cache .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest -q tests/test_imports.py

bench:  ## Measure this machine
	@scripts/setup.sh requirements-dev.txt
	@.venv/bin/python -m benchmarks $(ARGS)

bench-peers:  ## Measure how many users it holds, beside other servers, which it installs; half an hour
	@scripts/setup.sh requirements-dev.txt
	@.venv/bin/python -m benchmarks.capacity $(ARGS)

bench-memory:  ## Measure what of a long conversation reaches the prompt; ARGS="--locomo FILE"
	@scripts/setup.sh requirements-dev.txt
	@.venv/bin/python -m benchmarks.recall $(ARGS)

chaos:  ## Break everything at random and check that nothing is lost; ARGS="--seed 7 --seconds 120"
	@scripts/setup.sh requirements-dev.txt
	@scripts/test-servers.sh
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -m tests.chaos $(ARGS)

fuzz:  ## Say junk to a server and check that it bears it; ARGS="--seed 7 --seconds 120"
	@scripts/setup.sh requirements-dev.txt
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -m tests.fuzz $(ARGS)

soak:  ## 1,000 idle and 50 chatting clients: is memory flat? ARGS="--seconds 900"
	@scripts/setup.sh requirements-dev.txt
	@scripts/test-servers.sh
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -m tests.soak $(ARGS)
