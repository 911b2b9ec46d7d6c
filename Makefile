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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: servers ## Install what is missing, build, and serve with private PostgreSQL and NATS servers
	cargo run --locked --profile $(PROFILE) -- serve

.PHONY: test
test: servers ## Install what is missing and run all tests
	scripts/test.sh

.PHONY: unit
unit: ## Run the tests that need no server
	cargo test --locked --lib

# Which rounds `make chaos` plays.
ROUNDS ?= 100
SEED ?= 1

.PHONY: chaos
chaos: servers ## Attack the service for ROUNDS seeded rounds, from SEED on, until one fails
	ORDERS_CHAOS_ROUNDS=$(ROUNDS) ORDERS_CHAOS_SEED=$(SEED) cargo test --locked --test it \
	    chaos::nothing_is_lost_or_doubled_whatever_is_killed_when -- --exact --nocapture

.PHONY: chaos-sabotage
chaos-sabotage: servers ## Take out each safeguard and see that the checker notices
	cargo test --locked --features sabotage --target-dir target/sabotage --test it \
	    chaos::removals -- --nocapture

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
bench: servers ## Measure everything on private servers, each figure beside its floor (about 15 minutes)
	cargo bench --locked --bench orders

.PHONY: bench-quick
bench-quick: servers ## The same, shorter (under three minutes)
	cargo bench --locked --bench orders -- --quick

.PHONY: bench-micro
bench-micro: ## Measure the pure parts: decide, evolve, JSON, fold
	cargo bench --locked --bench micro

.PHONY: bench-smoke
bench-smoke: servers ## See that the benchmark still works; its figures mean nothing
	cargo test --locked --bench orders -- --smoke

SECONDS_OF_OVERLOAD ?= 600

.PHONY: overload
overload: servers ## Send more than the service can take for ten minutes; its memory must stay flat
	SECONDS_OF_OVERLOAD=$(SECONDS_OF_OVERLOAD) cargo test --locked --profile $(PROFILE) --test it \
		overload:: -- --nocapture

SECONDS_OF_FUZZING ?= 60

# Without a sanitizer it runs on the stable toolchain; what is found beyond the corpus stays in target/.
.PHONY: fuzz
fuzz: ## Read hostile requests, grown from the corpus, for a minute (installs cargo-fuzz)
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	mkdir -p target/fuzz-corpus
	cargo fuzz run --sanitizer none read_request $(CURDIR)/target/fuzz-corpus \
		fuzz/corpus/read_request -- -max_total_time=$(SECONDS_OF_FUZZING) -max_len=4096

.PHONY: compose-up
compose-up: ## Build and start the service, PostgreSQL and NATS in containers
	docker compose up --build --detach --wait

.PHONY: servers
servers: ## Install PostgreSQL and nats-server if they are missing
	@scripts/install-servers.sh

.PHONY: tools
tools: ## Fetch current PostgreSQL and nats-server into the tools folder, without root
	scripts/tools.sh
