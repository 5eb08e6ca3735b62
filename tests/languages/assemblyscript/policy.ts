// Allows if the role is `admin`, or the user owns the resource, or the action is `read`.
//
// Written against the canonical ABI itself, without generated bindings: what the contract is in memory.

// @ts-ignore: decorator
@external("verdict:policy/input@0.1.0", "read-many")
declare function readMany(pointers: usize, count: i32, values: usize): void;

const TEXT: u8 = 4;
const INVALID_INPUT: u8 = 0;
const VALUE_BYTES: usize = 12;

export function cabi_realloc(old: usize, oldSize: usize, align: usize, size: usize): usize {
  return heap.alloc(size);
}

// A text as the host has it: where its bytes are, and how many.
@unmanaged
class Utf8 {
  at: usize;
  length: usize;
}

function lowered(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}

function store(at: usize, text: string): void {
  const bytes = lowered(text);
  const copy = heap.alloc(bytes.byteLength);
  memory.copy(copy, changetype<usize>(bytes), bytes.byteLength);
  const utf8 = changetype<Utf8>(at);
  utf8.at = copy;
  utf8.length = bytes.byteLength;
}

function storeOption(at: usize, text: string | null): void {
  store_u8(at, text === null ? 0 : 1);
  if (text !== null) store(at + 4, text);
}

function store_u8(at: usize, byte: u8): void {
  memory.fill(at, byte, 1);
}

function load_text(value: usize): string | null {
  if (load<u8>(value) != TEXT) return null;
  const utf8 = changetype<Utf8>(value + 4);
  return String.UTF8.decodeUnsafe(utf8.at, utf8.length);
}

function storePointers(pointers: string[]): usize {
  const list = heap.alloc(pointers.length * 8);
  for (let i = 0; i < pointers.length; i++) store(list + i * 8, pointers[i]);
  return list;
}

const POINTERS = ["/user/role", "/user/name", "/resource/owner", "/action"];
const decided = heap.alloc(40);

function answer(value: string, count: i32, code: string, message: string, pointers: string[]): usize {
  store_u8(decided, 0);
  storeOption(decided + 4, value);
  const reason = heap.alloc(48);
  store(reason, code);
  store(reason + 8, message);
  storeOption(reason + 16, "allow");
  storeOption(reason + 28, null);
  const list = changetype<Utf8>(reason + 40);
  list.at = storePointers(pointers);
  list.length = pointers.length;
  const reasons = changetype<Utf8>(decided + 16);
  reasons.at = reason;
  reasons.length = count;
  return decided;
}

function invalid(code: string, message: string, pointer: string): usize {
  store_u8(decided, 1);
  store_u8(decided + 4, INVALID_INPUT);
  store(decided + 8, code);
  store(decided + 16, message);
  storeOption(decided + 24, pointer);
  return decided;
}

function allow(): usize {
  const values = changetype<Utf8>(heap.alloc(8));
  readMany(storePointers(POINTERS), POINTERS.length, changetype<usize>(values));
  const role = load_text(values.at);
  const user = load_text(values.at + VALUE_BYTES);
  const owner = load_text(values.at + 2 * VALUE_BYTES);
  const action = load_text(values.at + 3 * VALUE_BYTES);
  if (action === null) return invalid("no-action", "the action is not a text", "/action");
  if (role !== null && role == "admin") {
    const name: string = user === null ? "nobody" : user;
    return answer("true", 1, "admin", name + " is an administrator", POINTERS.slice(0, 1));
  }
  if (user !== null && owner !== null && user == owner) {
    return answer("true", 1, "owner", user + " owns the resource", POINTERS.slice(1, 3));
  }
  if (action == "read") return answer("true", 1, "read", "everyone may read", POINTERS.slice(3));
  return answer("false", 1, "no-rule", action + " is for the owner", POINTERS.slice(1));
}

// Leaves traces in a global, in a map and in the heap, and answers with how many it finds. It must always be the first.
let calls = 0;
const seen = new Map<i32, string>();
let next: (n: i32) => i32 = (n: i32) => n + 1;

function leak(): usize {
  calls += 1;
  seen.set(seen.size, "x".repeat(100));
  const third = next(0);
  next = (n: i32) => n + 2;
  const value = "[" + calls.toString() + "," + seen.size.toString() + "," + third.toString() + "]";
  return answer(value, 0, "", "", []);
}

export function decide(rule: usize, length: usize): usize {
  return String.UTF8.decodeUnsafe(rule, length) == "leak" ? leak() : allow();
}
