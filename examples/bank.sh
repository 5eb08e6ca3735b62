#!/usr/bin/env bash
# A bank changes how it lends. An author publishes, two others approve, it goes to staging and then to production, a new
# version misbehaves and is rolled back, and an auditor sees all of it. Everything goes below target/bank; the keys are
# not encrypted, which is for a demonstration only.
set -euo pipefail
cd "$(dirname "$0")/.."

bank=${BANK:-$PWD/target/bank}
export CARGO_TARGET_DIR=$PWD/target
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
die() { printf 'bank: %s\n' "$*" >&2; exit 1; }
for tool in curl jq; do command -v "$tool" >/dev/null || die "$tool is missing; install it (Debian: apt-get install $tool)"; done

if [ -z "${VERDICT:-}" ]; then # the command, where it is built already
  say 'Building the command `verdict` (the first time this compiles wasmtime: some minutes)'
  cargo build --quiet -p verdict-cli -p verdict-sdk
  VERDICT=$PWD/target/debug/verdict
fi
PATH=$(dirname "$VERDICT"):$PATH
unset CARGO_TARGET_DIR
rm -rf "$bank"
mkdir -p "$bank/registry" "$bank/host"
cd "$bank"

say 'People and their keys'
key() { verdict keys new --unencrypted --key-only --role "$1" --person "$2" --out "keys/$2" --json | jq -r .public; }
alice=$(key author alice) bob=$(key approver bob) carol=$(key approver carol) rita=$(key releaser rita)
vera=$(key revoker vera) dina=$(key data-signer dina) root=$(key root root)
echo "alice writes, bob and carol approve, rita releases, vera revokes, dina signs data, and a root key says so ($root)"

say 'Who may do what: signed by the root key, which hosts pin'
expires=$(date -u -d '+300 days' +%Y-%m-%dT00:00:00Z 2>/dev/null || date -u -v+300d +%Y-%m-%dT00:00:00Z)
mkdir -p registry/trust
jq -n --arg alice "$alice" --arg bob "$bob" --arg carol "$carol" --arg rita "$rita" --arg vera "$vera" --arg dina "$dina" \
  --arg root "$root" --arg expires "$expires" '
  def grant($person; $public): {person: $person, public: $public, policies: ["bank/*"]};
  {format: "verdict-trust/1", version: 1, expires: $expires, root: {keys: [$root], threshold: 1},
   authors: [grant("alice"; $alice)], approvers: [grant("bob"; $bob), grant("carol"; $carol)],
   releasers: [grant("rita"; $rita)], data_signers: [grant("dina"; $dina)], revokers: [{person: "vera", public: $vera}],
   rules: [{policies: ["bank/*"], channels: ["production"], approvals: 2, releases: 1},
           {policies: ["bank/*"], approvals: 1, releases: 1}]}' >registry/trust/trust.json
verdict trust init registry/trust --key keys/root/root.key
verdict revoke --trust registry/trust --key keys/vera/revoker.key
cp registry/trust/roots.json host/roots.json

publish() { # VERSION: builds, signs, and lays the artifact into the registry
  sed -i.old "s/^version = .*/version = \"$1\"/" loan/policy.toml
  verdict build loan --out "registry/loan-$1"
  verdict sign "registry/loan-$1" --key keys/alice/author.key
}
release() { verdict "$@" --registry registry --key keys/rita/releaser.key; }

say 'Alice publishes 1.0.0; Bob approves it; Rita releases it to staging'
verdict new bank/loan
publish 1.0.0
verdict approve registry/loan-1.0.0 --key keys/bob/approver.key --comment 'the limits are those of the board'
release activate bank/loan 1.0.0 --channel staging

say 'For production one approval is too few, and the release is refused'
if release promote bank/loan --from staging --channel production; then die 'it was released with one approval'; fi
verdict approve registry/loan-1.0.0 --key keys/carol/approver.key
release promote bank/loan --from staging --channel production

say 'A host that pins the root key follows the registry'
verdict serve --follow registry --roots host/roots.json --listen 127.0.0.1:0 >server.out 2>server.log &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT
base=
for _ in $(seq 150); do
  base=$(sed -n 's/^listening on \([0-9.:]*\).*/http:\/\/\1/p' server.out | head -1)
  [ -n "$base" ] && curl -fsS -o /dev/null "$base/health/ready" 2>/dev/null && break
  kill -0 "$server" 2>/dev/null || { cat server.log >&2; die 'the server did not start'; }
  sleep 0.2
done
ask() { curl -sS --max-time 10 -d '{"input": {"user": "maya", "action": "read", "owner": "otto"}}' "$base/v1/tenants/bank/policies/loan/decide${1:-}"; }
version() { ask "${1:-}" | jq -r '.version'; }
until_version() { # VERSION: waits for it, and says how long that took
  local began
  began=$(date +%s%N)
  for _ in $(seq 400); do
    [ "$(version)" = "$1" ] && { echo "after $((($(date +%s%N) - began) / 1000000)) ms version $1 answers"; return; }
    sleep 0.02
  done
  die "version $1 does not answer"
}
ask; echo

say 'Alice publishes 1.1.0, which misbehaves; both approve; half of the customers get it, and a guard watches'
sed -i.old 's/^fn allow(.*/&\n    panic!("nobody tried this");/' loan/src/lib.rs
publish 1.1.0
verdict approve registry/loan-1.1.0 --key keys/bob/approver.key
verdict approve registry/loan-1.1.0 --key keys/carol/approver.key
release activate bank/loan 1.0.0=1 1.1.0=1 --guard-faults 0.05 --guard-after 20
sleep 1
for _ in $(seq 100); do ask | jq -r 'if .fault then "fault in \(.version)" else "answer of \(.version)" end'; done | sort | uniq -c
curl -sS "$base/v1/policies" | jq -c '.policies[] | {version, channel, weight, reverted}'

say 'Somebody releases 1.1.0 to everybody all the same; Rita rolls back'
release activate bank/loan 1.1.0
until_version 1.1.0
release rollback bank/loan --to 1.0.0
until_version 1.0.0

say '1.1.0 is revoked, so that it never answers again'
verdict revoke --trust registry/trust --key keys/vera/revoker.key --release bank/loan@1.1.0
if release activate bank/loan 1.1.0; then die 'a revoked version was released'; fi

say 'The bank has data: Dina puts it, and changes one number; what was read before can still be read'
echo '{"limits": {"loan": 10000, "overdraft": 500.00}}' >limits.json
echo '[{"op": "replace", "path": "/limits/loan", "value": 12000}]' >raise.json
verdict data put bank limits.json --registry registry --key keys/dina/data-signer.key
verdict data patch bank raise.json --registry registry --key keys/dina/data-signer.key
[ "$(verdict data get bank /limits --registry registry)" = '{"loan":12000,"overdraft":500.00}' ] || die 'the patch went wrong'
[ "$(verdict data get bank /limits/loan --registry registry --sequence 1)" = 10000 ] || die 'the first snapshot changed'
verdict data history bank --registry registry

say 'A branch without a network gets all of it in one file, and checks it from the same root key'
curl -fsS --max-time 10 -o checkpoint "$base/v1/tenants/bank/log/checkpoint"
verdict bundle save bank.tar --registry registry --checkpoint checkpoint
verdict bundle save again.tar --registry registry --checkpoint checkpoint >/dev/null
cmp bank.tar again.tar || die 'the same registry gave another bundle'
verdict bundle load bank.tar --roots host/roots.json --registry branch
LC_ALL=C sed 's/"sequence":4/"sequence":5/; s/overdraft/overdrawn/' bank.tar >changed.tar
if verdict bundle verify changed.tar --roots host/roots.json; then die 'a changed bundle was accepted'; fi

say 'What the auditor sees: every state, signed, and a decision with the state that chose its version'
verdict channels --registry registry --history
curl -sS --max-time 10 -o decision.json -d '{"id": "audited", "input": {"user": "maya", "action": "read", "owner": "otto"}}' \
  "$base/v1/tenants/bank/policies/loan/decide"
jq -c '{decision_id, version, channel, sequence, allow}' decision.json
curl -fsS --max-time 10 -o receipt.json "$base/v1/tenants/bank/decisions/audited/receipt"
verdict receipt verify receipt.json --log-key host/state/keys/bank.vkey
echo; echo 'bank: done'
