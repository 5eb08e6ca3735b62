#!/usr/bin/env bash
# `make bench`: gets the client and the peer, builds all as `make dist` does, then measures with nothing compiling
# beside it. What cannot be had is skipped and said. BENCH_SECONDS (6): how long one load of HTTP lasts.
# BENCH_ONLY=decide,peers: only some of the parts that README.md lists.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
tools=$root/target/tools
cargo=${CARGO:-cargo}
export TMPDIR=$root/target/bench/tmp # on the disk, not in memory: the log syncs
mkdir -p "$tools/bin" "$TMPDIR"
say() { printf 'bench: %s\n' "$*" >&2; }

# wrk, from the distribution: installed already, unpacked below target/tools, or, as root, installed.
unpack_wrk() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
  mkdir -p "$tools/deb"
  (cd "$tools/deb" && timeout 120 apt-get download wrk libluajit-5.1-2) >"$tools/deb/download.txt" 2>&1 || return 1
  for package in "$tools"/deb/*.deb; do dpkg -x "$package" "$tools/wrk" || return 1; done
  libraries=$(dirname "$(find "$tools/wrk" -name 'libluajit*.so.2' | head -1)")
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "'$libraries'" "'$tools/wrk/usr/bin/wrk'" >"$tools/bin/wrk"
  chmod +x "$tools/bin/wrk"
  runs_wrk "$tools/bin/wrk"
}
# It prints its version and fails all the same.
runs_wrk() { [[ $("$1" --version 2>&1 || true) == wrk* ]]; }
find_wrk() {
  if command -v wrk >/dev/null; then command -v wrk
  elif [ -x "$tools/bin/wrk" ] && runs_wrk "$tools/bin/wrk"; then echo "$tools/bin/wrk"
  elif say 'unpacking the Debian package wrk into target/tools' && unpack_wrk; then echo "$tools/bin/wrk"
  elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && say 'installing the Debian package wrk' \
    && timeout 300 apt-get install -y wrk >&2; then command -v wrk
  else return 1; fi
}
if wrk=$(find_wrk); then export VERDICT_BENCH_WRK=$wrk; else say 'wrk cannot be had: no figures of HTTP'; fi

# nginx, which balances two hosts: the machine's, or the distribution's, unpacked.
if [ ! -x /usr/sbin/nginx ] && [ ! -x /usr/local/sbin/nginx ] && [ ! -x "$tools/nginx/usr/sbin/nginx" ] \
  && command -v apt-get >/dev/null && command -v dpkg >/dev/null; then
  say 'unpacking the Debian package nginx into target/tools'
  mkdir -p "$tools/nginx"
  (cd "$tools/nginx" && timeout 120 apt-get download nginx && dpkg -x nginx_*.deb .) \
    >"$root/target/bench/nginx.txt" 2>&1 || say 'it cannot be had: see target/bench/nginx.txt'
fi

# Open Policy Agent, an ordinary Go module, built once.
if [ ! -x "$tools/bin/opa" ] && command -v go >/dev/null; then
  say 'building Open Policy Agent into target/tools (once; some minutes)'
  GOBIN=$tools/bin GOFLAGS=-mod=mod timeout 600 go install github.com/open-policy-agent/opa@latest \
    >"$root/target/bench/opa-build.txt" 2>&1 || say 'it does not build: see target/bench/opa-build.txt'
fi
if [ -x "$tools/bin/opa" ]; then export VERDICT_BENCH_OPA=$tools/bin/opa; else say 'opa cannot be had: no peer'; fi

# Cerbos, its program in an npm package, at the version of the lock. Not `npm ci`: see tests/languages/build.sh.
cerbos=$tools/cerbos/node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64
lock=tests/bench/peers/cerbos/package-lock.json
if { [ ! -x "$cerbos" ] || ! cmp -s "$lock" "$tools/cerbos/package-lock.json"; } && command -v npm >/dev/null; then
  say 'installing @cerbos/cerbos-linux-x64 into target/tools/cerbos (npm)'
  rm -rf "$tools/cerbos" && mkdir -p "$tools/cerbos"
  cp tests/bench/peers/cerbos/{package.json,package-lock.json,.npmrc} "$tools/cerbos"
  (cd "$tools/cerbos" && timeout 300 npm install --no-save --no-audit --no-fund --ignore-scripts) \
    >"$root/target/bench/cerbos.txt" 2>&1 || say 'it cannot be installed: see target/bench/cerbos.txt'
fi
if [ -x "$cerbos" ] && "$cerbos" --version >/dev/null 2>&1; then export VERDICT_BENCH_CERBOS=$cerbos
else say 'Cerbos cannot be had: no such peer'; fi

# The peers that run in process, each at a fixed version with a lock of its own.
if command -v go >/dev/null; then
  say 'building the peer that is Open Policy Agent in process (the first time: some minutes)'
  if (cd tests/bench/peers/opa && GOFLAGS=-mod=mod timeout 600 nice go build -o "$root/target/bench/peers/opa" .) \
    >"$root/target/bench/opa-peer.txt" 2>&1; then export VERDICT_BENCH_PEER_OPA=$root/target/bench/peers/opa
  else say 'it does not build: see target/bench/opa-peer.txt'; fi
fi
say 'building the peers that are crates: regorus and Cedar (the first time: some minutes)'
if timeout 1800 nice "$cargo" build --quiet --release --locked --manifest-path tests/bench/peers/Cargo.toml \
  --target-dir target/bench/peers >"$root/target/bench/crate-peers.txt" 2>&1
then export VERDICT_BENCH_PEER_CRATES=$root/target/bench/peers/release/verdict-bench-peers
else say 'they do not build: see target/bench/crate-peers.txt'; fi

# The questions that document sharing and Cedar are both asked.
if timeout 600 "$cargo" build --quiet --manifest-path guest-policies/Cargo.toml --target-dir target/test-guests \
  -p document-sharing --example questions
then export VERDICT_BENCH_QUESTIONS=$root/target/test-guests/debug/examples/questions
else say 'the generator of questions does not build: no figures of gdrive'; fi

# The command and the decisions are built as they are installed. What measures them, and the bare server in it, is linked
# as a whole, too, but without the profile, which is of `verdict`; the rest neither.
source tests/bench/dist.sh
export VERDICT_BENCH_FLAGS=$flags
say 'building what measures'
# `-p verdict-cli` everywhere: it gives shared dependencies the same features, so that wasmtime is compiled once.
benches=()
for bench in runtime/engine/benches/*; do
  name=$(basename "$bench" .rs)
  [ "$name" = decide ] || benches+=(--bench "$name")
done
"$cargo" bench --quiet --no-run --profile dist -p verdict-cli -p verdict-engine --features verdict-engine/bench --bench decide
env -u "$flags" "$cargo" bench --quiet --no-run -p verdict-cli -p verdict-engine --features verdict-engine/bench "${benches[@]}"
env -u "$flags" "$cargo" bench --quiet --no-run -p verdict-cli -p verdict-ledger --bench append
env -u "$flags" "$cargo" bench --quiet --no-run -p verdict-cli -p verdict --bench load
env -u "$flags" "$cargo" build --quiet --profile dist -p verdict-cli -p verdict-tests --bin verdict-bench
timeout 3600 target/dist/verdict-bench
say 'written: target/bench/results.json, or results-part.json'
