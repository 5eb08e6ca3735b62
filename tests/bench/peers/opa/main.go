// The peer: Open Policy Agent's evaluation in process, with the same policy in its own language and the same data.
//
// It takes turns with the other programs of `make bench`: for each line that comes in it measures one round, prints a
// JSON object a figure, and then `end`. The query is prepared, the policy compiled and the data parsed once; the store
// gives out values as the evaluator has them, which is its fastest way.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
)

const (
	evaluations  = 400
	calibrations = 50
)

// A rounder is what one round needs.
type rounder struct {
	query rego.PreparedEvalQuery
	text  []byte
	input ast.Value
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "opa:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 4 {
		return fmt.Errorf("three arguments are needed: POLICY.rego DATA.json INPUT")
	}
	it, err := prepare(os.Args[1], os.Args[2], []byte(os.Args[3]))
	if err != nil {
		return err
	}
	allowed, err := it.evaluate(it.input)
	if err != nil {
		return err
	}
	answer := "0"
	if allowed {
		answer = "1"
	}
	fmt.Printf("{\"answers\": \"rbac\", \"value\": %q}\n", answer)
	fmt.Printf("{\"note\": %q}\n", "OPA "+version())
	fmt.Println("end")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := it.round(); err != nil {
			return err
		}
		fmt.Println("end")
	}
	return nil
}

func prepare(policy, data string, text []byte) (*rounder, error) {
	module, err := os.ReadFile(policy)
	if err != nil {
		return nil, err
	}
	bytes, err := os.ReadFile(data)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := util.UnmarshalJSON(bytes, &object); err != nil {
		return nil, err
	}
	store := inmem.NewFromObjectWithOpts(object, inmem.OptReturnASTValuesOnRead(true))
	query, err := rego.New(
		rego.Query("data.rbac.allow"),
		rego.Module(policy, string(module)),
		rego.Store(store),
	).PrepareForEval(context.Background())
	if err != nil {
		return nil, err
	}
	input, err := parse(text)
	return &rounder{query, text, input}, err
}

// parse makes the evaluator's value of a text, as the server does.
func parse(text []byte) (ast.Value, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return ast.InterfaceToValue(value)
}

func (it *rounder) evaluate(input ast.Value) (bool, error) {
	results, err := it.query.Eval(context.Background(), rego.EvalParsedInput(input))
	return results.Allowed(), err
}

func (it *rounder) round() error {
	loops := times(calibrations, func() error { calibration(); return nil })
	prepared, err := timed(evaluations, func() error { return it.allowed(it.input) })
	if err != nil {
		return err
	}
	parsed, err := timed(evaluations, func() error {
		input, err := parse(it.text)
		if err != nil {
			return err
		}
		return it.allowed(input)
	})
	if err != nil {
		return err
	}
	report("calibration.ns", float64(loops.Nanoseconds()), "ns")
	report("peer.opa.rbac.prepared.p50", float64(prepared.Nanoseconds())/1e3, "µs")
	report("peer.opa.rbac.p50", float64(parsed.Nanoseconds())/1e3, "µs")
	return nil
}

func (it *rounder) allowed(input ast.Value) error {
	allowed, err := it.evaluate(input)
	if err == nil && !allowed {
		err = fmt.Errorf("not the answer that was to be timed")
	}
	return err
}

// times is the median time of many runs that cannot fail.
func times(count int, run func() error) time.Duration {
	median, _ := timed(count, run)
	return median
}

// timed is the median time of many runs.
func timed(count int, run func() error) (time.Duration, error) {
	all := make([]time.Duration, count)
	for i := range all {
		started := time.Now()
		err := run()
		all[i] = time.Since(started)
		if err != nil {
			return 0, err
		}
	}
	slices.Sort(all)
	return all[count/2], nil
}

var sink uint64

// calibration is 10,000 turns of arithmetic, each waiting for the one before: the loop of the other programs.
func calibration() {
	state := sink | 1
	for range 10_000 {
		state = (state ^ (state >> 29)) * 6_364_136_223_846_793_005
	}
	sink = state
}

func report(name string, value float64, unit string) {
	fmt.Printf("{\"name\": %q, \"value\": %.4f, \"unit\": %q}\n", name, value, unit)
}

// version is that of the module that this was built with.
func version() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "github.com/open-policy-agent/opa" {
				return module.Version
			}
		}
	}
	return "of an unknown version"
}
