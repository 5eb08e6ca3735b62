"""What a client of OPA for Python gets from a server, as one JSON object: `client.py HOST PORT`.

In every line the same is asked, whatever answers."""

import asyncio
import json
import sys

from opa_client.opa import OpaClient
from opa_client.opa_async import AsyncOpaClient

host, port = sys.argv[1], int(sys.argv[2])
INPUTS = {
    "admin": {"user": "alice", "action": "read", "type": "dog"},
    "billing": {"user": "bob", "action": "read", "type": "finance"},
    "customer": {"user": "eve", "action": "adopt", "type": "cat"},
    "nobody": {"user": "frank", "action": "read", "type": "dog"},
}
# What differs from one answer to the next, and what says how it came about.
CHANGES = ("decision_id", "metrics", "provenance", "verdict/decision_ids")
said = {}


def plain(answer):
    if isinstance(answer, dict) and "result" in answer:
        return {name: value for name, value in answer.items() if name not in CHANGES}
    return answer


def ask(name, question):
    try:
        said[name] = {"answer": plain(question())}
    except Exception as error:  # the kind of error is what is compared
        said[name] = {"error": type(error).__name__, "code": getattr(error, "expression", None)}


with OpaClient(host=host, port=port, timeout=20) as client:
    ask("connection", client.check_connection)
    ask("ready", lambda: client.wait_for_ready(timeout=5, query={"bundles": "true", "plugins": "true"}))
    ask("health", client.check_health)
    for name, given in INPUTS.items():
        ask(f"rule {name}", lambda: client.query_rule(given, "role_based_access", "allow"))
        ask(f"package {name}", lambda: client.query_rule(given, "role_based_access"))
    ask("parameters", lambda: client.query_rule(
        INPUTS["admin"], "role_based_access", "allow", {"metrics": "true", "provenance": "true", "pretty": "true"}))
    ask("nothing there", lambda: client.query_rule({}, "nosuch.thing"))
    ask("data", lambda: client.get_data("user_roles"))
    ask("data inside", lambda: client.get_data("role_grants/customer/0"))
    ask("no data", lambda: client.get_data("nosuch"))
    ask("put data", lambda: client.update_or_create_data({"a": 1}, "user_roles"))
    ask("patch data", lambda: client.patch_data("user_roles", [{"op": "add", "path": "/x", "value": 1}]))
    ask("delete data", lambda: client.delete_data("user_roles"))
    ask("put a policy", lambda: client.update_policy_from_string("package a\n\nb := 1\n", "a"))
    ask("no policy", lambda: client.get_policy("nosuch"))
    ask("policies", lambda: len(client.get_policies_list()))
    ask("rules", lambda: [
        [path.replace(f":{port}", "") for path in (policy["path"], *sorted(policy["rules"]))]
        for policy in client.get_policies_info().values()
    ])
    ask("a policy", lambda: [
        client.get_policy(name)["result"]["ast"]["package"] for name in client.get_policies_list()
    ])
    ask("configuration", lambda: client.get_config()["result"]["default_decision"])


async def at_once():
    async with AsyncOpaClient(host=host, port=port) as client:
        questions = [client.query_rule(given, "role_based_access", "allow") for given in INPUTS.values()]
        return [plain(answer) for answer in await asyncio.gather(*questions)]


ask("at once", lambda: asyncio.run(at_once()))
print(json.dumps(said))
