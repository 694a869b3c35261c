# make demo   from nothing to a trained network and a grid of sharp and degraded samples, in minutes on a CPU
# make test   all tests
# make lint   the linter and the type checker
# make bench  seconds for each phase of a training step
PYTHON ?= python3
VENV ?= .venv
PY ?= $(VENV)/bin/python
READY ?= $(VENV)/ready
READY_DEV ?= $(VENV)/ready-dev

DEMO ?= demo
DEMO_SIZE ?= 32
DEMO_IMAGES ?= 3000
DEMO_BASE_KIMG ?= 18
DEMO_QC_KIMG ?= 9
NEWEST = ls $(1)/network-snapshot-[0-9]*.safetensors | tail -n 1

.PHONY: demo test lint bench
.DELETE_ON_ERROR:

demo: $(DEMO)/samples/grid.png
	@echo
	@echo "Look at $<: each row is one seed, first sharp, then through five quality codes. More:"
	@echo "$(PY) generate.py --network=$(DEMO)/qc.safetensors --seeds=100-107 --quality=random --grid --outdir=out"

$(DEMO)/samples/grid.png: $(DEMO)/qc.safetensors
	$(PY) generate.py --network=$< --seeds=0-7 --degradations=5 --grid --outdir=$(DEMO)/samples

$(DEMO)/qc.safetensors: $(DEMO)/base.safetensors
	$(PY) train.py --outdir=$(DEMO)/qc --data=$(DEMO)/faces.zip --preset=demo --mode=qc --init-from=$< --kimg=$(DEMO_QC_KIMG)
	cp "$$($(call NEWEST,$(DEMO)/qc))" $@

$(DEMO)/base.safetensors: $(DEMO)/faces.zip
	$(PY) train.py --outdir=$(DEMO)/base --data=$< --preset=demo --kimg=$(DEMO_BASE_KIMG)
	cp "$$($(call NEWEST,$(DEMO)/base))" $@

$(DEMO)/faces.zip: $(READY)
	mkdir -p $(DEMO)
	$(PY) dataset_tool.py --source=drawn:$(DEMO_IMAGES) --resolution=$(DEMO_SIZE) --dest=$@

test: $(READY_DEV)
	$(PY) -m pytest -n auto --dist=worksteal

lint: $(READY_DEV)
	$(PY) -m ruff check .
	$(PY) -m mypy

bench: $(READY)
	$(PY) -m benchmarks.train_step

$(VENV)/ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/ready-dev: requirements-dev.txt $(VENV)/ready
	$(PY) -m pip install --disable-pip-version-check -r requirements-dev.txt
	touch $@
