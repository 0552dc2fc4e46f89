package shm

import "unsafe"

// What a queue's ends say about who uses them, for tests.

// Alone reports whether this process goes without the lock at an end: the sending
// one, 0, or the receiving one, 1.
func (q *queue) Alone(i int) bool {
	return q.end(i).user.Load() == q.me|alone && q.seats[i].alone.Load()
}

// User is the word that says who uses an end; SetUser is a peer that breaks the rules.
func (q *queue) User(i int) uint64       { return q.end(i).user.Load() }
func (q *queue) SetUser(i int, v uint64) { q.end(i).user.Store(v) }

// SetEnding is a CloseSend whose process was killed after its first step.
func (q *queue) SetEnding() { q.st.ending.Store(sendsEnding) }

// EndLines are the places in an end that are to begin a pair of cache lines.
func EndLines() map[string]uintptr {
	var s queueState
	return map[string]uintptr{
		"send": unsafe.Offsetof(s.send), "recv": unsafe.Offsetof(s.recv), "join": unsafe.Offsetof(s.join),
		"done": unsafe.Offsetof(s.done), "members": unsafe.Offsetof(s.members),
		"pos": unsafe.Offsetof(s.send.pos), "sleeps": unsafe.Offsetof(s.send.sleeps), "size": unsafe.Sizeof(s.send),
	}
}

// NeverSpin makes who waits at an end go to sleep at once.
func (q *queue) NeverSpin() {
	for i := range q.spins {
		q.spins[i].SetBudget(-1)
	}
}

// Between calls f when somebody has asked for an end, before he looks at its member.
func Between(f func()) (undo func()) {
	settleWith = func(cmd uintptr) error { f(); return membarrier(cmd) }
	return func() { settleWith = membarrier }
}
