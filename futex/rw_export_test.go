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
