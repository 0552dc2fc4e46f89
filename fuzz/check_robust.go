package fuzz

// RobustWord is a futex word as the kernel's robust lists see it: a cell
// with its two upper bits, which is also the cell slept on, and a cell with the
// TID below them, be it that of a ThreadID or that of a process's guardian.
type RobustWord struct {
	Bits, Owner int // the two cells
}

// The upper bits of a RobustWord.
const (
	WordWaiters   = 1
	WordOwnerDied = 2
)

// OwnerDied does to word what the kernel does when a thread ends: tid is what
// that thread would stand in the owner cell as (0: it never does), pending
// whether its list_op_pending names the word.
func (w *World) OwnerDied(word RobustWord, tid int, pending bool) {
	owner := w.Get(word.Owner)
	if owner == 0 && pending {
		w.Wake(1, word.Bits)
		return
	}
	if owner == 0 || owner != tid {
		return
	}
	bits := w.Get(word.Bits)
	w.Set(word.Owner, 0)
	w.Set(word.Bits, bits|WordOwnerDied)
	if bits&WordWaiters != 0 {
		w.Wake(1, word.Bits)
	}
}
