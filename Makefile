# Only Python 3.10 or newer and make are presumed; everything else is installed into .venv.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv

# The interpreter is the one of .venv; uv is not to fetch another.
export UV_PYTHON_DOWNLOADS := never

# The oldest Python that constraints.txt holds versions for.
OLDEST_PYTHON := 3.10

# The edge provider is in a folder of its own, which only the test of an edge site puts on the path: its plugin would slow down every
# Airflow process of the tests and the demo.
EDGE := apache-airflow-providers-edge3 retryhttp

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop test coverage lint format types imports test-containers check-manifests bench constraints clean

help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Install the package and its development tools into .venv

$(UV):
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null
	@$(BIN)/python -m pip install --quiet "uv>=0.8"

# The demo needs the package alone.
$(VENV)/.package: pyproject.toml constraints.txt | $(UV)
	@$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt -e .
	@touch $@

$(VENV)/.installed: $(VENV)/.package
	@$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt -e . --group dev
	@$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt --no-deps --target $(VENV)/edge $(EDGE)
	@touch $@

# The peers have an environment of their own: their plugins would slow down every Airflow process of the tests and the demo.
$(VENV)-bench/.installed: $(VENV)/.installed
	@$(UV) venv --quiet --clear --python $(BIN)/python $(VENV)-bench
	@$(UV) pip install --quiet --compile-bytecode --python $(VENV)-bench/bin/python -c constraints.txt -e . --group bench
	@touch $@

demo: $(VENV)/.package ## Run a workflow in a local Airflow with a simulated model; Airflow stays up (ARGS="--workflow NAME ...")
	@$(BIN)/llm-orchestrator demo $(ARGS)

demo-stop: $(VENV)/.package ## Stop the Airflow of the demo
	@$(BIN)/llm-orchestrator demo --stop

lint: setup ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/hadolint docker/Dockerfile docker/workflows.Dockerfile tests/containers/stand-ins.Dockerfile
	@$(BIN)/shellcheck docker/entrypoint.sh systemd/install.sh tests/containers/*.sh

format: setup ## Rewrite to the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: setup ## Check types
	@$(BIN)/mypy

imports: setup ## Check which package may import which
	@$(BIN)/lint-imports

test: setup ## Run the tests (ARGS="-m 'not airflow'" leaves out those that start Airflow)
	@$(BIN)/pytest --numprocesses 2 $(ARGS)

coverage: setup ## Run the tests that start no Airflow, and show which lines they reach
	@$(BIN)/pytest --numprocesses 2 -m "not airflow" --cov --cov-report term:skip-covered $(ARGS)

test-containers: setup ## Build the image and run the compose files, where a Docker Engine can be had
	@$(BIN)/pytest tests/containers $(ARGS)

check-manifests: setup ## Check the Kubernetes manifests with checkov, which has an environment of its own
	@test -x $(VENV)-checkov/bin/checkov || $(UV) venv --quiet --python $(BIN)/python $(VENV)-checkov
	@$(UV) pip install --quiet --python $(VENV)-checkov/bin/python checkov
	@$(BIN)/pytest tests/unit/config/render/test_helm.py

bench: $(VENV)-bench/.installed ## Measure against dag-factory, common.ai and a Python loop
	@env -u PYTHONDONTWRITEBYTECODE $(VENV)-bench/bin/python -m compileall -q airflow_llm_provider dag_factory
	@for script in bench/*.py; do \
		echo "== $$script"; env -u PYTHONDONTWRITEBYTECODE $(VENV)-bench/bin/python $$script || exit 1; \
	done

constraints: setup ## Choose the newest versions of all dependencies again
	@printf 'apache-airflow==3.3.*\n' | $(UV) pip compile pyproject.toml --upgrade --quiet \
		--all-extras --group dev --group bench --constraints - \
		--universal --python-version $(OLDEST_PYTHON) \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file constraints.txt

clean: ## Remove .venv, caches, builds and the demo's folder
	@test ! -d .demo || test ! -x $(BIN)/llm-orchestrator || $(BIN)/llm-orchestrator demo --stop
	@rm -rf $(VENV) $(VENV)-bench $(VENV)-checkov .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
