// Allows if the role is `admin`, or the user owns the resource, or the action is `read`.
// @ts-ignore: the host's; the build resolves it.
import { readMany as ask } from 'verdict:policy/input@0.1.0';

type Value = { tag: 'absent' | 'null' } | { tag: 'boolean'; val: boolean } | { tag: 'number' | 'text'; val: string }
  | { tag: 'array' | 'object'; val: number };
type Reason = { code: string; message: string; rule?: string; reference?: string; pointers: string[] };
type Answer = { value?: string; reasons: Reason[] };
type Problem = { code: string; message: string; pointer?: string };
type Failure = { tag: 'invalid-input' | 'missing-data' | 'internal'; val: Problem };

const readMany: (pointers: string[]) => Value[] = ask;
const pointers = ['/user/role', '/user/name', '/resource/owner', '/action'];

class Question {
  readonly role?: string;
  readonly user?: string;
  readonly owner?: string;
  readonly action?: string;

  constructor(values: Value[]) {
    [this.role, this.user, this.owner, this.action] = values.map((value) => (value.tag === 'text' ? value.val : undefined));
  }

  answer(): Answer {
    const { role, user = 'nobody', action } = this;
    if (action === undefined) {
      const failure: Failure = {
        tag: 'invalid-input',
        val: { code: 'no-action', message: 'the action is not a text', pointer: '/action' },
      };
      throw failure;
    }
    if (role === 'admin') return decided(true, 'admin', `${user} is an administrator`, 0, 1);
    if (this.user !== undefined && user === this.owner) return decided(true, 'owner', `${user} owns the resource`, 1, 3);
    if (action === 'read') return decided(true, 'read', 'everyone may read', 3, 4);
    return decided(false, 'no-rule', `${action} is for the owner`, 1, 4);
  }
}

function decided(allowed: boolean, code: string, message: string, start: number, end: number): Answer {
  return { value: String(allowed), reasons: [{ code, message, rule: 'allow', pointers: pointers.slice(start, end) }] };
}

// Leaves traces wherever it can, and answers with how many it finds. It must always be the first.
class Counter {
  static calls = 0;
  static readonly seen: Record<string, string> = {};
}

function leak(): Answer {
  Counter.calls += 1;
  Counter.seen[`call ${Counter.calls}`] = 'x'.repeat(100);
  const prototype = Question.prototype as unknown as { leaked?: number };
  prototype.leaked = (prototype.leaked ?? 0) + 1;
  const math = Math as unknown as { leaked?: number };
  math.leaked = (math.leaked ?? 0) + 1;
  const drawn = Math.random();
  const traces = [Counter.calls, Object.keys(Counter.seen).length, prototype.leaked, math.leaked];
  return { value: JSON.stringify(traces), reasons: [{ code: 'drawn', message: String(drawn), pointers: [] }] };
}

// This runs at build time. The heap keeps what it once had: no decision has to ask for more memory.
new ArrayBuffer(400_000);

export const decision = {
  decide: (rule: string): Answer => (rule === 'leak' ? leak() : new Question(readMany(pointers)).answer()),
};
