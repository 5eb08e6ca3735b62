//! Allows if the role is `admin`, or the user owns the resource, or the action is `read`.
//!
//! Written against the canonical ABI itself, without generated bindings: what the contract is in memory.
const std = @import("std");

const contract = "verdict:policy/decision@0.1.0#decide";

// What crosses the border, as the canonical ABI lays it out.
const Text = extern struct {
    bytes: [*]const u8,
    length: usize,

    fn of(bytes: []const u8) Text {
        return .{ .bytes = bytes.ptr, .length = bytes.len };
    }
    fn slice(self: Text) []const u8 {
        return self.bytes[0..self.length];
    }
};
const OptionText = extern struct { some: bool = false, text: Text = .{ .bytes = undefined, .length = 0 } };
const Value = extern struct { tag: u8, text: Text };
const Reason = extern struct { code: Text, message: Text, rule: OptionText, reference: OptionText, pointers: [*]const Text, count: usize };
const Answer = extern struct { value: OptionText, reasons: [*]const Reason, count: usize };
const Problem = extern struct { tag: u8, code: Text, message: Text, pointer: OptionText };
const Decided = extern struct { failed: bool, result: extern union { answer: Answer, failure: Problem } };
const Values = extern struct { values: [*]const Value, count: usize };

const text_tag = 4;
const invalid_input = 0;

extern "verdict:policy/input@0.1.0" fn @"read-many"(pointers: [*]const Text, count: usize, values: *Values) void;

var memory: [32768]u8 = undefined;
var heap = std.heap.FixedBufferAllocator.init(&memory);
var decided: Decided = undefined;
var reason: Reason = undefined;

export fn cabi_realloc(old: ?[*]u8, old_size: usize, alignment: usize, size: usize) [*]u8 {
    _ = .{ old, old_size, alignment };
    const room = heap.allocator().alignedAlloc(u8, .@"8", @max(size, 1)) catch @trap();
    return room.ptr;
}

const pointers = [_]Text{ Text.of("/user/role"), Text.of("/user/name"), Text.of("/resource/owner"), Text.of("/action") };

fn text(value: Value) ?[]const u8 {
    return if (value.tag == text_tag) value.text.slice() else null;
}

fn joined(left: []const u8, right: []const u8) []const u8 {
    return std.mem.concat(heap.allocator(), u8, &.{ left, right }) catch @trap();
}

fn is(left: ?[]const u8, right: []const u8) bool {
    return std.mem.eql(u8, left orelse return false, right);
}

fn answer(allowed: bool, code: []const u8, message: []const u8, on: []const Text) Answer {
    reason = .{
        .code = Text.of(code),
        .message = Text.of(message),
        .rule = .{ .some = true, .text = Text.of("allow") },
        .reference = .{},
        .pointers = on.ptr,
        .count = on.len,
    };
    const value = Text.of(if (allowed) "true" else "false");
    return .{ .value = .{ .some = true, .text = value }, .reasons = @ptrCast(&reason), .count = 1 };
}

fn allow() Decided {
    var values: Values = undefined;
    @"read-many"(&pointers, pointers.len, &values);
    const role = text(values.values[0]);
    const user = text(values.values[1]);
    const owner = text(values.values[2]);
    const action = text(values.values[3]) orelse return .{ .failed = true, .result = .{ .failure = .{
        .tag = invalid_input,
        .code = Text.of("no-action"),
        .message = Text.of("the action is not a text"),
        .pointer = .{ .some = true, .text = Text.of("/action") },
    } } };
    const result = if (is(role, "admin"))
        answer(true, "admin", joined(user orelse "nobody", " is an administrator"), pointers[0..1])
    else if (user != null and is(owner, user.?))
        answer(true, "owner", joined(user.?, " owns the resource"), pointers[1..3])
    else if (is(action, "read"))
        answer(true, "read", "everyone may read", pointers[3..4])
    else
        answer(false, "no-rule", joined(action, " is for the owner"), pointers[1..4]);
    return .{ .failed = false, .result = .{ .answer = result } };
}

// Leaves traces in data, in the heap and in a table of functions, and answers with how many it finds. It must always be
// the first.
var calls: u8 = 0;
var next: *const fn (u8) u8 = &first;

fn first(byte: u8) u8 {
    next = &second;
    return byte + 1;
}
fn second(byte: u8) u8 {
    return byte + 2;
}

fn leak() Decided {
    calls += 1;
    const used: u8 = if (heap.end_index < 64) 1 else 2;
    const value = std.fmt.allocPrint(heap.allocator(), "[{d},{d},{d}]", .{ calls, next(0), used }) catch @trap();
    _ = heap.allocator().alloc(u8, 100) catch @trap();
    return .{ .failed = false, .result = .{ .answer = .{
        .value = .{ .some = true, .text = Text.of(value) },
        .reasons = @ptrCast(&reason),
        .count = 0,
    } } };
}

fn decide(rule: [*]const u8, length: usize) callconv(.c) *const Decided {
    decided = if (is(rule[0..length], "leak")) leak() else allow();
    return &decided;
}

comptime {
    @export(&decide, .{ .name = contract });
}
