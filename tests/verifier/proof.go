package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const proofHeader = "c2sp.org/tlog-proof@v1"

// A proof is a parsed .tlog-proof file (c2sp.org/tlog-proof).
type proof struct {
	record     []byte // what `extra` holds; nothing until check says so
	index      int64
	hashes     tlog.RecordProof
	checkpoint string
}

// parseProof accepts the one text form of a proof, and nothing that merely decodes to the same bytes.
func parseProof(text string) (*proof, error) {
	head, checkpoint, ok := strings.Cut(text, "\n\n")
	if !ok {
		return nil, errors.New("the proof has no checkpoint")
	}
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || lines[0] != proofHeader {
		return nil, errors.New("the text is not a .tlog-proof with extra data and index")
	}
	extra, ok := strings.CutPrefix(lines[1], "extra ")
	if !ok {
		return nil, errors.New("the proof has no extra data, which should be the record")
	}
	record, err := decodeBase64(extra)
	if err != nil {
		return nil, fmt.Errorf("the proof's extra data: %w", err)
	}
	number, ok := strings.CutPrefix(lines[2], "index ")
	if !ok {
		return nil, errors.New("the proof has no index")
	}
	index, err := strconv.ParseInt(number, 10, 64)
	if err != nil || index < 0 || strconv.FormatInt(index, 10) != number {
		return nil, fmt.Errorf("%q is not an index", number)
	}
	p := &proof{record: record, index: index, checkpoint: checkpoint}
	for _, line := range lines[3:] {
		bytes, err := decodeBase64(line)
		if err != nil || len(bytes) != tlog.HashSize {
			return nil, fmt.Errorf("%q is not a hash", line)
		}
		p.hashes = append(p.hashes, tlog.Hash(bytes))
	}
	return p, nil
}

// check says whether the log with this key has the record at the index.
func (p *proof) check(vkey string) (tlog.Tree, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("the verifier key: %w", err)
	}
	opened, err := note.Open([]byte(p.checkpoint), note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("the checkpoint: %w", err)
	}
	if err := canonicalSignatures(p.checkpoint); err != nil {
		return tlog.Tree{}, err
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("the checkpoint is of the log %q, the key of %q", origin, verifier.Name())
	}
	// tlog.ParseTree knows one log only, whose first line this is; size and root are as in every checkpoint.
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + rest))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("the checkpoint: %w", err)
	}
	if p.index >= tree.N {
		return tlog.Tree{}, fmt.Errorf("index %d is outside a tree of %d records", p.index, tree.N)
	}
	err = tlog.CheckRecord(p.hashes, tree.N, tree.Hash, p.index, tlog.RecordHash(p.record))
	return tree, err
}

// canonicalSignatures refuses signature lines that decode to the right bytes and are not written the one right way,
// which note.Open lets pass.
func canonicalSignatures(signed string) error {
	lines := strings.Split(strings.TrimSuffix(signed[strings.LastIndex(signed, "\n\n")+2:], "\n"), "\n")
	for _, line := range lines {
		fields := strings.Split(line, " ")
		if len(fields) != 3 {
			return fmt.Errorf("%q is not a signature line", line)
		}
		if _, err := decodeBase64(fields[2]); err != nil {
			return fmt.Errorf("a signature: %w", err)
		}
	}
	return nil
}

// decodeBase64 accepts the canonical form only. Strict alone is not enough: Go skips newlines within base64.
func decodeBase64(text string) ([]byte, error) {
	bytes, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, err
	}
	if base64.StdEncoding.EncodeToString(bytes) != text {
		return nil, errors.New("base64 that is not in its canonical form")
	}
	return bytes, nil
}

// text writes the proof, as parseProof reads it.
func (p *proof) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nextra %s\nindex %d\n", proofHeader, base64.StdEncoding.EncodeToString(p.record), p.index)
	for _, hash := range p.hashes {
		fmt.Fprintf(&b, "%s\n", hash)
	}
	b.WriteString("\n" + p.checkpoint)
	return b.String()
}
