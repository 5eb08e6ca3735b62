package main

import "wit_component/export_verdict_policy_decision"

// Runs at build time, so that the runtime has started and the heap has grown before a decision is asked for.
//
//go:wasmexport warm
func warm() {
	export_verdict_policy_decision.Warm()
}
