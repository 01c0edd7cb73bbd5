# `make help` lists the doors. Each is one command; what it does lives in tools/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first interpreter that really runs, is 3.11 or 3.12, and can make a virtual environment.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null \
	&& { echo $$p; break; }; done)
PY := .venv/bin/python
CLI := $(PY) -m batch_inference.cli
INSTALLED := .venv/installed

export PYTHONPATH := $(CURDIR):$(CURDIR)/include:$(CURDIR)/plugins
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-20s %s\n", $$1, $$2}'

$(INSTALLED): requirements-dev.txt
	@if [ -z "$(PYTHON)" ]; then echo "make: Python 3.11 or 3.12 with venv is needed; none was found on PATH (Debian: apt-get install python3-venv)" >&2; exit 1; fi
	@echo "installing into .venv (once)"
	@[ -x .venv/bin/uv ] || { $(PYTHON) -m venv .venv && \
	awk '/^uv==/ { found = 1 } found { print } found && !/\\$$/ { exit }' requirements-dev.txt > .venv/uv.txt && \
	.venv/bin/pip install -q --require-hashes -r .venv/uv.txt; }
	@.venv/bin/uv pip sync -q --require-hashes --python $(PY) requirements-dev.txt
	@touch $@

.PHONY: install
install: $(INSTALLED) ## create .venv from the locked requirements

.PHONY: run
run: $(INSTALLED) ## score the sample once, end to end: make run [INPUT=my.csv] [MODEL=model.joblib] [OUTPUT=scored/] [CONF='{"transform_instance_count": 2}'] [PIPELINE=abalone]
	@$(CLI) run "$(or $(PIPELINE),abalone)" --input "$$INPUT" --output "$$OUTPUT" --conf "$$CONF" $(if $(MODEL),--model "$$MODEL")

.PHONY: plan
plan: $(INSTALLED) ## what a run would do and cost, without a job: make plan PIPELINE=churn [CONF='{"deadline": "60"}']
	@$(CLI) plan "$(or $(PIPELINE),abalone)" --conf "$$CONF"

.PHONY: up
up: $(INSTALLED) ## embedded AWS and Airflow with its UI on localhost, until Ctrl-C
	@exec $(CLI) up

.PHONY: test-fast
test-fast: $(INSTALLED) ## the unit tests: no Airflow, no embedded AWS, no browser, nothing to install: make test-fast [ARGS='-k name']
	@$(PY) -m pytest -n 2 tests/unit $(ARGS)

.PHONY: test
test: $(INSTALLED) ## every test: make test [ARGS='-k name']
	@tools/system-packages
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: faults
faults: $(INSTALLED) ## every case of the fault suite on PostgreSQL and on SQLite: make faults [ARGS='-k worker']
	@tools/system-packages
	@FAULTS=all $(PY) -m pytest -n 2 --dist loadfile tests/faults $(ARGS)

.PHONY: matrix
matrix: $(INSTALLED) ## the wheel, the sample, its pages and the short fault suite with Airflow 3.0.6 to 3.3.2: make matrix [VERSIONS="3.0.6 3.1.8"] [ARGS=--no-faults]
	@$(PY) -m tools.matrix $(VERSIONS) $(ARGS)

.PHONY: soak
soak: $(INSTALLED) ## random sequences of faults against running pipelines: make soak MINUTES=10 [SEED=1] [LATE=1: only workers that stall and resume late]
	@tools/system-packages
	@$(PY) -m tests.faults.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(LATE),--late)

.PHONY: backfill
backfill: $(INSTALLED) ## a backfill of thirty dates through Airflow, twice, each read back: make backfill [DAYS=30]
	@tools/system-packages
	@DAYS=$(or $(DAYS),30) $(PY) -m pytest tests/end_to_end/test_backfill.py

.PHONY: check
check: $(INSTALLED) ## the pipeline files, ruff, formatting, import rules, Python 3.8 in containers, mypy, spelling, the documentation
	@$(CLI) check
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@out=$$(.venv/bin/lint-imports --no-logo --cache-dir .local/import-linter) && echo "$$out" | tail -1 || { echo "$$out"; exit 1; }
	@.venv/bin/vermin --quiet --no-tips --target=3.8- --violations include/batch_inference/__init__.py include/batch_inference/jobs
	@.venv/bin/mypy include plugins local_aws tools deploy tests/unit
	@.venv/bin/codespell
	@$(PY) -m tools.documentation.site --check

.PHONY: lock
lock: $(INSTALLED) ## regenerate requirements*.txt from requirements*.in
	@$(PY) -m tools.lock

.PHONY: docs
docs: $(INSTALLED) ## the documentation as a site, in dist/site/; what follows from code (reference pages, the schema) is written first
	@$(PY) -m batch_inference.config.json_schema
	@$(PY) -m tools.documentation.reference
	@$(PY) -m tests.unit.jobs.hostile_inputs
	@$(PY) -m tests.faults.table
	@$(PY) -m local_aws document docs/reference/embedded-aws
	@$(PY) -m tools.documentation.site

.PHONY: dist
dist: $(INSTALLED) ## the wheel, in dist/; the same code makes the same bytes
	@$(PY) -m tools.wheel

.PHONY: pipeline
pipeline: $(INSTALLED) ## a new pipeline from the template: make pipeline NAME=churn
	@$(CLI) new "$(NAME)"

.PHONY: mwaa
mwaa: dist ## the bundle for Amazon MWAA, in dist/mwaa/: make mwaa [VERSION=3.0.6]
	@$(CLI) mwaa $(if $(VERSION),--version $(VERSION))

.PHONY: iam
iam: $(INSTALLED) ## the IAM policies of a pipeline: make iam PIPELINE=abalone [ROLE=airflow|sagemaker|sagemaker_trust|sagemaker_role|janitor] [REGION=eu-central-1]
	@$(CLI) iam "$(or $(PIPELINE),abalone)" $(if $(ROLE),--role $(ROLE)) $(if $(REGION),--region $(REGION))

.PHONY: test-images
test-images: $(INSTALLED) ## the jobs' tests with Python 3.8 and old pandas, with pandas 3, and without either, where these Pythons are installed
	@$(PY) -m tools.bare_environments

.PHONY: baseline
baseline: $(INSTALLED) ## the `baseline` section of a pipeline from a run's profile: make baseline PROFILE=s3://…/profile.json
	@$(CLI) baseline "$(PROFILE)"

.PHONY: bench-sizing
bench-sizing: $(INSTALLED) ## cost and promises of the planner's clusters against naive runs and the joint lower bound [ARGS="--cases 1000"]
	@$(PY) -m tools.benchmarks.sizing --images docs/images $(ARGS)

.PHONY: bench-exploration
bench-exploration: $(INSTALLED) ## ten nights of `calibrate: explore` for six models whose cheapest settings are hidden
	@$(PY) -m tools.benchmarks.exploration --images docs/images $(ARGS)

.PHONY: bench-layouts
bench-layouts: $(INSTALLED) ## planned jobs without preprocessing against naive ones, billed on the embedded AWS, for four layouts
	@$(PY) -m tools.benchmarks.layouts $(ARGS)

.PHONY: bench-objects
bench-objects: $(INSTALLED) ## 100,000 objects, and one of 500 MB, through Airflow and the embedded AWS [OBJECTS=100000] [MEGABYTES=500]
	@$(PY) -m pytest tests/end_to_end/bench_objects.py -q -s

.PHONY: bench-plan
bench-plan: $(INSTALLED) ## planning a run of 1 and of 10 million objects: time and memory [OBJECTS=1000000]
	@$(PY) -m tools.benchmarks.plan $(OBJECTS)

.PHONY: bench-preprocess
bench-preprocess: $(INSTALLED) ## the preprocess job against polars and pandas, over hosts and formats: make bench-preprocess [ROWS="1000000 10000000"]
	@$(PY) -m venv .local/venvs/bench && .local/venvs/bench/bin/pip install -q polars duckdb pyarrow pandas numpy
	@$(PY) -m tools.benchmarks.preprocess --rows $(or $(ROWS),1000000) --python .local/venvs/bench/bin/python

.PHONY: bench-parse
bench-parse: $(INSTALLED) ## parsing a DAG file of 1, 200 and 1,000 pipelines: import, time and memory [PIPELINES="1 1000"]
	@$(PY) -m tools.benchmarks.parse $(PIPELINES)

.PHONY: bench-overhead
bench-overhead: $(INSTALLED) ## a run's time beside its jobs, against the provider's stock operators, task by task [ARGS="--runs 5"]
	@$(PY) -m tools.benchmarks.overhead $(ARGS)

.PHONY: bench-pages
bench-pages: $(INSTALLED) ## the lists and the costs of 50 pipelines with 1,000 runs each, on SQLite and PostgreSQL [ARGS="--databases sqlite"]
	@$(PY) -m tests.integration.batch_runs.bench_pages $(ARGS)

.PHONY: bench-join
bench-join: $(INSTALLED) ## the join against polars, duckdb and pyarrow: make bench-join [ROWS="1000000 10000000 50000000"] [ARGS="--repeats 5"]
	@$(PY) -m venv .local/venvs/bench-join && .local/venvs/bench-join/bin/pip install -q polars duckdb pyarrow pandas numpy
	@$(PY) tools/benchmarks/join.py --rows $(or $(ROWS),1000000 10000000) --python .local/venvs/bench-join/bin/python $(ARGS)

.PHONY: bench-local-aws
bench-local-aws: $(INSTALLED) ## the embedded AWS: Describe, empty jobs, throughput, memory [ARGS=--quick]
	@$(PY) -m tools.benchmarks.embedded_aws $(ARGS)

.PHONY: clean
clean: ## delete the state of runs (.local), not .venv
	@rm -rf .local artifacts
