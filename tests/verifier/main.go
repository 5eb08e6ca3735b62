// Command verifier checks Verdict's receipts with code that Verdict did not write: golang.org/x/mod, which checks Go's
// own checksum database.
//
//	verifier RECEIPT VKEY [--input FILE] [--answer FILE]   is the record in the log, and are input and answer its own?
//	verifier flip RECEIPT VKEY                             is every flipped bit found?
//
// RECEIPT is a receipt or a bare .tlog-proof file whose extra data is the record; VKEY is the log's verifier key.
// It exits with 0 for yes, 1 for no and 2 for a wrong call.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

var errUsage = errors.New("usage: verifier RECEIPT VKEY [--input FILE] [--answer FILE] | verifier flip RECEIPT VKEY")

func main() {
	said, err := run(os.Args[1:])
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case err != nil:
		fmt.Println("no:", err)
		os.Exit(1)
	default:
		fmt.Println("ok", said)
	}
}

func run(args []string) (string, error) {
	if len(args) == 3 && args[0] == "flip" {
		return flip(args[1], args[2])
	}
	if len(args) < 2 || len(args)%2 != 0 {
		return "", errUsage
	}
	given := map[string][]byte{}
	for i := 2; i < len(args); i += 2 {
		field, ok := strings.CutPrefix(args[i], "--")
		if _, twice := given[field]; !ok || twice || field != "input" && field != "answer" {
			return "", errUsage
		}
		bytes, err := os.ReadFile(args[i+1])
		if err != nil {
			return "", err
		}
		given[field] = bytes
	}
	return verify(args[0], args[1], given)
}

func verify(path, vkey string, given map[string][]byte) (string, error) {
	r, p, err := read(path)
	if err != nil {
		return "", err
	}
	tree, err := p.check(vkey)
	if err != nil {
		return "", err
	}
	checked, err := r.checkOpenings(p.record, given)
	if err != nil {
		return "", err
	}
	opened := "no commitments checked"
	if len(checked) > 0 {
		opened = "commitments checked: " + strings.Join(checked, ", ")
	}
	return fmt.Sprintf("record %d of %d; %s", p.index, tree.N, opened), nil
}

func read(path string) (*receipt, *proof, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	r, err := parseReceipt(file)
	if err != nil {
		return nil, nil, err
	}
	p, err := parseProof(r.Proof)
	return r, p, err
}
