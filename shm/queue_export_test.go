package shm

// Sent is how many messages were ever sent.
func (q *Queue[T]) Sent() uint64 { return q.sent() }

// Ending reports whether CloseSend has begun.
func (q *Queue[T]) Ending() bool { return q.st.ending.Load() != 0 }

// Preset makes it look as if pos messages had been sent and received.
func (q *Queue[T]) Preset(pos uint64) {
	for _, e := range q.ends() {
		e.pos.Store(pos)
		e.seen.Store(pos)
	}
	q.st.done.Store(pos)
}
