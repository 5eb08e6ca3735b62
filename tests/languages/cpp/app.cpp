// Allows if the role is `admin`, or the user owns the resource, or the action is `read`.
#include <stdlib.h>
#include <string.h>

#include "policy.h"

namespace {

using Answer = exports_verdict_policy_decision_answer_t;
using Failure = exports_verdict_policy_decision_failure_t;
using Value = verdict_policy_input_value_t;

// A text that somebody else owns.
class Text {
 public:
  Text(const char *text) : bytes(reinterpret_cast<const uint8_t *>(text)), length(strlen(text)) {}
  explicit Text(policy_string_t text) : bytes(text.ptr), length(text.len) {}

  bool operator==(Text other) const { return length == other.length && memcmp(bytes, other.bytes, length) == 0; }

  Text operator+(Text other) const {
    auto *both = static_cast<uint8_t *>(malloc(length + other.length));
    memcpy(both, bytes, length);
    memcpy(both + length, other.bytes, other.length);
    return Text(policy_string_t{both, length + other.length});
  }

  policy_string_t lowered() const { return {const_cast<uint8_t *>(bytes), length}; }

 private:
  const uint8_t *bytes;
  size_t length;
};

template <typename T>
class Maybe {
 public:
  Maybe() = default;
  Maybe(T value) : value(value), some(true) {}
  explicit operator bool() const { return some; }
  T operator*() const { return value; }
  bool is(Maybe other) const { return some && other.some && value == other.value; }

 private:
  T value = T("");
  bool some = false;
};

const char *const POINTERS[] = {"/user/role", "/user/name", "/resource/owner", "/action"};

Maybe<Text> text(const Value &value) {
  return value.tag == VERDICT_POLICY_INPUT_VALUE_TEXT ? Maybe<Text>(Text(value.val.text)) : Maybe<Text>();
}

struct Rule {
  bool allowed;
  const char *code;
  Text message;
  size_t first, count;

  void write(Answer *answer) const {
    auto *pointers = static_cast<policy_string_t *>(malloc(count * sizeof(policy_string_t)));
    for (size_t i = 0; i < count; i++) pointers[i] = Text(POINTERS[first + i]).lowered();
    auto *reason = static_cast<exports_verdict_policy_decision_reason_t *>(malloc(sizeof *answer->reasons.ptr));
    reason->code = Text(code).lowered();
    reason->message = message.lowered();
    reason->rule.is_some = true;
    reason->rule.val = Text("allow").lowered();
    reason->reference.is_some = false;
    reason->pointers.ptr = pointers;
    reason->pointers.len = count;
    answer->value.is_some = true;
    answer->value.val = Text(allowed ? "true" : "false").lowered();
    answer->reasons.ptr = reason;
    answer->reasons.len = 1;
  }
};

bool allow(Answer *answer, Failure *failure) {
  policy_string_t pointers[4];
  for (size_t i = 0; i < 4; i++) pointers[i] = Text(POINTERS[i]).lowered();
  policy_list_string_t asked = {pointers, 4};
  verdict_policy_input_list_value_t values;
  verdict_policy_input_read_many(&asked, &values);
  const Maybe<Text> role = text(values.ptr[0]), user = text(values.ptr[1]);
  const Maybe<Text> owner = text(values.ptr[2]), action = text(values.ptr[3]);
  if (!action) {
    failure->tag = EXPORTS_VERDICT_POLICY_DECISION_FAILURE_INVALID_INPUT;
    failure->val.invalid_input.code = Text("no-action").lowered();
    failure->val.invalid_input.message = Text("the action is not a text").lowered();
    failure->val.invalid_input.pointer.is_some = true;
    failure->val.invalid_input.pointer.val = Text("/action").lowered();
    return false;
  }
  if (role.is(Text("admin"))) {
    const Text name = user ? *user : Text("nobody");
    Rule{true, "admin", name + " is an administrator", 0, 1}.write(answer);
  } else if (user.is(owner)) {
    Rule{true, "owner", *user + " owns the resource", 1, 2}.write(answer);
  } else if (action.is(Text("read"))) {
    Rule{true, "read", "everyone may read", 3, 1}.write(answer);
  } else {
    Rule{false, "no-rule", *action + " is for the owner", 1, 3}.write(answer);
  }
  return true;
}

// Leaves traces in a static, in an object with a virtual function and in the heap, and answers with how many it finds. It
// must always be the first.
struct Counter {
  virtual int next() { return ++calls; }
  int calls = 0;
};
struct Jumper : Counter {
  int next() override { return calls += 2; }
};

Counter counter;
Jumper jumper;
Counter *current = &counter;

bool leak(Answer *answer) {
  static int calls = 0;
  const int traces[] = {++calls, current->next(), *static_cast<uint8_t *>(malloc(1)) + 1};
  current = &jumper;
  auto *heap = static_cast<uint8_t *>(malloc(64));
  memset(heap, 1, 4096);  // also what is handed out later
  auto *value = static_cast<char *>(malloc(8));
  memcpy(value, "[0,0,0]", 7);
  for (size_t i = 0; i < 3; i++) value[1 + 2 * i] += traces[i];
  answer->value.is_some = true;
  answer->value.val = {reinterpret_cast<uint8_t *>(value), 7};
  answer->reasons.ptr = nullptr;
  answer->reasons.len = 0;
  return true;
}

}  // namespace

extern "C" bool exports_verdict_policy_decision_decide(policy_string_t *rule, Answer *answer, Failure *failure) {
  return Text(*rule) == Text("leak") ? leak(answer) : allow(answer, failure);
}
