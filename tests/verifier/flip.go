package main

import (
	"bytes"
	"fmt"
	"slices"
)

// flip changes one bit after the other, of the proof's whole text and of what its parts decode to, and wants a no for
// each.
func flip(path, vkey string) (string, error) {
	_, p, err := read(path)
	if err != nil {
		return "", err
	}
	if _, err := p.check(vkey); err != nil {
		return "", fmt.Errorf("before any flip: %w", err)
	}
	counts := make([]int, 4)
	text := []byte(p.text())
	counts[0], err = eachFlip("text", text, func() bool { return accepts(string(text), vkey) })
	if err != nil {
		return "", err
	}
	changed := &proof{record: bytes.Clone(p.record), index: p.index, hashes: slices.Clone(p.hashes), checkpoint: p.checkpoint}
	still := func() bool { return accepts(changed.text(), vkey) }
	if counts[1], err = eachFlip("record", changed.record, still); err != nil {
		return "", err
	}
	for i := range changed.hashes {
		n, err := eachFlip(fmt.Sprintf("hash %d", i), changed.hashes[i][:], still)
		counts[2] += n
		if err != nil {
			return "", err
		}
	}
	for bit := range 63 {
		changed.index = p.index ^ 1<<bit
		if still() {
			return "", fmt.Errorf("index %d was accepted in place of %d", changed.index, p.index)
		}
		counts[3]++
	}
	return fmt.Sprintf("%d flips refused: %d of the text, %d of the record, %d of hashes, %d of the index",
		counts[0]+counts[1]+counts[2]+counts[3], counts[0], counts[1], counts[2], counts[3]), nil
}

// eachFlip flips every bit of these bytes, in place and back again.
func eachFlip(what string, bytes []byte, accepted func() bool) (int, error) {
	for bit := range len(bytes) * 8 {
		bytes[bit/8] ^= 1 << (bit % 8)
		if accepted() {
			return 0, fmt.Errorf("bit %d of the %s was flipped and the proof accepted", bit, what)
		}
		bytes[bit/8] ^= 1 << (bit % 8)
	}
	return len(bytes) * 8, nil
}

func accepts(text, vkey string) bool {
	p, err := parseProof(text)
	if err != nil {
		return false
	}
	_, err = p.check(vkey)
	return err == nil
}
