# What a developer types. Every target fetches what it needs; tests/support/setup knows how to get docker and Postgres.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help build release demo clean-demo test torture lint bench

# The set-up installs packages and starts docker, so it is root's.
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

build: ## The plugin's program, bin/pgbackup
	@scripts/build

release: ## The static archives of a release, with checksums, licences and SBOM
	@scripts/release

demo: ## An incident and the way back, of the data and of the code, before your eyes
	@$(ROOT) tests/support/setup --images 17
	@scripts/build
	@demo/run

clean-demo: ## Remove what the demo left
	@demo/clean

test: ## All tests, against real Postgres containers
	@scripts/test

torture: ## Every fault, 200 times each; takes hours (scripts/torture --help for less)
	@$(ROOT) tests/support/setup
	@scripts/torture

lint: ## Formatting, clippy and shellcheck
	@scripts/lint

bench: ## The measured comparisons
	@$(ROOT) tests/support/setup
	@scripts/build
	@benches/run
