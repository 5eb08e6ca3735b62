#!/usr/bin/env bash
# A bank changes how it lends. An author publishes, two others approve, it goes to staging and then to production, a new
# version misbehaves and is rolled back, and an auditor sees all of it. Everybody works from afar, with one server and a
# key of their own for it; a second host follows the first, and a branch without a network gets all of it in one file.
# Everything goes below target/bank; the keys are not encrypted, which is for a demonstration only.
set -euo pipefail
cd "$(dirname "$0")/.."

source=$PWD
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
unset CARGO_TARGET_DIR VERDICT_SERVER VERDICT_TOKEN
rm -rf "$bank"
mkdir -p "$bank"/{access,branch-host,host,second,tokens}
cd "$bank"

say 'People and their keys'
key() { verdict keys new --unencrypted --key-only --role "$1" --person "$2" --out "keys/$2" --json | jq -r .public; }
alice=$(key author alice) bob=$(key approver bob) carol=$(key approver carol) rita=$(key releaser rita)
vera=$(key revoker vera) dina=$(key data-signer dina) root=$(key root root) night=$(key releaser night)
echo "alice writes, bob and carol approve, rita releases, vera revokes, dina signs data, and a root key says so ($root)"

say 'Who may do what: signed by the root key, which hosts pin. The server may release, too, for the hours of the night'
expires=$(date -u -d '+300 days' +%Y-%m-%dT00:00:00Z 2>/dev/null || date -u -v+300d +%Y-%m-%dT00:00:00Z)
mkdir trust
jq -n --arg alice "$alice" --arg bob "$bob" --arg carol "$carol" --arg rita "$rita" --arg vera "$vera" --arg dina "$dina" \
  --arg night "$night" --arg root "$root" --arg expires "$expires" '
  def grant($person; $public): {person: $person, public: $public, policies: ["bank/*"]};
  {format: "verdict-trust/1", version: 1, expires: $expires, root: {keys: [$root], threshold: 1},
   authors: [grant("alice"; $alice)], approvers: [grant("bob"; $bob), grant("carol"; $carol)],
   releasers: [grant("rita"; $rita), grant("night"; $night)],
   data_signers: [grant("dina"; $dina)], revokers: [{person: "vera", public: $vera}],
   rules: [{policies: ["bank/*"], channels: ["production"], approvals: 2, releases: 1},
           {policies: ["bank/*"], approvals: 1, releases: 1}]}' >trust/trust.json
verdict trust init trust --key keys/root/root.key
verdict revoke --trust trust --key keys/vera/revoker.key
for pinned in host second branch-host; do cp trust/roots.json "$pinned/roots.json"; done

say 'What a server lets whom do is decided by a policy, too: built, signed, and pinned by its digest'
verdict keys new --unencrypted --person operator --policies 'system/*' --out access/keys
verdict build "$source/guest-policies/library/api-access" --out access/policy/api-access
component=$(verdict sign access/policy/api-access --key access/keys/author.key --json | jq -r .component)

servers=()
start() { # NAME ARGUMENTS: starts a host, and says where it listens
  local name=$1
  shift
  : >"$name/out" # there from the start, for whoever reads it
  verdict serve "$@" --roots "$name/roots.json" --listen 127.0.0.1:0 >"$name/out" 2>"$name/log" &
  servers+=($!)
  for _ in $(seq 150); do
    address=$(sed -n 's/^listening on \([0-9.:]*\).*/\1/p' "$name/out" | head -1)
    [ -n "$address" ] && return
    kill -0 $! 2>/dev/null || { cat "$name/log" >&2; die "$name did not start"; }
    sleep 0.2
  done
  die "$name does not listen"
}
trap 'kill "${servers[@]}" 2>/dev/null; wait 2>/dev/null || true' EXIT

say 'One server: a registry, and a host that follows it'
start host --registry catalogue.db --store blobs --activation-key keys/night/releaser.key --break-glass glass.sock \
  --access access/policy --access-trust access/keys/trust.json --access-component "$component"
export VERDICT_SERVER=http://$address

say 'Its owner lets people in, over a socket that only the owner can open; then nobody needs that any more'
verdict trust put trust --server unix:glass.sock
verdict tenants create bank --description 'A bank' --server unix:glass.sock
let_in() { # PERSON ROLE: makes an API key, of which the server keeps the hash
  verdict api-keys create --person "$1" --role "$2" "${@:3}" --out "tokens/$1" --server unix:glass.sock >/dev/null
}
let_in alice publisher --tenant bank
for person in bob carol; do let_in "$person" approver --tenant bank; done
for person in rita dina; do let_in "$person" operator --tenant bank; done
let_in olga auditor --tenant bank
for program in shop second-host; do let_in "$program" agent --tenant bank; done
let_in vera system_admin
as() { local person=$1; shift; verdict "$@" --token-file "tokens/$person"; }
as olga api-keys list

publish() { # VERSION: builds, signs, and pushes what was built
  sed -i.old "s/^version = .*/version = \"$1\"/" loan/policy.toml
  verdict build loan --out "built/loan-$1"
  verdict sign "built/loan-$1" --key keys/alice/author.key
  as alice push "built/loan-$1"
}
approve() { as "$1" approve "bank/loan@$2" --key "keys/$1/approver.key" "${@:3}"; }
release() { as rita "$@" --key keys/rita/releaser.key --roots trust/roots.json; }

say 'Alice publishes 1.0.0; Bob approves it; Rita releases it to staging'
verdict new bank/loan
publish 1.0.0
approve bob 1.0.0 --comment 'the limits are those of the board'
release activate bank/loan 1.0.0 --channel staging

say 'For production one approval is too few, and the release is refused'
if release promote bank/loan --from staging --channel production; then die 'it was released with one approval'; fi
approve carol 1.0.0
release promote bank/loan --from staging --channel production
as olga versions bank/loan@1.0.0

say 'What somebody may not do, the server does not let them: Olga reads, and Rita approves nothing'
if as olga approve bank/loan@1.0.0 --key keys/bob/approver.key; then die 'an auditor attached an approval'; fi
if as rita tenants create other; then die 'an operator made a tenant'; fi

say 'A second host follows the first over the network'
first=$VERDICT_SERVER
start second --follow "$first" --follow-token-file tokens/second-host
second=http://$address
ask() { curl -sS --max-time 10 -H "authorization: Bearer $(cat tokens/shop)" -d '{"input": {"user": "maya", "action": "read", "owner": "otto"}}' "${2:-$first}/v1/tenants/bank/policies/loan/decide${1:-}"; }
until_version() { # VERSION HOST: waits for it, and says how long that took
  local began
  began=$(date +%s%N)
  for _ in $(seq 400); do
    [ "$(ask '' "$2" | jq -r .version)" = "$1" ] && { echo "after $((($(date +%s%N) - began) / 1000000)) ms version $1 answers at $2"; return; }
    sleep 0.02
  done
  die "version $1 does not answer at $2"
}
until_version 1.0.0 "$first"
until_version 1.0.0 "$second"
ask; echo

say 'Alice publishes 1.1.0, which misbehaves; both approve; half of the customers get it, and a guard watches'
sed -i.old 's/^fn allow(.*/&\n    panic!("nobody tried this");/' loan/src/lib.rs
publish 1.1.0
approve bob 1.1.0
approve carol 1.1.0
release activate bank/loan 1.0.0=1 1.1.0=1 --guard-faults 0.05 --guard-after 20
sleep 1
for _ in $(seq 100); do ask | jq -r 'if .fault then "fault in \(.version)" else "answer of \(.version)" end'; done | sort | uniq -c
curl -sS --max-time 10 -H "authorization: Bearer $(cat tokens/olga)" "$first/v1/policies" | jq -c '.policies[] | {version, channel, weight, reverted}'

say 'Somebody releases 1.1.0 to everybody all the same; at night nobody has a key, and the server signs the way back'
release activate bank/loan 1.1.0
until_version 1.1.0 "$first"
until_version 1.1.0 "$second"
as rita rollback bank/loan --to 1.0.0 --by-server
until_version 1.0.0 "$first"
until_version 1.0.0 "$second"

say '1.1.0 is revoked, so that it never answers again'
as vera revoke --key keys/vera/revoker.key --release bank/loan@1.1.0 --roots trust/roots.json
if release activate bank/loan 1.1.0; then die 'a revoked version was released'; fi

say 'The bank has data: Dina puts it, and changes one number; what was read before can still be read'
echo '{"limits": {"loan": 10000, "overdraft": 500.00}}' >limits.json
echo '[{"op": "replace", "path": "/limits/loan", "value": 12000}]' >raise.json
as dina data put bank limits.json --key keys/dina/data-signer.key --roots trust/roots.json
as dina data patch bank raise.json --key keys/dina/data-signer.key --roots trust/roots.json
[ "$(as olga data get bank /limits)" = '{"loan":12000,"overdraft":500.00}' ] || die 'the patch went wrong'
[ "$(as olga data get bank /limits/loan --sequence 1)" = 10000 ] || die 'the first snapshot changed'
as olga data history bank

say 'A branch without a network gets all of it in one file, and checks it from the same root key'
audit() { curl -fsS --max-time 10 -H "authorization: Bearer $(cat tokens/olga)" "$@"; }
audit -o checkpoint "$first/v1/tenants/bank/log/checkpoint"
as olga bundle save bank.tar --checkpoint checkpoint
as olga bundle save again.tar --checkpoint checkpoint >/dev/null
cmp bank.tar again.tar || die 'the same registry gave another bundle'
verdict bundle load bank.tar --roots branch-host/roots.json --registry branch
LC_ALL=C sed 's/"sequence":4/"sequence":5/; s/overdraft/overdrawn/' bank.tar >changed.tar
if verdict bundle verify changed.tar --roots branch-host/roots.json; then die 'a changed bundle was accepted'; fi

say 'There it is a folder, which a host follows and the same commands work on'
start branch-host --follow branch
until_version 1.0.0 "http://$address"
verdict rollback bank/loan --to 1.0.0 --registry branch --roots branch-host/roots.json --key keys/rita/releaser.key
verdict channels --registry branch

say 'What the auditor sees: every state, signed, every event, and a decision with the state that chose its version'
as olga channels --history
as olga events --tenant bank
curl -sS --max-time 10 -H "authorization: Bearer $(cat tokens/shop)" -o decision.json \
  -d '{"id": "audited", "input": {"user": "maya", "action": "read", "owner": "otto"}}' "$first/v1/tenants/bank/policies/loan/decide"
jq -c '{decision_id, version, channel, sequence, allow}' decision.json
audit -o receipt.json "$first/v1/tenants/bank/decisions/audited/receipt"
verdict receipt verify receipt.json --log-key host/state/keys/bank.vkey
echo; echo 'bank: done'
