#!/usr/bin/env bash
# Builds one policy of tests/languages into target/languages/LANGUAGE/policy.wasm: `build.sh LANGUAGE`, or `build.sh all`,
# which goes on after a language whose tools cannot be had and says so. What it installs goes below target/tools, with
# versions that are fixed; only clang is installed on the machine, by apt-get, if root runs this.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$root/target/tools
say() { printf 'languages: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
need() { command -v "$1" >/dev/null || die "$language needs $1: $2"; }
# A command within so many seconds; its output is shown only if it fails.
within() {
  local seconds=$1 output=$root/target/languages/$language/output.txt; shift
  timeout "$seconds" "$@" >"$output" 2>&1 || { tail -n 30 "$output" >&2; die "$language: failed, or took longer than $seconds s: $*"; }
}

tool() {
  need cargo 'install Rust by rustup'
  [ -d "$tools/language-tool" ] || say 'building the tool that makes components (some minutes)'
  within 1200 "${CARGO:-cargo}" build --quiet --locked --manifest-path "$here/tool/Cargo.toml" --target-dir "$tools/language-tool"
  tool=$tools/language-tool/debug/verdict-language-tool
}

# Node packages, from the lock; the whole folder is replaced when the lock has changed.
node_packages() {
  need npm 'install Node.js 20 or later'
  mkdir -p "$tools/node"
  cmp -s "$here/package-lock.json" "$tools/node/package-lock.json" && [ -d "$tools/node/node_modules" ] && return
  say 'installing jco, componentize-js, typescript and assemblyscript into target/tools/node (npm)'
  cp "$here/package.json" "$here/package-lock.json" "$tools/node/"
  # Not `npm ci`: it insists on every optional package for other machines, which a mirror may not have.
  (cd "$tools/node" && within 400 npm install --no-save --no-audit --no-fund --ignore-scripts) || { rm -rf "$tools/node"; exit 1; }
}

python_package() { # name, version
  need python3 'install Python 3.10 or later with venv'
  [ -x "$tools/python/bin/pip" ] || within 60 python3 -m venv "$tools/python"
  "$tools/python/bin/pip" show "$1" 2>/dev/null | grep -qx "Version: $2" && return
  say "installing $1 $2 into target/tools/python (pip)"
  within 400 "$tools/python/bin/pip" install --quiet "$1==$2"
}

qjs() { # source, in the folder of the build
  (cd "$out" && within 120 "$tools/node/node_modules/.bin/jco" componentize "$1" -w "$root/wit" -n policy \
    --backend qjs --backend-qjs-disable-async --backend-qjs-stub-wasi -o policy.wasm)
}
build_javascript() {
  node_packages
  cp "$here/javascript/policy.js" "$out/"
  qjs policy.js
}
# jco compiles TypeScript too, but its bundler does not find the contract.
build_typescript() {
  node_packages
  cp "$here/typescript/policy.ts" "$out/"
  (cd "$out" && within 60 "$tools/node/node_modules/.bin/tsc" --target es2022 --module es2022 --strict policy.ts)
  qjs policy.js
}

build_python() {
  python_package componentize-py 0.25.1
  cp "$here/python/app.py" "$out/"
  (cd "$out" && within 120 "$tools/python/bin/componentize-py" -d "$root/wit" -w policy componentize app -p . \
    -o policy.wasm --stub-wasi)
}

build_go() {
  need go 'install Go 1.26 or later'
  tool
  within 20 "$tool" bindings go "$root/wit" policy "$out"
  cp -r "$here"/go/* "$out/"
  export GOFLAGS=-mod=readonly GOCACHE=$tools/go-cache GOMODCACHE=$tools/go-modules
  (cd "$out" && GOOS=wasip1 GOARCH=wasm within 400 go build -trimpath -buildmode=c-shared \
    -ldflags='-s -w -buildid= -checklinkname=0' -o core.wasm .)
  within 120 "$tool" preinit "$out/core.wasm" "$out/ready.wasm" warm
  within 60 "$tool" component "$root/wit" policy "$out/ready.wasm" "$out/policy.wasm"
}

clang() {
  for clang in clang-19 clang-20 clang-21 clang; do command -v "$clang" >/dev/null && command -v "${clang/clang/wasm-ld}" >/dev/null && return; done
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || die "$language needs clang and wasm-ld: install the packages clang-19 and lld-19"
  say 'installing the Debian packages clang-19 and lld-19'
  within 400 sh -c 'apt-get update && apt-get install -y --no-install-recommends clang-19 lld-19'
  clang=clang-19
}

# Without a C library; what the bindings use of one the policy has.
freestanding() { # source
  clang; tool
  within 20 "$tool" bindings c "$root/wit" policy "$out"
  local flags=(--target=wasm32 -O2 -fno-builtin -nostdlib "-I$here/c/include" "-I$out")
  local source objects=()
  for source in "$out/policy.c" "$here/c/library.c" "$1"; do
    objects+=("$out/$(basename "${source%.*}").o")
    within 60 "$clang" "${flags[@]}" $([[ $source == *.cpp ]] && echo -std=c++20 -fno-exceptions -fno-rtti) -c "$source" -o "${objects[-1]}"
  done
  within 60 "$clang" "${flags[@]}" -Wl,--no-entry,--stack-first,-z,stack-size=16384,-s -o "$out/core.wasm" \
    "${objects[@]}" "$out/policy_component_type.o"
  within 20 "$tool" component "$root/wit" policy "$out/core.wasm" "$out/policy.wasm"
}
build_c() { freestanding "$here/c/app.c"; }
build_cpp() { freestanding "$here/cpp/app.cpp"; }

build_zig() {
  python_package ziglang 0.17.1
  tool
  export ZIG_LOCAL_CACHE_DIR=$tools/zig-cache ZIG_GLOBAL_CACHE_DIR=$tools/zig-cache
  within 400 "$tools/python/bin/python" -m ziglang build-exe "$here/zig/policy.zig" -target wasm32-freestanding -O ReleaseSmall \
    -fno-entry -rdynamic --stack 16384 -fstrip "-femit-bin=$out/core.wasm"
  within 20 "$tool" component "$root/wit" policy "$out/core.wasm" "$out/policy.wasm"
}

build_assemblyscript() {
  node_packages
  tool
  # No garbage collector: each decision starts with the whole heap.
  within 60 "$tools/node/node_modules/.bin/asc" "$here/assemblyscript/policy.ts" -o "$out/core.wasm" -O2 --runtime stub --use abort= \
    --initialMemory 4 --exportStart _initialize
  within 20 "$tool" rename "$out/core.wasm" "$out/named.wasm" decide verdict:policy/decision@0.1.0#decide
  within 20 "$tool" preinit "$out/named.wasm" "$out/ready.wasm" _initialize
  within 20 "$tool" component "$root/wit" policy "$out/ready.wasm" "$out/policy.wasm"
}

build_rego() {
  need cargo 'install Rust by rustup'
  tool
  say 'compiling regorus (the first time some minutes)'
  # A flag of its own turns the randomness of a host off.
  RUSTFLAGS='--cfg getrandom_backend="custom" -C link-arg=-zstack-size=131072 -C link-arg=--stack-first' \
    within 1200 "${CARGO:-cargo}" build --quiet --release --locked --manifest-path "$here/rego/Cargo.toml" \
    --target wasm32-unknown-unknown --target-dir "$tools/rego"
  within 60 "$tool" preinit "$tools/rego/wasm32-unknown-unknown/release/verdict_language_rego.wasm" "$out/ready.wasm" warm
  within 20 "$tool" component "$root/wit" policy "$out/ready.wasm" "$out/policy.wasm"
}

build() {
  language=$1
  declare -F "build_$language" >/dev/null || die "there is no policy in $language"
  out=$root/target/languages/$language
  # Newer than all that it is made of: nothing to do.
  if [ -f "$out/policy.wasm" ] && [ -z "$(find "$here/$language" "$here/c" "$here/tool" "$here/build.sh" "$root/wit" -newer "$out/policy.wasm" -type f -print -quit)" ]; then return; fi
  rm -rf "$out"; mkdir -p "$out"
  say "building the policy in $language"
  "build_$language"
  say "target/languages/$language/policy.wasm: $(wc -c <"$out/policy.wasm") bytes"
}

case ${1:-} in
  '') die "use: build.sh LANGUAGE, or build.sh all" ;;
  all)
    for folder in "$here"/*/; do
      name=$(basename "$folder")
      [ "$name" = tool ] || bash "$0" "$name" || say "skipped: $name"
    done ;;
  *) build "$1" ;;
esac
