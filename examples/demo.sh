#!/usr/bin/env bash
# The main job on embedded defaults: keys, signed policies, a server, real questions, a receipt that is verified by two
# programs, a decision that is made again. Everything goes below target/demo.
set -euo pipefail
cd "$(dirname "$0")/.."

STAY=${STAY:-1}
demo=$PWD/target/demo
library=$PWD/guest-policies/library
export CARGO_TARGET_DIR=$PWD/target

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }
command -v curl >/dev/null || die 'curl is missing; install it (Debian: apt-get install curl) and run `make demo` again'

say 'Building the command `verdict` (the first time this compiles wasmtime: some minutes)'
cargo build --quiet -p verdict-cli -p verdict-sdk
PATH=$PWD/target/debug:$PATH
unset CARGO_TARGET_DIR

rm -rf "$demo"
mkdir -p "$demo/policies" "$demo/data"
say 'Keys: an author, and a trust file that lets this author publish in the tenant `default`'
verdict keys new --unencrypted --out "$demo/keys" --person demo-author

say 'Policies: build, sign'
for folder in "$library"/*/; do
  name=$(basename "$folder")
  # It decides about Verdict's own API, in a host of its own (`serve --access`).
  [ "$name" != api-access ] || continue
  verdict build "$folder" --out "$demo/policies/$name"
  verdict sign "$demo/policies/$name" --key "$demo/keys/author.key"
done
# What the policies that ask for it may read of the tenant's data.
cp examples/data/default.json "$demo/data/default.json"

say 'The server'
serve=(verdict serve "$demo/policies" --trust "$demo/keys/trust.json" --state "$demo/state" --data "$demo/data")
"${serve[@]}" --listen "127.0.0.1:${PORT:-8181}" >"$demo/server.out" 2>"$demo/server.log" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT
wait_for_server() {
  for _ in $(seq 150); do
    base=$(sed -n 's/^listening on \([0-9.:]*\).*/http:\/\/\1/p' "$demo/server.out" | head -1)
    [ -n "$base" ] && curl -fsS -o /dev/null "$base/health/ready" 2>/dev/null && return 0
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.2
  done
  return 1
}
if ! wait_for_server; then
  if grep -q 'in use' "$demo/server.log" && [ -z "${PORT:-}" ]; then
    echo 'port 8181 is taken; using a free one'
    "${serve[@]}" --listen 127.0.0.1:0 >"$demo/server.out" 2>"$demo/server.log" &
    server=$!
    wait_for_server || { cat "$demo/server.log" >&2; die 'the server did not start'; }
  else
    cat "$demo/server.log" >&2
    die 'the server did not start'
  fi
fi
echo "listening on $base"

ask() { # NAME BODY
  printf '\n\033[36m? %s\033[0m %s\n' "$1" "$2"
  curl -sS --max-time 10 -H 'content-type: application/json' -d "$2" "$base/v1/tenants/default/policies/$1/decide"
  echo
}

say 'Questions'
ask role-based-access '{"input": {"user": "alice", "action": "read", "type": "dog"}}'
ask role-based-access '{"input": {"user": "eve", "action": "update", "type": "dog"}}'
ask loan-eligibility "$(cat examples/questions/loan.json)"
ask kubernetes-admission "$(cat examples/questions/privileged-pod.json)"
ask document-sharing "$(cat examples/questions/document.json)"
ask agent-guardrail "$(cat examples/questions/agent.json)"
echo
echo 'A fault is never an answer; this input lacks what the rule needs:'
ask role-based-access '{"input": {"user": 7}}'

say 'A receipt, verified offline'
printf '{"user": "alice", "action": "update", "type": "cat"}' >"$demo/input.json"
curl -sS --max-time 10 -o "$demo/decision.json" -H 'content-type: application/json' \
  -d "{\"id\": \"demo-1\", \"input\": $(cat "$demo/input.json")}" "$base/v1/tenants/default/policies/role-based-access/decide"
cat "$demo/decision.json"; echo
curl -fsS --max-time 10 -o "$demo/receipt.json" "$base/v1/tenants/default/decisions/demo-1/receipt"
verdict receipt verify "$demo/receipt.json" --log-key "$demo/state/keys/default.vkey" --input "$demo/input.json"
if command -v go >/dev/null; then
  echo 'and by a Go program that shares no code with Verdict:'
  (cd tests/verifier && go build -o "$demo/verifier" .) \
    && "$demo/verifier" "$demo/receipt.json" "$(cat "$demo/state/keys/default.vkey")" --input "$demo/input.json"
fi

say 'The decision, made again from the receipt, the input, the artifact and the data'
verdict replay --receipt "$demo/receipt.json" --input "$demo/input.json" \
  --artifact "$demo/policies/role-based-access" --data "$demo/data/default.json"

say 'How to go on'
cat <<END
  curl -d '{"input": {"user": "bob", "action": "read", "type": "cat"}}' $base/v1/tenants/default/policies/role-based-access/decide
  curl $base/v1/policies                               # what is loaded, what was refused
  curl $base/v1/tenants/default/log/checkpoint         # the signed head of the log
  target/debug/verdict receipt show target/demo/receipt.json
  target/debug/verdict new my-policy                   # a policy of your own: see README.md
END
if [ "$STAY" = 0 ]; then
  echo; echo 'demo: done'
else
  echo; echo 'The server stays up until you press Ctrl-C.'
  wait "$server" || true
fi
