# make demo   from nothing to a trained network and a grid of sharp and degraded samples, in minutes on a CPU
# make test   all tests
# make lint   the linter
# make bench  seconds for each phase of a training step
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test lint bench clean-demo

demo: demo/samples/grid.png
	@echo
	@echo "Look at demo/samples/grid.png: each row is one seed, sharp at the left, then through five quality codes."
	@echo "More of them: $(PY) generate.py --network=demo/qc.safetensors --seeds=100-107 --quality=random --grid --outdir=out"

demo/samples/grid.png: demo/qc.safetensors
	$(PY) generate.py --network=$< --seeds=0-7 --quality=sharp --quality=random --degradations=5 --grid --outdir=demo/samples

demo/qc.safetensors: demo/base.safetensors
	$(PY) train.py --outdir=demo/qc --data=demo/faces.zip --preset=demo --mode=qc --init-from=$< --kimg=12 --tick=1
	cp demo/qc/network-snapshot-000012.safetensors $@

demo/base.safetensors: demo/faces.zip
	$(PY) train.py --outdir=demo/base --data=$< --preset=demo --kimg=24 --tick=2
	cp demo/base/network-snapshot-000024.safetensors $@

demo/faces.zip: $(VENV)/ready
	mkdir -p demo
	$(PY) dataset_tool.py --source=drawn:3000 --resolution=32 --dest=$@

test: $(VENV)/ready-dev
	$(PY) -m pytest

lint: $(VENV)/ready-dev
	$(PY) -m ruff check .

bench: $(VENV)/ready
	$(PY) -m benchmarks.train_step

clean-demo:
	rm -rf demo

$(VENV)/ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/ready-dev: requirements-dev.txt $(VENV)/ready
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
