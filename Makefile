# The two commands that set everything up on a fresh machine are `make demo` and `make test`.
# What they install: the Rust target wasm32-unknown-unknown (by rustup), and crates (by cargo). Everything that they
# build goes below target/.

STAY ?= 1
CARGO ?= cargo
# The command, with what gives its dependencies the features that they have in the tests: they are compiled once.
COMMAND = -p verdict-cli -p verdict-sdk
export CARGO_TERM_PROGRESS_WHEN ?= never

.PHONY: help demo test test-full languages dist bench lint fuzz tools

help:
	@echo 'make demo        build, sign and serve the policy library, ask real questions (STAY=0: then stop)'
	@echo 'make test        all tests; with ../shared/suites (or VERDICT_SUITES) the third-party suites too'
	@echo 'make test-full   the same with longer crash, property and mutation runs'
	@echo 'make languages   the policies in other languages that are tested (make test takes those that are built)'
	@echo 'make lint        formatting, clippy, documentation'
	@echo 'make dist        target/dist/verdict, the command to install: compiled for what it runs when it answers'
	@echo 'make bench       figures beside OPA, regorus and Cedar in target/bench/results.json; see tests/bench/README.md'
	@echo 'make fuzz        libFuzzer on every target for FUZZ_SECONDS (60)'

tools:
	@command -v $(CARGO) >/dev/null || { echo 'cargo is missing: install Rust by rustup, then run make again' >&2; exit 1; }
	@rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown \
	  || { echo 'installing the Rust target wasm32-unknown-unknown'; rustup target add wasm32-unknown-unknown; }

demo: tools
	STAY=$(STAY) bash examples/demo.sh

test: tools
	$(CARGO) build --quiet $(COMMAND)
	$(CARGO) test --workspace --no-fail-fast

languages: tools
	bash tests/languages/build.sh all

test-full: tools languages
	$(CARGO) build --quiet $(COMMAND)
	VERDICT_FULL=1 $(CARGO) test --workspace --no-fail-fast

lint: tools
	$(CARGO) fmt --all --check
	$(CARGO) fmt --check --manifest-path guest-policies/Cargo.toml --all
	$(CARGO) fmt --check --manifest-path tests/bench/policies/Cargo.toml -p bench-small -p bench-big
	$(CARGO) fmt --check --manifest-path tests/bench/peers/Cargo.toml
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy $(COMMAND) -p verdict-engine --all-targets --features verdict-engine/bench --quiet -- -D warnings
	$(CARGO) clippy -p verdict-engine --lib --no-default-features --quiet -- -D warnings
	$(CARGO) clippy --manifest-path guest-policies/Cargo.toml --target wasm32-unknown-unknown --workspace --lib --target-dir target/guests --quiet -- -D warnings
	$(CARGO) clippy --manifest-path tests/bench/policies/Cargo.toml --target wasm32-unknown-unknown --workspace --lib --target-dir target/guests --quiet -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --quiet

dist: tools
	bash tests/bench/dist.sh

bench: tools
	bash tests/bench/run.sh

FUZZ_SECONDS ?= 60
fuzz: tools
	@command -v target/tools/bin/cargo-fuzz >/dev/null \
	  || { echo 'installing cargo-fuzz into target/tools'; $(CARGO) install --quiet --locked --root target/tools cargo-fuzz; }
	for target in envelope receipt document component trust channel revocations snapshot patch; do \
	  PATH="$$PWD/target/tools/bin:$$PATH" RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir tests/fuzz $$target -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done
