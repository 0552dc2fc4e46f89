package futex

import "testing"

// MostReaders is how many of one process can read.
const MostReaders = maxReaders

// SetReaders makes this process have n readers.
func (m *RWMutex) SetReaders(t testing.TB, n uint64) {
	s, err := m.slot()
	if err != nil {
		t.Fatal(err)
	}
	s.state.Store(n * oneReader)
}

// PresetReaders makes slot i that of process id, with n readers.
func (m *RWMutex) PresetReaders(i int, id uint32, n uint64) {
	m.slots[i].id.Store(id)
	m.slots[i].state.Store(n * oneReader)
}

// Readers counts the readers of all processes.
func (m *RWMutex) Readers() (n uint64) {
	for i := range m.slots {
		n += readers(m.slots[i].state.Load())
	}
	return n
}

// Slot is the number of this process's slot; it takes one if need be.
func (m *RWMutex) Slot() (int, error) {
	s, err := m.slot()
	for i := range m.slots {
		if s == &m.slots[i] {
			return i, err
		}
	}
	return -1, err
}

// LookAround makes who waits for a dead process look, as after some time. It says
// whether there is such.
func (m *RWMutex) LookAround() (dead bool) {
	r := regionOf(addressOfState(&m.gate))
	for i := range m.slots {
		s := &m.slots[i]
		if readers(s.state.Load()) != 0 && r.fullyDead(s.id.Load()) {
			woken, _ := futexWake(lowWord(&s.state), maxInt32, matchAny)
			dead = dead || woken > 0
		}
	}
	if v := m.writer.state.Load(); m.gate.Load()&phase != 0 && !free(v) && r.fullyDead(owner(v)) {
		woken, _ := futexWake(lowWord(&m.gate), maxInt32, matchAny)
		dead = dead || woken > 0
	}
	return dead
}

// RUnlockUnnamed is broken: between its change and its wake one can die.
func (m *RWMutex) RUnlockUnnamed() error {
	s, err := m.slot()
	for err == nil {
		v := s.state.Load()
		if s.state.CompareAndSwap(v, noReaders(v)) {
			wakeAllSleepers(&s.state)
			break
		}
	}
	return err
}

// UnlockUnnamed is broken in the same way.
func (m *RWMutex) UnlockUnnamed() error {
	for {
		v := m.gate.Load()
		if m.gate.CompareAndSwap(v, v&^(phase|inside)) {
			wakeAllSleepers(&m.gate)
			return m.writer.Unlock()
		}
	}
}

// SetMutexSpins sets how often a waiter looks before it sleeps, in a process that
// has no waiters yet.
func SetMutexSpins(n int) { mutexSpins = n }
