# Two commands do everything: `make reproduce` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUITE ?= mini
CORES ?= all
SEED ?= 0
BENCH ?=
DEMO ?=
SHIPPED := faces fashion

.DEFAULT_GOAL := help
.PHONY: help environment reproduce tables unlock restore record accept dvc.yaml test test-fast test-slurm torture bench docs checkpoints test-browser demo rehearse cost search notebook lint format schema lock clean gpu-kit

help: ## list the targets
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The environment is whole once the stamp is there: an interrupted installation begins again.
$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed; name it: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib >/dev/null 2>&1 || true  # on all cores; a few files are for other Pythons
	@touch $@

environment: $(VENV)/installed ## make the environment in .venv

reproduce: environment ## run the whole pipeline into results/
	@trap : INT TERM; $(BIN)/snakemake --cores $(CORES) --config suite=$(SUITE) || \
		{ status=$$?; echo "Not finished. What is done is kept: the same command goes on from there." >&2; exit $$status; }

tables: environment ## tables, claims and page of a suite from the metrics that are there; nothing is trained (SUITE=mini)
	$(BIN)/snakemake --quiet all --cores 1 --config suite=$(SUITE) -- remake

unlock: environment ## after snakemake itself was killed with -9: take its lock away
	$(BIN)/snakemake --unlock

restore: environment ## bring the recorded data and checkpoints from DVC, so that none is made again
	$(BIN)/vqddm ledger restore

record: environment ## write what Snakemake made into dvc.lock (TARGET=table1: only what that needs)
	$(BIN)/vqddm ledger record $(TARGET)

accept: environment ## after an edit of code that changes no result: tell Snakemake and DVC so
	$(BIN)/vqddm ledger accept

dvc.yaml: environment ## write dvc.yaml from the Snakefile's DAG
	$(BIN)/vqddm ledger stages

# More test processes than two cores: tests also wait, for locks, files and signals.
test: environment ## run all tests: fast ones first, then the tiny end-to-end run
	$(BIN)/python -m pytest -n 3

test-fast: environment ## run the fast tests alone
	$(BIN)/python -m pytest -n 3 -m 'not slow'

test-slurm: environment ## run the tests that need a cluster on a real Slurm, started on this machine (Debian, root)
	tests/slurm/start.sh
	VQDDM_SLURM=required $(BIN)/python -m pytest -m slurm; status=$$?; tests/slurm/stop.sh; exit $$status

test-browser: environment $(VENV)/demo $(VENV)/browser ## use the page of `make demo` and the results page in a real browser (Chromium)
	VQDDM_BROWSER=required $(BIN)/python -m pytest tests/test_demo.py tests/test_page_in_browser.py

torture: environment ## kills, full disks and bad inputs by the hundred, counted in results/reliability/ (SEED=0)
	PYTHONPATH=tests $(BIN)/python -m torture --seed $(SEED)

# Two packages that only the benchmark compares with; where they do not install, their rows say so.
$(VENV)/bench: tests/bench/requirements.lock $(VENV)/installed
	-$(BIN)/python -m pip install --quiet --no-compile --no-deps --no-build-isolation --require-hashes -r $< && touch $@

bench: environment $(VENV)/bench ## ours against what one would otherwise take, timed, in results/bench/ (BENCH="--only reverse_steps")
	PYTHONPATH=tests $(BIN)/python -m bench $(BENCH)

# What it shares with requirements.lock has the same version there (`lock`).
$(VENV)/docs: docs/requirements.lock $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --no-build-isolation --require-hashes -r $< && touch $@

docs: environment $(VENV)/docs ## build the documentation into site/; a warning is an error
	$(BIN)/python docs/prepare.py site-pages
	$(BIN)/python -m zensical build --clean --strict

# Beside what is locked for all. Gradio asks for an older Pillow than that, but works with it.
$(VENV)/demo: vqddm/demo/requirements.lock $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r $< && touch $@

$(VENV)/browser: tests/browser/requirements.lock $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r $< && touch $@

demo: environment $(VENV)/demo ## try the trained models at hand on a page in the browser (DEMO="faces --port 8000")
	$(BIN)/vqddm demo $(DEMO)

rehearse: environment ## the paper's whole suite with its true networks on a handful of pictures, in rehearsal/
	$(BIN)/python tests/rehearse.py

cost: environment ## what a suite costs on this machine, timed and extrapolated (SUITE=paper), in results/SUITE/cost.csv
	$(BIN)/snakemake --cores $(CORES) --config suite=$(SUITE) --forcerun cost -- cost

search: environment ## try settings of first stages and methods by validation pictures (search/trials.yaml), into docs/search.md (hours; goes on where it was)
	$(BIN)/python search/search.py

checkpoints: environment ## export the suite mini's trained models into vqddm/checkpoints/, which come with the package
	for name in $(SHIPPED); do \
	  $(BIN)/vqddm export models/$$name/refit_k256_p4000 -o vqddm/checkpoints/$$name \
	    --results results/mini/metrics/$$name/refit_k256_p4000 || exit 1; \
	done

gpu-kit: environment ## pack into gpu-kit/ what a GPU machine without network needs (gpu/run.sh)
	PYTHON=$(BIN)/python gpu/kit.sh

notebook: environment ## execute the notebook docs/tutorial/ten-minutes.ipynb and keep its outputs
	$(BIN)/python docs/notebook.py

lint: environment ## ruff, mypy, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: environment ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

schema: environment ## write the JSON schema of params.yaml from the typed parameters
	$(BIN)/vqddm schema --out workflow/params.schema.json

lock: ## lock all versions with hashes (needs uv)
	uv pip compile pyproject.toml --extra workflow --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	for folder in tests/bench tests/browser vqddm/demo; do \
	  uv pip compile $$folder/requirements.in --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o $$folder/requirements.lock || exit 1; \
	done
	uv pip compile docs/requirements.in -c requirements.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o docs/requirements.lock

clean: ## delete what the pipeline built, but not results/
	for split in train test validation; do rm -f data/*/$$split.npy data/*/$$split.json; done
	rm -rf models evaluation state logs benchmarks .snakemake
