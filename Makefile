# What a person does with this repository. `make` alone says what there is.
#
# Everything is built with the dev profile (optimised, see Cargo.toml): `run`, `test` and `ci` then share every
# artefact, and a fresh machine compiles Pingora once, not twice. A release build is for `make bench` and packaging.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test soak bench compare fuzz deb ci tools build-tools
.ONESHELL:

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: build-tools ## Build and start an edge on 127.0.0.1:8080 with policies/ and a demo origin
	@examples/demo.sh

test: tools ## Build and pass every test
	@if cargo nextest --version >/dev/null 2>&1; then
	  cargo nextest run --locked
	else
	  cargo test --locked --lib --bins --tests
	fi
	cargo test --locked --doc

soak: tools ## Kill, fill and fault for long: 1,000 kills in each mode, every fault there is (release build, an hour or more)
	@export INTERDICT_KILLS=1000 INTERDICT_SOAK=1
	cargo test --locked --release --lib audit::faults::
	cargo test --locked --release --test it -- --nocapture --test-threads 1 cut_many:: durability:: full_disk:: many_slow_clients:: succession:: syscalls:: untouched::

bench: tools ## Measure: look-up, compile, swap, block path, audit (release build, minutes)
	@cargo bench --locked

compare: TURNS = 5
compare: SECONDS = 4
compare: PARTS =
compare: LARGE = 0
compare: build-tools ## Measure beside nginx and HAProxy, and write docs/figures.md (TURNS=5 SECONDS=4 PARTS= LARGE=0)
	@.ci/tools h2load nginx haproxy
	export INTERDICT_COMPARE_TURNS=$(TURNS) INTERDICT_COMPARE_SECONDS=$(SECONDS) INTERDICT_COMPARE_LARGE=$(LARGE)
	cargo bench --locked --bench compare -- $(PARTS)

fuzz: FOR = 60
fuzz: TARGETS =
fuzz: build-tools ## Feed every parser, and both paths of a blocked request, what nobody thought of (FOR=60 seconds each, TARGETS=)
	@fuzz/run $(FOR) $(TARGETS)

deb: build-tools ## Build a Debian package (release build, minutes)
	@cargo deb --version >/dev/null 2>&1 || cargo install cargo-deb --locked
	cargo deb --locked

ci: ## All that must hold before a change goes in
	@.ci/run

build-tools: # what a build needs: Pingora's zlib-ng is built with CMake
	@.ci/tools cmake

tools: # what the tests need on top: clients written by others
	@.ci/tools cmake curl h2load nghttp jq zstd rsync
