# Two commands matter to a newcomer: `make demo` and `make test`. Each sets up what it needs by itself.
UV := .uv/bin/uv
UV_VERSION := 0.13.9
BIN := .venv/bin
PYTHON ?= python3.11
# The demo by the other engine has services of its own: neither finds the other's runs.
OTHER_LOCAL := .local/raster-vision
BEGAN := $(shell date +%s)
export PYTHONUNBUFFERED = 1
# Airflow starts Python for everything; where bytecode may not be kept, each of them compiles all that it imports.
export PYTHONDONTWRITEBYTECODE =
# A model's process writes nothing outside its scratch: what it imports is compiled when it is installed.
export UV_COMPILE_BYTECODE = 1

.PHONY: setup demo up down compose compose-demo test slow-test cluster-test compose-test faults fuzz check lock clean help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# What the services and the engine onnx need; tests, training and the engine raster-vision need the rest.
LIGHT := --extra airflow --extra local --extra predict --extra serve --extra stats

setup: .venv/.ready ## .venv with everything that is locked in uv.lock

$(UV):
	@echo "setup: uv $(UV_VERSION)"
	@$(PYTHON) -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: pyproject.toml uv.lock | $(UV)
	@echo "setup: locked dependencies into .venv (about 7 GB, most of it PyTorch)"
	@$(UV) sync --frozen $(LIGHT) --extra raster-vision --python $(PYTHON)
	@touch $@ .venv/.light

.venv/.light: pyproject.toml uv.lock | $(UV)
	@if [ -e .venv/.ready ]; then $(MAKE) --no-print-directory setup; else \
		echo "setup: locked dependencies of the demo into .venv (about 1.5 GB, without PyTorch)"; \
		$(UV) sync --frozen --no-dev $(LIGHT) --python $(PYTHON); fi
	@touch $@

demo: $(if $(filter raster-vision,$(ENGINE)),setup,.venv/.light) ## the main job on real scenes; ENGINE=raster-vision with PyTorch
	@DEMO_BEGAN=$(BEGAN) $(if $(filter raster-vision,$(ENGINE)),ORTHOSTAT_LOCAL_DIR=$(OTHER_LOCAL)) \
		$(BIN)/python -m demo $(or $(ENGINE),auto)

up: .venv/.light ## start PostgreSQL, S3 and Airflow on loopback
	@$(BIN)/orthostat local up

down: ## stop what `make up` or `make demo` started
	@if [ -x $(BIN)/orthostat ]; then $(BIN)/orthostat local down; fi
	@if [ -e $(OTHER_LOCAL) ]; then ORTHOSTAT_LOCAL_DIR=$(OTHER_LOCAL) $(BIN)/orthostat local down; fi

compose: ## the whole system with Docker alone: secrets into .env, images, all services up
	@config/compose/make-env
	@docker compose build
	@docker compose up --detach --wait
	@docker compose ps --format 'table {{.Service}}\t{{.Status}}\t{{.Ports}}'
	@echo "The password of Airflow's user admin is AIRFLOW_PASSWORD in .env; make compose-demo runs the demo."

compose-demo: ## the main job in what `make compose` started
	@mkdir -p build
	@docker compose run --rm --user "$$(id -u):0" demo

# A file at a time per worker, in the order of the folders and their names: those that take minutes come early.
TEST := $(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup ## every test but the slow ones; ten minutes
	@$(TEST) -m "not slow" tests

slow-test: setup ## those with Airflow, the embedded S3, exports of models; ten minutes more
	@$(TEST) -m slow tests/integration tests/contract tests/dags tests/unit

cluster-test: setup ## the pipeline as pods on a real cluster (tests/cluster/run says which)
	@tests/cluster/run

faults: setup ## 200 scenes as pods while everything fails that can; SEED=1, SCENES=200; half an hour
	@FAULTS_SEED=$(or $(SEED),1) FAULTS_SCENES=$(or $(SCENES),200) tests/cluster/run \
		$(BIN)/pytest -s tests/cluster/test_faults.py

compose-test: setup ## the demo and kills in a system of docker compose of its own; LONG=1 kills every service
	@docker buildx bake --file images/docker-bake.hcl predict airflow
	@ORTHOSTAT_AIRFLOW_IMAGE=orthostat-airflow:dev ORTHOSTAT_PREDICT_IMAGE=orthostat-predict:dev \
		$(BIN)/pytest -q tests/compose $(if $(LONG),,-m "not long")

fuzz: setup ## a thousand mutated images, bundles and bodies each, and 200 jobs under kills; about ten minutes
	@FUZZ_CASES=1000 KILLED_JOBS=200 $(BIN)/pytest -q tests/integration/test_fuzz.py \
		tests/integration/service/test_operation.py::test_jobs_of_killed_servers_end_once

check: setup $(UV) ## format, lint, types, lock, DAGs, pipeline files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(UV) lock --check
	images/export-requirements --check
	$(BIN)/pytest -q tests/dags/test_dags.py
	$(BIN)/orthostat pipelines check

lock: $(UV) ## after a change of dependencies: uv.lock and every exported requirements file
	$(UV) lock
	./images/export-requirements

clean: down ## remove what setup and the demo made
	rm -rf .venv .uv .local build
