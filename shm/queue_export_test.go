package shm

import (
	"context"
	"os"
)

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

// SendUnwoken and RecvUnwoken are TrySend and TryRecv by a process that takes
// the other end's sleeper upon itself and is gone before it has woken him.
func (q *Queue[T]) SendUnwoken(v T) (bool, error) {
	return q.unwoken(sendEnd, func(tail uint64) { q.slots[tail&(q.size-1)] = v })
}

func (q *Queue[T]) RecvUnwoken() (v T, ok bool, err error) {
	ok, err = q.unwoken(recvEnd, func(head uint64) { v = q.slots[head&(q.size-1)] })
	return v, ok, err
}

func (q *queue) unwoken(i int, move func(pos uint64)) (bool, error) {
	e, other := q.end(i), q.end(sendEnd+recvEnd-i)
	ok, err := q.tryTakeEnd(i, false)
	if ok {
		pos := e.pos.Load()
		move(pos)
		e.pos.Store(pos + 1)
		q.giveEnd(i)
		other.sleeps.Swap(0)
		other.armed.Swap(0)
		for i := range q.mine.Load() {
			q.mine.Load()[i].Withdraw()
		}
	}
	return ok, err
}

// Attach makes this process the reader, or the writer.
func (r *RingReader) Attach() error { return r.attach() }
func (w *RingWriter) Attach() error { return w.attach() }

// CommitUnwoken is Commit by a process that is gone before its wake.
func (w *RingWriter) CommitUnwoken(n int) {
	w.length(w.tail).Store(uint64(n))
	w.tail += recordSize(n)
	w.st.tail.Store(w.tail)
	w.st.readerSleeps.Swap(0)
	w.mine.Withdraw()
}

// Sent is the position of the writing end.
func (w *RingWriter) Sent() uint64 { return w.st.tail.Load() }

// AwaitNotice is what an armed notifier's goroutine does.
func (q *queue) AwaitNotice(ctx context.Context) error {
	if err := q.enter(); err != nil {
		return err
	}
	defer q.leave()
	return q.awaitNotice(ctx)
}

// Armed reports whether a notifier sleeps, or is about to.
func (q *queue) Armed() bool { return q.st.recv.armed.Load() != 0 }

// ReceiverSleeps reports whether a receiver sleeps, or is about to.
func (q *queue) ReceiverSleeps() bool { return q.st.recv.sleeps.Load() != 0 }

// SenderSleeps reports whether a sender does.
func (q *queue) SenderSleeps() bool { return q.st.send.sleeps.Load() != 0 }

// TakeEnd takes an end, the sending one, 0, or the receiving one, 1, as a call
// does that is under way. What it returns gives it back.
func (q *queue) TakeEnd(i int) (give func(), err error) {
	return func() { q.giveEnd(i) }, q.takeEnd(context.Background(), i, false)
}
