# The only commands a newcomer needs:
#   make run     build and start the server with its demo stream; open the address that it prints
#   make test    everything that must hold: format, lints, documentation, unit and end-to-end tests
#   make bench   the cost of a delivered message, beside a bare loop of send() in the same run
# Each installs what it needs first (scripts/deps.sh: apt-get, as root or through sudo).

SHELL := /bin/sh
CARGO ?= cargo
# CMake 4 refuses the minimum that some C sources still ask for; older ones ignore this.
export CMAKE_POLICY_VERSION_MINIMUM ?= 3.5

.PHONY: run test bench deps deps-run deps-test web check unit fuzz-check

run: deps-run web
	$(CARGO) run --release --locked -- --demo $(ARGS)

test: deps-test web check unit

bench: deps-run web
	$(CARGO) bench --locked --bench fanout

deps: deps-test

deps-run:
	@scripts/deps.sh run

deps-test:
	@scripts/deps.sh test

# The players' libraries, which the binary embeds.
web:
	@scripts/fetch-web-vendor.sh

# What needs no running server.
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

# Unit tests, properties, the import map, and the end-to-end stories. nextest where it is installed: a process
# per test, each with its own limit; plain `cargo test` otherwise. The benches must at least compile.
unit:
	$(CARGO) build --locked --workspace --benches
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -x; $(CARGO) nextest run --locked --workspace && $(CARGO) test --locked --workspace --doc; \
	else \
		set -x; $(CARGO) test --locked --workspace; \
	fi

# The fuzz targets compile (running them needs `cargo fuzz`, see fuzz/README.md).
fuzz-check:
	$(CARGO) check --manifest-path fuzz/Cargo.toml
