package fuzz_test

import (
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

func TestOwnedTokensModel(t *testing.T) {
	oneGoroutine(t)
	const late = fuzz.LateAny
	for _, row := range []struct {
		name string
		v    owned
		size int
	}{
		{"3,1 token,1", owned{processes: 3, tokens: 1, crashes: 1}, 0},
		{"3,2 tokens,2", owned{processes: 3, tokens: 2, crashes: 2}, 1},
		{"3,1 token,1,giving up,late", owned{processes: 3, tokens: 1, crashes: 1, giveUps: 1, late: late}, 1},
		{"4,1 token,1,three plain", owned{processes: 4, tokens: 1, crashes: 1, plain: 3, taken: 1}, 1},
		{"4,1 token,1,two plain", owned{processes: 4, tokens: 1, crashes: 1, plain: 2, taken: 2}, 2},
		{"4,1 token,1", owned{processes: 4, tokens: 1, crashes: 1}, 2},
		{"4,2 tokens,1,giving up", owned{processes: 4, tokens: 2, crashes: 1, giveUps: 1}, 2},
		{"4,2 tokens,2,late", owned{processes: 4, tokens: 2, crashes: 2, late: late}, 2},
	} {
		t.Run(row.name, func(t *testing.T) { holds(t, row.v.model(), row.size) })
	}
}

func TestOwnedTokensMistakes(t *testing.T) {
	oneGoroutine(t)
	for _, row := range []struct {
		name string
		v    owned
		want error
	}{
		{"B14: finish trusts the note", owned{processes: 3, tokens: 1, crashes: 1, trustNote: true}, errTokens},
		{"B14: flip read before the lock", owned{processes: 3, tokens: 1, crashes: 1, staleFlip: true}, errTokens},
		{"nothing noted", owned{processes: 3, tokens: 1, crashes: 1, noNote: true}, errTokens},
		{"watch while a count is there", owned{processes: 3, tokens: 1, crashes: 1, countsOnly: true}, fuzz.ErrStuck},
		{"look whether to watch, then sleep", owned{processes: 3, tokens: 1, crashes: 1, oneWord: true}, fuzz.ErrStuck},
		{"watch, and tell nobody", owned{processes: 3, tokens: 1, crashes: 1, watchQuietly: true}, fuzz.ErrStuck},
	} {
		t.Run(row.name, func(t *testing.T) { caught(t, row.v.model(), row.want) })
	}
}
