// Package export_verdict_policy_decision allows if the role is `admin`, or the user owns the resource, or the action is
// `read`. The bindings want the package to be named so.
package export_verdict_policy_decision

import (
	"encoding/json"
	"runtime"
	"strings"
	. "wit_component/verdict_policy_decision"
	input "wit_component/verdict_policy_input"

	. "go.bytecodealliance.org/pkg/wit/types"
)

type result = Result[Answer, Failure]

var pointers = []string{"/user/role", "/user/name", "/resource/owner", "/action"}

func Decide(rule string) result {
	if rule == "leak" {
		return leak()
	}
	return allow(input.ReadMany)
}

func text(value input.Value) (string, bool) {
	if value.Tag() != input.Value_Text {
		return "", false
	}
	return value.Text(), true
}

func answer(allowed bool, code, message string, pointers []string) result {
	value := "false"
	if allowed {
		value = "true"
	}
	reason := Reason{Code: code, Message: message, Rule: Some("allow"), Reference: None[string](), Pointers: pointers}
	return Ok[Answer, Failure](Answer{Value: Some(value), Reasons: []Reason{reason}})
}

func allow(readMany func([]string) []input.Value) result {
	values := readMany(pointers)
	role, _ := text(values[0])
	user, known := text(values[1])
	owner, owned := text(values[2])
	action, asked := text(values[3])
	if !asked {
		problem := Problem{Code: "no-action", Message: "the action is not a text", Pointer: Some("/action")}
		return Err[Answer, Failure](MakeFailureInvalidInput(problem))
	}
	switch {
	case role == "admin":
		if !known {
			user = "nobody"
		}
		return answer(true, "admin", user+" is an administrator", pointers[:1])
	case known && owned && user == owner:
		return answer(true, "owner", user+" owns the resource", pointers[1:3])
	case action == "read":
		return answer(true, "read", "everyone may read", pointers[3:])
	}
	return answer(false, "no-rule", action+" is for the owner", pointers[1:])
}

// Warm does what decisions do, as often as it takes for the heap to have what they need.
func Warm() {
	for range 200 {
		allow(func(pointers []string) []input.Value {
			values := []input.Value{input.MakeValueAbsent()}
			for range pointers[1:] {
				values = append(values, input.MakeValueText(strings.Repeat("x", 100)))
			}
			return values
		})
	}
	runtime.GC()
}

// Leaves traces wherever it can, and answers with how many it finds. It must always be the first.
var (
	calls   int
	seen    = map[int]string{}
	letters = make(chan int)
	kept    = make(chan int, 1000)
)

func leak() result {
	calls++
	seen[len(seen)] = strings.Repeat("x", 100)
	kept <- calls
	// It is never done: the next call would find it waiting.
	go func() {
		number := 0
		for range letters {
			number++
			kept <- number
		}
	}()
	before := runtime.NumGoroutine()
	letters <- calls
	runtime.Gosched()
	traces := []int{calls, len(seen), len(kept) - 1, before - 1}
	value, err := json.Marshal(traces)
	if err != nil {
		panic(err)
	}
	return Ok[Answer, Failure](Answer{Value: Some(string(value)), Reasons: nil})
}
