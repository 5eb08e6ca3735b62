package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

const (
	receiptFormat = "verdict-receipt/1"
	// What else is in a log, such as events of the registry, has another format and is no decision.
	recordFormat = "verdict-record/1"
)

// A receipt is a proof with the salts that open the record's commitments.
type receipt struct {
	Format   string             `json:"format"`
	Proof    string             `json:"proof"`
	Openings map[string]opening `json:"openings"`
}

type opening struct {
	Salt  string  `json:"salt"`
	Value *string `json:"value,omitempty"` // absent where the caller has the bytes: the input
}

// The part of a record that openings are checked against.
type record struct {
	Format      string            `json:"format"`
	Commitments map[string]string `json:"commitments"`
}

// parseReceipt reads a receipt, or a bare .tlog-proof file as a receipt without openings.
func parseReceipt(file []byte) (*receipt, error) {
	if strings.HasPrefix(string(file), proofHeader+"\n") {
		return &receipt{Format: receiptFormat, Proof: string(file)}, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(file))
	decoder.DisallowUnknownFields()
	var r receipt
	if err := decoder.Decode(&r); err != nil {
		return nil, fmt.Errorf("the file is neither a receipt nor a .tlog-proof: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something follows the receipt")
	}
	if r.Format != receiptFormat {
		return nil, fmt.Errorf("the format %q is not %q", r.Format, receiptFormat)
	}
	return &r, nil
}

// checkOpenings compares every opening with the record's commitment to it. given has the bytes that the caller sent or
// got, by field. It returns the fields that were checked.
func (r *receipt) checkOpenings(leaf []byte, given map[string][]byte) ([]string, error) {
	var rec record
	if err := json.Unmarshal(leaf, &rec); err != nil {
		return nil, fmt.Errorf("the record: %w", err)
	}
	if rec.Format != recordFormat {
		return nil, fmt.Errorf("the leaf is no record of a decision: its format is %q, not %q", rec.Format, recordFormat)
	}
	for field := range given {
		if _, ok := r.Openings[field]; !ok {
			return nil, fmt.Errorf("the receipt has no opening of the %s", field)
		}
	}
	var checked []string
	for _, field := range slices.Sorted(maps.Keys(r.Openings)) {
		value, ok := given[field]
		opened := r.Openings[field]
		if ok && opened.Value != nil && *opened.Value != string(value) {
			return nil, fmt.Errorf("the %s given is not the one in the receipt", field)
		}
		if !ok && opened.Value == nil {
			continue // an opening without its value: nothing to check it with
		}
		if !ok {
			value = []byte(*opened.Value)
		}
		if err := checkCommitment(rec.Commitments[field], field, opened.Salt, value); err != nil {
			return nil, err
		}
		checked = append(checked, field)
	}
	return checked, nil
}

// checkCommitment: SHA-256("verdict-commitment/1:" || field || 0x00 || 32 bytes of salt || value).
func checkCommitment(commitment, field, salt64 string, value []byte) error {
	want, err := decodeBase64(commitment)
	if err != nil || len(want) != sha256.Size {
		return fmt.Errorf("the record has no commitment to the %s", field)
	}
	salt, err := decodeBase64(salt64)
	if err != nil || len(salt) != 32 {
		return fmt.Errorf("the salt of the %s is not 32 bytes of base64", field)
	}
	message := slices.Concat([]byte("verdict-commitment/1:"+field+"\x00"), salt, value)
	if got := sha256.Sum256(message); !bytes.Equal(got[:], want) {
		return fmt.Errorf("the %s is not what the record commits to", field)
	}
	return nil
}
