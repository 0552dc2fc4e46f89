package shm

import "os"

// RingIn makes the whole of a memory file a ring, whose ends TakeFiles then
// takes over.
func RingIn(f *os.File, size int) error {
	obj, err := FromFile(f, nil)
	if err != nil {
		return err
	}
	page := os.Getpagesize()
	w := new(RingWriter)
	w.robust = true
	if err := w.adopt(obj, size-page); err != nil {
		return err
	}
	if err := w.publish(ringSpec(page, size-page), 0); err != nil {
		return err
	}
	return w.typed.close()
}

// Sent is how many messages were ever sent.
func (q *queue) Sent() uint64 { return q.sent() }

// Ending reports whether CloseSend has begun.
func (q *queue) Ending() bool { return q.st.ending.Load() != 0 }

// Preset makes it look as if pos messages had been sent and received.
func (q *Queue[T]) Preset(pos uint64) {
	for _, e := range q.ends() {
		e.pos.Store(pos)
		e.seen.Store(pos)
	}
	q.st.done.Store(pos)
}

// Preset makes it look as if messages of so many bytes had been sent and
// received, in all.
func (q *MessageQueue) Preset(messages, bytes uint64) {
	for _, e := range q.ends() {
		e.pos.Store(messages<<messageShift | bytes&messageBytes)
		e.seen.Store(e.pos.Load())
	}
	q.st.done.Store(messages)
}

// Memory is the queue's memory behind its header.
func (q *queue) Memory() []byte { return q.mem[headerSize:] }
