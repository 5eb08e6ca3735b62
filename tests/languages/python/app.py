"""Allows if the role is `admin`, or the user owns the resource, or the action is `read`."""

import builtins
import json
import random

from componentize_py_types import Err
from wit_world.exports import Decision
from wit_world.exports.decision import Answer, Failure_InvalidInput, Problem, Reason
from wit_world.imports import input as document

POINTERS = ["/user/role", "/user/name", "/resource/owner", "/action"]


def text(value):
    return value.value if isinstance(value, document.Value_Text) else None


def answer(allowed, code, message, pointers):
    return Answer("true" if allowed else "false", [Reason(code, message, "allow", None, pointers)])


def allow():
    role, user, owner, action = map(text, document.read_many(POINTERS))
    if action is None:
        raise Err(Failure_InvalidInput(Problem("no-action", "the action is not a text", "/action")))
    if role == "admin":
        return answer(True, "admin", f"{user or 'nobody'} is an administrator", ["/user/role"])
    if user is not None and user == owner:
        return answer(True, "owner", f"{user} owns the resource", ["/user/name", "/resource/owner"])
    if action == "read":
        return answer(True, "read", "everyone may read", ["/action"])
    return answer(False, "no-rule", f"{action} is for the owner", ["/user/name", "/resource/owner", "/action"])


# Leaves traces wherever it can, and answers with how many it finds. It must always be the first.
calls = 0
seen = []


def leak():
    global calls
    calls += 1
    seen.append({"text": "x" * 100})
    builtins.leaked = getattr(builtins, "leaked", 0) + 1
    json.leaked = getattr(json, "leaked", 0) + 1
    Reason.leaked = getattr(Reason, "leaked", 0) + 1
    drawn = random.random()
    traces = [calls, len(seen), builtins.leaked, json.leaked, Reason.leaked]
    seen.append(drawn)
    return Answer(json.dumps(traces), [Reason("drawn", repr(drawn), None, None, [])])


class Decision(Decision):
    def decide(self, rule: str) -> Answer:
        return leak() if rule == "leak" else allow()
