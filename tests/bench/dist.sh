#!/usr/bin/env bash
# `make dist`: builds `verdict` as it is to be installed, target/dist/verdict: linked as a whole, and compiled for what it
# runs when it answers. To know that, it is built twice: the first counts what runs while `verdict-bench train` asks it.
# The counts are kept in target/profile as long as the compiler and Cargo.lock are the same; a function that has changed
# since is compiled without. `rm -r target/profile` has them counted again. Where they cannot be had, that is said, and
# `verdict` is only slower. `make bench` sources this, so that all it measures is built so.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
set -euo pipefail
cargo=${CARGO:-cargo}

# Counts what runs, into a file whose name begins so and ends in what is in it: cargo knows a file by its name only.
# Fails, having said why, where it cannot.
count_into() {
  local host=$1 profile=$2 merge train=$PWD/target/train
  merge=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
  if [ ! -x "$merge" ]; then
    echo 'dist: installing llvm-tools (rustup)' >&2
    timeout 300 rustup component add llvm-tools >&2 || { echo 'dist: it cannot be had' >&2; return 1; }
  fi
  echo 'dist: building what counts what runs (the first time: a quarter of an hour on two cores)' >&2
  rm -rf "$train/counts" && mkdir -p "$train/counts" "${profile%/*}" || return 1
  (
    # By the triple and not RUSTFLAGS, which would be for guests too.
    export "$flags=-Cprofile-generate=$train/counts" CARGO_TARGET_DIR=$train
    # What the build itself runs counts nowhere.
    export LLVM_PROFILE_FILE=/dev/null
    "$cargo" build --quiet --locked --profile dist -p verdict-cli || exit 1
    "$cargo" build --quiet --locked --profile dist -p verdict-cli -p verdict-tests --bin verdict-bench || exit 1
    unset LLVM_PROFILE_FILE
    timeout 900 "$train/dist/verdict-bench" train
  ) || { echo 'dist: it was not counted' >&2; return 1; }
  "$merge" merge --output "$profile.new" "$train"/counts/*.profraw || return 1
  mv "$profile.new" "$profile-$(sha256sum <"$profile.new" | cut -c 1-16).profdata"
}

# Sets the flags that have the compiler use the counts, made where there are none that fit. Their variable is `flags`.
use_profile() {
  local host fits profile
  host=$(rustc -vV | sed -n 's/^host: //p')
  flags=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$host")_RUSTFLAGS
  if [ -n "${RUSTFLAGS:-}${CARGO_ENCODED_RUSTFLAGS:-}" ]; then
    echo 'dist: RUSTFLAGS is set: built with that, and without a profile' >&2
    return
  fi
  # Cargo takes flags apart at spaces.
  if [[ $PWD == *[[:space:]]* ]]; then
    echo 'dist: the path of the checkout has a space: built without a profile' >&2
    return
  fi
  fits=$PWD/target/profile/$({ rustc -vV && cat Cargo.lock; } | sha256sum | cut -c 1-16)
  compgen -G "$fits*.profdata" >/dev/null || count_into "$host" "$fits" || true
  profile=$(compgen -G "$fits*.profdata" | head -1 || true)
  if [ -n "$profile" ]; then
    export "$flags=-Cprofile-use=$profile"
  else
    echo 'dist: built without a profile' >&2
  fi
}

use_profile
echo 'dist: building target/dist/verdict (the first time: a quarter of an hour on two cores)' >&2
"$cargo" build --quiet --locked --profile dist -p verdict-cli
