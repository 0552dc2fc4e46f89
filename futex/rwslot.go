package futex

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// MaxReaders is the number of processes that can read under one [RWMutex].
const MaxReaders = 64

// readerSlot counts the readers of one process. Only that process changes the
// count, save that a writer clears it after the process's death.
type readerSlot struct {
	// state: the low half as in sleepword.go, with phase meaning "the last reader
	// has left since a writer began to wait for it"; above it 24 bits their
	// number, 8 bits counting the slot's processes.
	state atomic.Uint64
	id    atomic.Uint32 // the process's identity, 0: free
	_     [52]byte
}

const (
	inside     = 1 << 32 // in the gate: no readers are left, the writer is in
	oneReader  = 1 << 32 // in a slot
	nextOwner  = 1 << 56 // a process follows another one in its slot
	maxReaders = 1 << 23 // half of what fits: those too many are counted for a moment
)

func readers(v uint64) uint64 { return v >> 32 & (1<<24 - 1) }

// noReaders is v after the last reader.
func noReaders(v uint64) uint64 { return v&(waiters|0xff<<56) | phase }

// slot finds this process's slot, or takes one. Its number is kept beside the
// lock in private memory, where the lock's own value would be.
func (m *RWMutex) slot() (*readerSlot, error) {
	if s := m.quickSlot(); s != nil {
		return s, nil
	}
	if me := quickMe(&m.gate); me != 0 {
		i := int(me-1) & (MaxReaders - 1)
		m.cacheSlot(i)
		return &m.slots[i], nil
	}
	return m.takeSlot()
}

// takingSlot is held by the one goroutine of this process that takes a slot. A
// second one, that found the slot its own already, would count a reader in it
// before the first has dropped what a dead process left there, and lose it.
var takingSlot sync.Mutex

func (m *RWMutex) takeSlot() (*readerSlot, error) {
	addr := addressOfState(&m.gate)
	r := regionOf(addr)
	if r == nil {
		return nil, ErrNotAttached
	}
	takingSlot.Lock()
	defer takingSlot.Unlock()
	for i := range m.slots {
		if m.slots[i].id.Load() == r.id {
			return m.keepSlot(r, i), nil
		}
	}
	for i := range m.slots {
		s := &m.slots[i]
		switch id := s.id.Load(); {
		case id != 0 && !r.fullyDead(id):
		case s.id.CompareAndSwap(id, r.id):
			s.inherit()
			return m.keepSlot(r, i), nil
		}
	}
	return nil, fmt.Errorf("futex: RWMutex: %d other processes read under it, which is the limit: %w", MaxReaders, unix.EAGAIN)
}

// SYNC rw-used: the bit is set before the first reader counts in the slot, and a
// writer reads the bits after it has closed the gate: a reader in a slot that it
// passes over finds the gate closed, as in rw-gate.
func (m *RWMutex) keepSlot(r *Region, i int) *readerSlot {
	m.used.Or(1 << i)
	r.side.node(addressOfState(&m.gate)).me.Store(uint64(r.id)<<32 | uint64(i+1))
	return &m.slots[i]
}

// inherit drops what a dead process had in the slot. A writer that waits for
// the dead one can tell by the count of processes that it is another's now.
func (s *readerSlot) inherit() {
	p := pinTo(lowWord(&s.state))
	defer p.unpin()
	for {
		v := s.state.Load()
		if s.state.CompareAndSwap(v, noReaders(v+nextOwner)) {
			if v&waiters != 0 {
				wakeAllSleepers(&s.state)
			}
			return
		}
	}
}

// drop forgets the readers of a dead process, if v still stands.
func (s *readerSlot) drop(v uint64) bool { return s.state.CompareAndSwap(v, noReaders(v)) }
