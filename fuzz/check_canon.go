package fuzz

import "fmt"

// canon reorders processes, and threads within processes, so that states
// that differ only in such an order become equal. It sorts by a hash of what
// each is and of who refers to it; a tie costs states, never correctness.
type canon struct {
	w                    *World
	cells, private, regs []Kind
	ids                  bool // some process or thread is named somewhere
	hash                 []uint64
	threadHash           []uint64
	procAt, threadAt     []int // new place -> old
	newProc, newThread   []byte
	old                  []byte
}

func newCanon(w *World) *canon {
	c := &canon{w: w, old: make([]byte, w.size)}
	kinds := func(cells []Cell) []Kind {
		var ks []Kind
		for _, cell := range cells {
			ks = append(ks, cell.Kind)
			c.ids = c.ids || cell.Kind != Number
		}
		return ks
	}
	c.cells, c.private, c.regs = kinds(w.m.Cells), kinds(w.m.Private), kinds(w.m.Registers)
	n, nt := w.m.Processes, w.m.Processes*w.m.Threads
	c.hash, c.threadHash = make([]uint64, n), make([]uint64, nt)
	c.procAt, c.threadAt = make([]int, n), make([]int, nt)
	c.newProc, c.newThread = make([]byte, n+1), make([]byte, nt+1)
	return c
}

func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// apply makes s canonical.
func (c *canon) apply(s []byte) {
	w, m := c.w, c.w.m
	for p := range m.Processes {
		c.hash[p] = 0
		for t := range m.Threads {
			c.threadHash[p*m.Threads+t] = c.ofThread(s, p, t)
		}
	}
	if c.ids {
		c.referrers(s)
	}
	moved := false
	for p := range m.Processes {
		base := p * m.Threads
		for t := range m.Threads {
			c.threadAt[base+t] = base + t
		}
		moved = sortBy(c.threadAt[base:base+m.Threads], c.threadHash) || moved
		at := w.proc(p)
		h := mix(c.hash[p], uint64(s[at]))
		for i, k := range c.private {
			h = mix(h, c.ofRef(k, s[at+1+i], p, -1))
		}
		for _, old := range c.threadAt[base : base+m.Threads] {
			h = mix(h, c.threadHash[old])
		}
		c.hash[p] = h
		c.procAt[p] = p
	}
	if sortBy(c.procAt, c.hash) || moved {
		c.rebuild(s)
	}
}

func (c *canon) ofThread(s []byte, p, t int) uint64 {
	at := c.w.thread(p, t)
	h := mix(uint64(s[at])<<16|uint64(s[at+1])<<8|uint64(s[at+2]), 1)
	for i, k := range c.regs {
		h = mix(h, c.ofRef(k, s[at+offRegs+i], p, t))
	}
	return h
}

// ofRef hashes a byte without saying which process or thread it names: only
// whether none, its own, or another.
func (c *canon) ofRef(k Kind, v byte, p, t int) uint64 {
	switch {
	case k == Number || v == 0:
		return uint64(v)
	case k == ProcessID && int(v) == p+1, k == ThreadID && int(v) == p*c.w.m.Threads+t+1:
		return 1000
	case k == ThreadID && (int(v)-1)/c.w.m.Threads == p:
		return 1001
	}
	return 1002
}

// referrers mixes into each hash who names it.
func (c *canon) referrers(s []byte) {
	w, m := c.w, c.w.m
	note := func(k Kind, v byte, by uint64) {
		switch {
		case v == 0 || k == Number:
		case k == ProcessID && int(v) > m.Processes || k == ThreadID && int(v) > len(c.threadHash):
			panic(fmt.Sprintf("a cell has %d for a process or thread, and there are %d and %d, counted from 1", v, m.Processes, len(c.threadHash)))
		case k == ProcessID:
			c.hash[v-1] += mix(by, 7)
		case k == ThreadID:
			c.threadHash[v-1] += mix(by, 9)
		}
	}
	for i, k := range c.cells {
		note(k, s[offCells+i], uint64(i)+5000)
	}
	for p := range m.Processes {
		for i, k := range c.private {
			note(k, s[w.proc(p)+1+i], mix(uint64(s[w.proc(p)]), uint64(i)+6000))
		}
		for t := range m.Threads {
			at := w.thread(p, t)
			for i, k := range c.regs {
				note(k, s[at+offRegs+i], mix(uint64(s[at]), uint64(i)+7000))
			}
		}
	}
}

// sortBy sorts the few indexes in x by key and reports whether any moved.
func sortBy(x []int, key []uint64) bool {
	moved := false
	for i := 1; i < len(x); i++ {
		for j := i; j > 0 && key[x[j]] < key[x[j-1]]; j-- {
			x[j], x[j-1] = x[j-1], x[j]
			moved = true
		}
	}
	return moved
}

// rebuild moves the blocks of s to their new places and renames what the
// cells name.
func (c *canon) rebuild(s []byte) {
	w, m := c.w, c.w.m
	copy(c.old, s)
	for p, from := range c.procAt {
		c.newProc[from+1] = byte(p + 1)
		src, dst := w.proc(from), w.proc(p)
		copy(s[dst:dst+w.thrAt], c.old[src:])
		for t := range m.Threads {
			was := c.threadAt[from*m.Threads+t]
			c.newThread[was+1] = byte(p*m.Threads + t + 1)
			copy(s[w.thread(p, t):][:w.thrLen], c.old[w.thread(from, was-from*m.Threads):])
		}
	}
	if !c.ids {
		return
	}
	c.rename(c.cells, s[offCells:])
	for p := range m.Processes {
		c.rename(c.private, s[w.proc(p)+1:])
		for t := range m.Threads {
			c.rename(c.regs, s[w.thread(p, t)+offRegs:])
		}
	}
}

func (c *canon) rename(kinds []Kind, b []byte) {
	for i, k := range kinds {
		switch k {
		case ProcessID:
			b[i] = c.newProc[b[i]]
		case ThreadID:
			b[i] = c.newThread[b[i]]
		}
	}
}
