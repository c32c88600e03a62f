# Every way to build, try and check Aquatint. `make run` and `make test` are all a newcomer needs.
#
# The dev profile on purpose: dependencies are optimised in it, `make run` and `make test` share its artefacts, and
# it is there in a fraction of the time that the release profile's whole-program optimisation takes.

LISTEN ?= 127.0.0.1:8080
ADMIN ?= 127.0.0.1:9090
TARGET = $(or $(CARGO_TARGET_DIR),target)

.PHONY: help run test bench bench-peers bench-purge bench-images bench-cluster chaos holes conformance fuzz lint deb image

help:
	@echo "make run          an edge on the sample images of demo/ (LISTEN=$(LISTEN) ADMIN=$(ADMIN))"
	@echo "make test         every test"
	@echo "make lint         formatting, clippy, docs, licences, benches that still build"
	@echo "make bench        criterion benches of the hot pieces"
	@echo "make bench-peers  against nginx and Varnish, side by side"
	@echo "make bench-purge  what a purge costs, against Varnish and nginx (BENCH_OBJECTS_MAX=10000 for a quick form)"
	@echo "make bench-images against sharp, side by side (IMAGES=a directory of photos)"
	@echo "make bench-cluster clusters of 1, 3 and 9 nodes under one load (BENCH_NODES=\"1 3\" for a quick form)"
	@echo "make chaos        the purge guarantee on one node and on many, under readers, writers and faults (CHAOS_SECONDS=900 CHAOS_OPERATIONS=5000000)"
	@echo "make holes        the checker of that guarantee finds every hole that is opened on purpose (HOLE=its name)"
	@echo "make fuzz         spec, probe and pipeline with any bytes (FUZZ_SECONDS=60 each; nightly Rust, cargo-fuzz)"
	@echo "make deb          a Debian package, by cargo-deb"
	@echo "make image        a container image; docker compose up --build shows it with dashboards"
	@echo "make conformance  the public suite of HTTP caching, by Node.js"

run:
	@scripts/packages build
	cargo build --bin aquatint
	@scripts/demo --listen $(LISTEN) --admin $(ADMIN)

test:
	@scripts/packages build monitoring
	cargo test

bench:
	@scripts/packages build
	cargo bench

bench-peers:
	@scripts/packages build peers
	benches/peers.sh

bench-purge:
	@scripts/packages build peers
	benches/purge.sh

bench-images:
	@scripts/packages build images
	@benches/images.sh

bench-cluster:
	@scripts/packages build
	@benches/cluster.sh

chaos: holes
	cargo test --test purge -- --ignored --nocapture --exact edge::chaos
	cargo test --test cluster -- --ignored --nocapture --exact chaos::chaos

# The dependencies are those of the dev profile, so that only this crate is built once more, and once more back.
holes:
	@scripts/packages build
	cargo build --bin aquatint --features holes
	mkdir -p $(TARGET)/holes
	cp $(TARGET)/debug/aquatint $(TARGET)/holes/aquatint
	AQUATINT_HOLES_BINARY=$(abspath $(TARGET))/holes/aquatint cargo test --test purge -- --nocapture holes::

conformance:
	@scripts/packages build
	cargo build --bin aquatint
	@scripts/conformance

fuzz:
	@scripts/packages build
	@scripts/fuzz

lint:
	@scripts/packages build lint
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --lib
	cargo bench --no-run --profile dev
	@scripts/deny

# The binary tells its own completions and manual.
deb:
	@scripts/packages build
	@cargo deb --version >/dev/null 2>&1 || { echo "cargo-deb is missing: cargo install cargo-deb"; exit 1; }
	cargo build --release --locked --bin aquatint
	mkdir -p target/packaging/man
	$(TARGET)/release/aquatint completions bash >target/packaging/aquatint.bash
	$(TARGET)/release/aquatint completions zsh >target/packaging/_aquatint
	$(TARGET)/release/aquatint completions fish >target/packaging/aquatint.fish
	$(TARGET)/release/aquatint man --to target/packaging/man
	cargo deb --locked --no-build

image:
	docker build --tag aquatint .
