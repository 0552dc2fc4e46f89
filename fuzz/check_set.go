package fuzz

import "hash/maphash"

// stateSet numbers encoded states in the order in which they were added. The
// bytes stand in large blocks, so millions of states cost the collector
// nothing.
type stateSet struct {
	size   int
	n      int
	blocks [][]byte
	seed   maphash.Seed
	table  []uint64 // open addressing: upper half of the hash | number + 1
}

const statesPerBlock = 1 << 14

func newStateSet(size int) *stateSet {
	return &stateSet{size: size, seed: maphash.MakeSeed(), table: make([]uint64, 1<<12)}
}

func (s *stateSet) len() int { return s.n }

func (s *stateSet) at(i int) []byte {
	off := i % statesPerBlock * s.size
	return s.blocks[i/statesPerBlock][off : off+s.size : off+s.size]
}

// add returns b's number, and whether it is new.
func (s *stateSet) add(b []byte) (int, bool) {
	h := maphash.Bytes(s.seed, b)
	mask := uint64(len(s.table) - 1)
	slot := h & mask
	for ; s.table[slot] != 0; slot = (slot + 1) & mask {
		e := s.table[slot]
		if e>>32 == h>>32 {
			i := int(e&0xffffffff) - 1
			if string(s.at(i)) == string(b) {
				return i, false
			}
		}
	}
	i := s.n
	s.n++
	if i%statesPerBlock == 0 {
		s.blocks = append(s.blocks, make([]byte, statesPerBlock*s.size))
	}
	copy(s.at(i), b)
	s.table[slot] = h>>32<<32 | uint64(i+1)
	if s.n*3 > len(s.table)*2 {
		s.grow()
	}
	return i, true
}

func (s *stateSet) grow() {
	s.table = make([]uint64, 2*len(s.table))
	mask := uint64(len(s.table) - 1)
	for i := range s.n {
		h := maphash.Bytes(s.seed, s.at(i))
		slot := h & mask
		for s.table[slot] != 0 {
			slot = (slot + 1) & mask
		}
		s.table[slot] = h>>32<<32 | uint64(i+1)
	}
}

// edges holds each state's successors, in the order of the states.
type edges struct {
	blocks [][]uint32
	ends   []uint64 // by state: number of edges up to and with its own
	n      uint64
	first  uint64 // where the current state's edges begin
}

const edgesPerBlock = 1 << 16

func (e *edges) at(i uint64) *uint32 { return &e.blocks[i/edgesPerBlock][i%edgesPerBlock] }

func (e *edges) add(to uint32) {
	for i := e.first; i < e.n; i++ {
		if *e.at(i) == to {
			return
		}
	}
	if e.n%edgesPerBlock == 0 {
		e.blocks = append(e.blocks, make([]uint32, edgesPerBlock))
	}
	*e.at(e.n) = to
	e.n++
}

func (e *edges) end() {
	e.ends = append(e.ends, e.n)
	e.first = e.n
}

// spread marks every state that can reach a marked one. It sweeps over the
// edges as they lie, from the last state to the first, until nothing
// changes: nearly all edges lead onward, so a few sweeps do, and no reverse
// edges have to be stored.
func (e *edges) spread(marked []bool) {
	for changed := true; changed; {
		changed = false
		for s := len(marked) - 1; s >= 0; s-- {
			if marked[s] {
				continue
			}
			lo := uint64(0)
			if s > 0 {
				lo = e.ends[s-1]
			}
			for i := lo; i < e.ends[s]; i++ {
				if marked[*e.at(i)] {
					marked[s], changed = true, true
					break
				}
			}
		}
	}
}
