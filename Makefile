# Every target works from a fresh clone; `make help` lists them. What is longer than a line is in
# scripts/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The checked queries compile from the committed .sqlx, whatever DATABASE_URL says.
export SQLX_OFFLINE := true

# `make run PROFILE=release` builds longer and serves faster.
PROFILE ?= dev

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: servers ## Install what is missing, build, and serve with private PostgreSQL and NATS servers
	cargo run --locked --profile $(PROFILE) -- serve

.PHONY: test
test: servers ## Install what is missing and run all tests
	scripts/test.sh

.PHONY: unit
unit: ## Run the tests that need no server
	cargo test --locked --lib

.PHONY: lint
lint: ## Check formatting, lints and documentation; warnings are errors
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

.PHONY: openapi
openapi: ## Write openapi/openapi.json anew
	mkdir -p openapi target
	cargo run --quiet --locked -- openapi > target/openapi.json
	mv target/openapi.json openapi/openapi.json

.PHONY: sqlx
sqlx: ## Write .sqlx anew, after a change of queries or migrations
	scripts/sqlx.sh

.PHONY: sqlx-check
sqlx-check: ## Check that .sqlx is what the queries need
	scripts/sqlx.sh --check

.PHONY: bench
bench: servers ## Measure on a store of a million events, each figure beside its floor
	cargo bench --locked --bench store

.PHONY: bench-quick
bench-quick: servers ## The same on a tenth of it
	cargo bench --locked --bench store -- quick

SECONDS_OF_OVERLOAD ?= 600

.PHONY: overload
overload: servers ## Send more than the service can take for ten minutes; its memory must stay flat
	SECONDS_OF_OVERLOAD=$(SECONDS_OF_OVERLOAD) cargo test --locked --profile $(PROFILE) --test it \
		memory_stays_flat -- --ignored --nocapture

.PHONY: compose-up
compose-up: ## Build and start the service, PostgreSQL and NATS in containers
	docker compose up --build --detach --wait

.PHONY: servers
servers: ## Install PostgreSQL and nats-server if they are missing
	@scripts/install-servers.sh

.PHONY: tools
tools: ## Fetch current PostgreSQL and nats-server into the tools folder, without root
	scripts/tools.sh
