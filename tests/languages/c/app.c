// Allows if the role is `admin`, or the user owns the resource, or the action is `read`.
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "policy.h"

typedef verdict_policy_input_value_t value_t;
typedef exports_verdict_policy_decision_answer_t answer_t;
typedef exports_verdict_policy_decision_failure_t failure_t;
typedef exports_verdict_policy_decision_reason_t reason_t;

static policy_string_t borrowed(const char *text) {
  return (policy_string_t){(uint8_t *)text, strlen(text)};
}

static bool equal(const policy_string_t *left, const policy_string_t *right) {
  return left->len == right->len && memcmp(left->ptr, right->ptr, left->len) == 0;
}

static bool is(const policy_string_t *left, const char *right) {
  policy_string_t text = borrowed(right);
  return left && equal(left, &text);
}

static policy_string_t joined(policy_string_t left, const char *right) {
  size_t length = strlen(right);
  uint8_t *bytes = malloc(left.len + length);
  memcpy(bytes, left.ptr, left.len);
  memcpy(bytes + left.len, right, length);
  return (policy_string_t){bytes, left.len + length};
}

static const policy_string_t *text(const value_t *value) {
  return value->tag == VERDICT_POLICY_INPUT_VALUE_TEXT ? &value->val.text : NULL;
}

static const char *POINTERS[] = {"/user/role", "/user/name", "/resource/owner", "/action"};

static void answer(answer_t *answer, bool allowed, const char *code, policy_string_t message, size_t first, size_t count) {
  policy_string_t *pointers = malloc(count * sizeof *pointers);
  for (size_t i = 0; i < count; i++) pointers[i] = borrowed(POINTERS[first + i]);
  reason_t *reason = malloc(sizeof *reason);
  *reason = (reason_t){
    .code = borrowed(code),
    .message = message,
    .rule = {true, borrowed("allow")},
    .reference = {.is_some = false},
    .pointers = {pointers, count},
  };
  answer->value.is_some = true;
  answer->value.val = borrowed(allowed ? "true" : "false");
  answer->reasons.ptr = reason;
  answer->reasons.len = 1;
}

static bool invalid(failure_t *failure, const char *code, const char *message, const char *pointer) {
  failure->tag = EXPORTS_VERDICT_POLICY_DECISION_FAILURE_INVALID_INPUT;
  failure->val.invalid_input.code = borrowed(code);
  failure->val.invalid_input.message = borrowed(message);
  failure->val.invalid_input.pointer.is_some = true;
  failure->val.invalid_input.pointer.val = borrowed(pointer);
  return false;
}

static bool allow(answer_t *ret, failure_t *err) {
  policy_string_t pointers[4];
  for (size_t i = 0; i < 4; i++) pointers[i] = borrowed(POINTERS[i]);
  policy_list_string_t asked = {pointers, 4};
  verdict_policy_input_list_value_t values;
  verdict_policy_input_read_many(&asked, &values);
  const policy_string_t *role = text(&values.ptr[0]), *user = text(&values.ptr[1]);
  const policy_string_t *owner = text(&values.ptr[2]), *action = text(&values.ptr[3]);

  if (!action) return invalid(err, "no-action", "the action is not a text", "/action");
  if (is(role, "admin")) {
    policy_string_t name = user ? *user : borrowed("nobody");
    answer(ret, true, "admin", joined(name, " is an administrator"), 0, 1);
  } else if (user && owner && equal(user, owner)) {
    answer(ret, true, "owner", joined(*user, " owns the resource"), 1, 2);
  } else if (is(action, "read")) {
    answer(ret, true, "read", borrowed("everyone may read"), 3, 1);
  } else {
    answer(ret, false, "no-rule", joined(*action, " is for the owner"), 1, 3);
  }
  return true;
}

// Leaves traces in data, in zeroed data and in memory that was given back, and answers with how many it finds. It must
// always be the first.
static int32_t calls = 0, seen = 1;

static bool leak(answer_t *ret) {
  calls += 1;
  size_t free_before = sizeof arena - used;
  int32_t trace = arena[sizeof arena - 1] + 1;
  arena[sizeof arena - 1] = 1;
  char *value = malloc(16);
  memcpy(value, "[0,0,0,0]", 9);
  value[1] += calls;
  value[3] += seen++;
  value[5] += trace;
  value[7] += free_before > sizeof arena / 2 ? 1 : 0;
  ret->value.is_some = true;
  ret->value.val = (policy_string_t){(uint8_t *)value, 9};
  ret->reasons.ptr = NULL;
  ret->reasons.len = 0;
  return true;
}

bool exports_verdict_policy_decision_decide(policy_string_t *rule, answer_t *ret, failure_t *err) {
  return is(rule, "leak") ? leak(ret) : allow(ret, err);
}
