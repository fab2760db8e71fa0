# make labs   set up, execute every lab in the quick profile on the embedded data
# make test   set up, run all checks and tests
# make lab    set up, open JupyterLab on the notebooks
# make site   set up, build the rendered course in site/; with the solutions:
#             SOLUTIONS=1; with the page for a phone: PHONE=out, where lab 08 has run
# make build  write the student notebooks from solutions/
# make lint   the static checks alone
# make release  build the wheel and the source archive in dist/, and check them
# make lock   resolve pyproject.toml into requirements.lock and environment.yml anew
# make clean  remove what the tests and checks leave behind
#
# PYTHON=python3.12 names the Python for a new environment, JOBS=1 the labs or tests at a time.

PYTHON ?= python3
JOBS ?= 2
BIN = $(if $(filter Windows_NT,$(OS)),.venv/Scripts,.venv/bin)

# Tests leave no trace in the user's cache and see no settings of the user's. Each job has its share
# of the processors: threads of TensorFlow that wait for work take it from the other job. Bytecode is
# kept for the hundreds of processes that the tests start.
THREADS = $(shell $(BIN)/python -c "from labkit import runtime as r; \
	print(*(f'{k}={v}' for k, v in r.thread_settings(r.threads_each($(JOBS))).items()))")
TEST = env -u PYTHONDONTWRITEBYTECODE $(THREADS) \
	LABKIT_PROFILE=quick LABKIT_DATA_MODE=synthetic LABKIT_QUIET=1 \
	LABKIT_OUT="$$PWD/build/nbval" LABKIT_CACHE="$$PWD/build/cache" $(BIN)/python -m pytest

.PHONY: labs test lab site build lint release lock clean setup

labs: setup
	$(BIN)/labkit run --profile quick --data synthetic --out out --jobs $(JOBS)

# The notebooks from the last to the first: the long ones are not left for one job at the end.
test: lint
	rm -rf build/nbval
	$(TEST) tests -n $(JOBS) --dist worksteal
	$(TEST) --nbval-lax $$(ls -r solutions/*.ipynb) -n $(JOBS) --dist loadfile

lab: setup
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks

site: setup
	$(BIN)/labkit site $(if $(SOLUTIONS),--solutions) $(if $(PHONE),--phone $(PHONE))

build: setup
	$(BIN)/labkit build

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/labkit build --check

release: setup
	rm -rf dist
	$(BIN)/uv build --no-build-isolation --quiet --out-dir dist
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz
	$(BIN)/check-wheel-contents dist/*.whl

# Versions that still satisfy pyproject.toml stay; add --upgrade to renew them all.
lock: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.lock
	$(BIN)/python tests/test_installation.py

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find labkit tests -name __pycache__ -prune -exec rm -rf {} +

setup:
	@$(PYTHON) setup_venv.py
