// Allows if the role is `admin`, or the user owns the resource, or the action is `read`.
import { readMany } from 'verdict:policy/input@0.1.0';

const POINTERS = ['/user/role', '/user/name', '/resource/owner', '/action'];

const text = (value) => (value.tag === 'text' ? value.val : undefined);

const reason = (code, message, pointers) => ({
  code, message, rule: 'allow', reference: undefined, pointers,
});

const answer = (allowed, reason) => ({ value: String(allowed), reasons: [reason] });

const invalid = (code, message, pointer) => ({ tag: 'invalid-input', val: { code, message, pointer } });

function allow(readMany) {
  const [role, user, owner, action] = readMany(POINTERS).map(text);
  if (action === undefined) throw invalid('no-action', 'the action is not a text', '/action');
  if (role === 'admin') return answer(true, reason('admin', `${user ?? 'nobody'} is an administrator`, ['/user/role']));
  if (user !== undefined && user === owner) {
    return answer(true, reason('owner', `${user} owns the resource`, ['/user/name', '/resource/owner']));
  }
  if (action === 'read') return answer(true, reason('read', 'everyone may read', ['/action']));
  return answer(false, reason('no-rule', `${action} is for the owner`, ['/user/name', '/resource/owner', '/action']));
}

// Leaves traces wherever it can, and answers with how many it finds. It must always be the first.
let calls = 0;
const seen = new Map();

function leak() {
  calls += 1;
  seen.set(seen.size, 'x'.repeat(100));
  globalThis.leaked = (globalThis.leaked ?? 0) + 1;
  Object.prototype.leaked = (Object.prototype.leaked ?? 0) + 1;
  Array.prototype.map.calls = (Array.prototype.map.calls ?? 0) + 1;
  POINTERS.push('/leaked');
  const traces = [calls, seen.size, globalThis.leaked, [].leaked, Array.prototype.map.calls, POINTERS.length - 4];
  delete Object.prototype.leaked;
  Object.prototype.trace = calls;
  return { value: JSON.stringify(traces), reasons: [] };
}

// This runs at build time. The heap keeps what it once had: no decision has to ask for more memory.
new ArrayBuffer(400_000);

export const decision = {
  decide: (rule) => (rule === 'leak' ? leak() : allow(readMany)),
};
