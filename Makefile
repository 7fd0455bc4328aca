# Everything a developer or a first visitor runs; each target does its own set-up.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test soak lint format types clean distclean

# The first Python of a supported version; .venv is made from it.
PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13 python3.10; do \
  $$name -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
  && echo $$name && exit; done; echo python3)
TORCH_INDEX ?=
MODEL ?= yolo11n-seg
OUT ?= out/demo
VIDEO ?=
ARGS ?=
ROBOTS ?= 8
MINUTES ?= 10

BIN := .venv/bin

help:
	@echo "make demo       play a video through a real edge node and a real cloud node"
	@echo "                VIDEO=folder, video file or bag (default: a generated scene)"
	@echo "                MODEL=$(MODEL) OUT=$(OUT)"
	@echo "                ARGS='--path edge|cloud|auto --transport tcp|dds ...' (fluxshard demo --help)"
	@echo "make test       lint, types and tests"
	@echo "make soak       many robots on one cloud for minutes: leaks, fairness, throughput"
	@echo "                ROBOTS=$(ROBOTS) MINUTES=$(MINUTES) ARGS='--fps 2 --model yolo11n --size 256 384'"
	@echo "make lint       ruff check and ruff format --check"
	@echo "make types      mypy"
	@echo "make format     let ruff reorder imports and lay out the code"
	@echo "make setup      only make or update .venv (every target above does)"
	@echo "                PYTHON=python3.11 for a new .venv, TORCH_INDEX=url for another PyTorch"
	@echo "make clean      remove what was built and written, but not .venv"
	@echo "make distclean  remove .venv too"

setup:
	@$(PYTHON) tools/set_up.py --torch-index "$(TORCH_INDEX)"

demo: setup
	@$(BIN)/fluxshard demo $(if $(VIDEO),--video "$(VIDEO)") --model "$(MODEL)" --out "$(OUT)" $(ARGS)

test: setup lint types
	@$(BIN)/python -m pytest $(ARGS)

soak: setup
	@PYTHONPATH=tools $(BIN)/python -m fluxshard_soak --robots $(ROBOTS) --minutes $(MINUTES) \
	  --json out/soak.json $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf out build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

distclean: clean
	rm -rf .venv
