# make demo   installs, restores three bad photos, makes sharp and degraded cats, trains for a minute; one page of pictures
# make demo-scratch   from nothing to a network trained on drawn faces, in ten minutes on a CPU
# make test   all tests
# make lint   the linter and the type checker
# make bench  seconds for each phase of a training step
PYTHON ?= python3
VENV ?= .venv
PY ?= $(VENV)/bin/python
READY ?= $(VENV)/ready
READY_DEV ?= $(VENV)/ready-dev

DEMO ?= demo
DEMO_SEEDS ?= 0-5
DEMO_TRAIN_SIZE ?= 64
DEMO_TRAIN_IMAGES ?= 300
DEMO_TRAIN_KIMG ?= 0.4
DEMO_BASE ?= cats64-base
DEMO_NETWORK ?= cats
DEMO_RESTORE ?=

SCRATCH ?= demo-scratch
SCRATCH_SIZE ?= 32
SCRATCH_IMAGES ?= 3000
SCRATCH_BASE_KIMG ?= 18
SCRATCH_QC_KIMG ?= 9
NEWEST = ls $(1)/network-snapshot-[0-9]*.safetensors | tail -n 1

.PHONY: demo demo-scratch test lint bench
.DELETE_ON_ERROR:

demo: $(DEMO)/index.html

$(DEMO)/index.html: $(DEMO)/restored/done-restore.jsonl $(DEMO)/samples/grid.png $(DEMO)/run/fakes-last.png
	$(PY) -m images.page $(DEMO) --title="QC-StyleGAN: what make demo made" \
	  --picture="Three bad photos, what the network sees in them, and the photos restored=$(DEMO)/restored/strips/*.png" \
	  --picture="Made from seeds: sharp, then through four quality codes=$(DEMO)/samples/grid.png" \
	  --picture="A minute of training on drawn faces, from the small cats' network: real images=$(DEMO)/run/reals.png" \
	  --picture="and the network's images at the end=$(DEMO)/run/fakes-last.png" \
	  --next="$(PY) invert.py restore --network=cats -i YOUR_PHOTOS -o restored --align=cat --paste-back" \
	  --next="$(PY) generate.py --network=cats --seeds=100-107 --trunc=0.7 --quality=random --grid --outdir=out" \
	  --next="$(PY) dataset_tool.py --input=YOUR_PHOTOS --output=photos.zip --resolution=128 --crop=center"

$(DEMO)/restored/done-restore.jsonl: $(READY)
	$(PY) invert.py restore --network=$(DEMO_NETWORK) -o $(DEMO)/restored $(wildcard examples/bad-cats/*.png) $(DEMO_RESTORE)

$(DEMO)/samples/grid.png: $(READY)
	$(PY) generate.py --network=$(DEMO_NETWORK) --seeds=$(DEMO_SEEDS) --trunc=0.7 --degradations=4 --grid --outdir=$(DEMO)/samples

$(DEMO)/run/fakes-last.png: $(DEMO)/drawn.zip
	$(PY) train.py --outdir=$(DEMO)/run --data=$< --preset=demo --init-from=$(DEMO_BASE) --batch=8 \
	  --kimg=$(DEMO_TRAIN_KIMG) --set run.kimg_per_tick=0.1
	cp "$$(ls $(DEMO)/run/fakes[0-9]*.png | tail -n 1)" $@

$(DEMO)/drawn.zip: $(READY)
	mkdir -p $(DEMO)
	$(PY) dataset_tool.py --input=drawn:$(DEMO_TRAIN_IMAGES) --resolution=$(DEMO_TRAIN_SIZE) --output=$@ --overwrite

demo-scratch: $(SCRATCH)/samples/grid.png
	@echo
	@echo "Look at $<: each row is one seed, first sharp, then through five quality codes. More:"
	@echo "$(PY) generate.py --network=$(SCRATCH)/qc.safetensors --seeds=100-107 --quality=random --grid --outdir=out"

$(SCRATCH)/samples/grid.png: $(SCRATCH)/qc.safetensors
	$(PY) generate.py --network=$< --seeds=0-7 --degradations=5 --grid --outdir=$(SCRATCH)/samples

$(SCRATCH)/qc.safetensors: $(SCRATCH)/base.safetensors
	$(PY) train.py --outdir=$(SCRATCH)/qc --data=$(SCRATCH)/faces.zip --preset=demo --mode=qc --init-from=$< \
	  --kimg=$(SCRATCH_QC_KIMG)
	cp "$$($(call NEWEST,$(SCRATCH)/qc))" $@

$(SCRATCH)/base.safetensors: $(SCRATCH)/faces.zip
	$(PY) train.py --outdir=$(SCRATCH)/base --data=$< --preset=demo --kimg=$(SCRATCH_BASE_KIMG)
	cp "$$($(call NEWEST,$(SCRATCH)/base))" $@

$(SCRATCH)/faces.zip: $(READY)
	mkdir -p $(SCRATCH)
	$(PY) dataset_tool.py --input=drawn:$(SCRATCH_IMAGES) --resolution=$(SCRATCH_SIZE) --output=$@ --overwrite

test: export PYTHONDONTWRITEBYTECODE =  # all processes of the tests share what one has compiled
test: $(READY_DEV)
	$(PY) -m pytest -n auto --dist=worksteal

lint: $(READY_DEV)
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/shellcheck docs/cluster/*.sbatch

bench: $(READY)
	$(PY) -m benchmarks.train_step

$(VENV)/ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/ready-dev: requirements-dev.txt $(VENV)/ready
	$(PY) -m pip install --disable-pip-version-check -r requirements-dev.txt
	touch $@
