# Everything a newcomer needs: `make demo` and `make test`. The recipes are in tools/, one script each.
.PHONY: demo test setup fmt lint unit lock bench
.DEFAULT_GOAL := help

help:  ## list the recipes
	@grep -E '^[a-z-]+:.*##' Makefile | sed -e 's/:.*##/\t/' | expand -t 12

setup:  ## make .venv from the hash-locked requirements
	@tools/setup

demo: setup  ## play the whole road on a real application
	@tools/demo

test:  ## install what is missing and run all that CI runs
	@tools/setup --test
	@tools/test

lint: setup  ## format, lint, types, import contracts
	@tools/lint

unit: setup  ## the fast tests only
	@.venv/bin/python -m pytest -q tests/unit

fmt:  ## format the code
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lock:  ## resolve requirements anew, with hashes and without any registry's host
	@tools/lock
