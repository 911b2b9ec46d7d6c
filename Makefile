# Every target works from a fresh clone. `make help` lists them. Longer steps are in scripts/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The checked queries compile from the committed .sqlx, even where DATABASE_URL is set.
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

# `make chaos` runs the rounds SEED, SEED + 1, … ROUNDS of them.
ROUNDS ?= 100
SEED ?= 1

.PHONY: chaos
chaos: servers ## Attack two instances of the service in ROUNDS seeded rounds; stop at the first failure
	ORDERS_CHAOS_ROUNDS=$(ROUNDS) ORDERS_CHAOS_SEED=$(SEED) cargo test --locked --test it \
	    chaos::no_command_is_lost_or_doubled_under_any_faults -- --exact --nocapture

.PHONY: chaos-sabotage
chaos-sabotage: servers ## Disable each safeguard in turn; the chaos test must notice
	cargo test --locked --features sabotage --target-dir target/sabotage --test it \
	    chaos::removals -- --nocapture

.PHONY: fmt
fmt: ## Format the sources
	cargo fmt

.PHONY: watch
watch: ## Run clippy again after each change of a source (installs bacon)
	command -v bacon >/dev/null || cargo install --locked bacon
	bacon clippy-all

# A debug build of cargo-deny is fast enough, and takes a minute instead of several.
CARGO_DENY := { command -v cargo-deny >/dev/null || cargo install --locked --debug cargo-deny; } && cargo deny

.PHONY: lint
lint: ## Check formatting, lints, documentation and dependencies; warnings are errors (installs cargo-deny)
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
	$(CARGO_DENY) --locked check bans licenses sources
	scripts/check-compose.py

# Apart from lint: it fetches the list of known weaknesses, so it needs the internet.
.PHONY: advisories
advisories: ## Look for known weaknesses of the dependencies (installs cargo-deny)
	$(CARGO_DENY) --locked check advisories

# For example MUTANTS='--re order/money.rs' for the mutants of one file, or MUTANTS=--list.
MUTANTS ?=

.PHONY: mutants
mutants: ## Break the pure code in many small ways; each time a test must fail (installs cargo-mutants)
	command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants
	cargo mutants $(MUTANTS)

.PHONY: openapi
openapi: ## Generate openapi/openapi.json
	mkdir -p openapi target
	cargo run --quiet --locked -- openapi > target/openapi.json
	mv target/openapi.json openapi/openapi.json

.PHONY: sqlx
sqlx: ## Generate .sqlx, after a change of queries or migrations
	scripts/sqlx.sh

.PHONY: sqlx-check
sqlx-check: ## Check that .sqlx is what the queries need
	scripts/sqlx.sh --check

.PHONY: bench
bench: servers ## Measure everything on private servers, each figure against its floor (about 15 minutes)
	cargo bench --locked --bench orders

.PHONY: bench-quick
bench-quick: servers ## The same, shorter (under three minutes)
	cargo bench --locked --bench orders -- --quick

.PHONY: bench-micro
bench-micro: ## Measure the pure parts: decide, evolve, JSON, fold
	cargo bench --locked --bench micro

.PHONY: bench-smoke
bench-smoke: servers ## Check that the benchmark still works; its figures mean nothing
	cargo test --locked --bench orders -- --smoke

SECONDS_OF_OVERLOAD ?= 600

.PHONY: overload
overload: servers ## Send more than the service can handle for ten minutes; its memory must not grow
	SECONDS_OF_OVERLOAD=$(SECONDS_OF_OVERLOAD) cargo test --locked --profile $(PROFILE) --test it \
		overload:: -- --nocapture

SECONDS_OF_FUZZING ?= 60

# Without a sanitizer it runs on the stable toolchain. New inputs that it finds stay in target/.
.PHONY: fuzz
fuzz: ## Read random and hostile request bodies for a minute (installs cargo-fuzz)
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	mkdir -p target/fuzz-corpus
	cargo fuzz run --sanitizer none read_request $(CURDIR)/target/fuzz-corpus \
		fuzz/corpus/read_request -- -max_total_time=$(SECONDS_OF_FUZZING) -max_len=4096

.PHONY: image-steps
image-steps: ## Run the build steps of the Dockerfile in an empty folder, without a container engine
	scripts/image-steps.py PROFILE=$(PROFILE)

.PHONY: image-check
image-check: ## Build the image with buildah and start it (root on Debian; installs buildah, debootstrap)
	PROFILE=$(PROFILE) scripts/image-check.sh

.PHONY: compose-up
compose-up: .env ## Build and start the service, PostgreSQL and NATS in containers
	docker compose up --build --detach --wait

# Hexadecimal, so that the password needs no escapes in a URL.
.env:
	umask 077; echo "POSTGRES_PASSWORD=$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" > .env

.PHONY: servers
servers: ## Install PostgreSQL and nats-server if they are missing
	@scripts/install-servers.sh

.PHONY: tools
tools: ## Fetch current PostgreSQL and nats-server into the tools folder, without root
	scripts/tools.sh
