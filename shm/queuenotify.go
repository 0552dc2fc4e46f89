package shm

import (
	"context"
	"encoding/binary"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Notifier is a descriptor that becomes readable when a queue has something
// to receive: for programs that wait for a queue and for other descriptors in
// one poll, select or epoll. Who waits for the queue only is better off with
// Recv.
//
// It is armed when it is made, and then readable once: as soon as the queue is
// not empty, or the stream has ended. It stays readable until [Notifier.Arm],
// which is called when everything was received:
//
//	n, err := q.Notify()
//	for {
//		unix.Poll(…) // n.Fd() for POLLIN, and others
//		for v, ok, err := q.TryRecv(); ok || err != nil; … { … }
//		err = n.Arm()
//	}
//
// It takes no message and keeps no receiver waiting: who comes first receives,
// so that there may be nothing left for who was told. What is there when it is
// armed, or comes later, it never misses, whoever is killed when. All notifiers
// are told, in this process and others, save those that find the queue empty
// again; one after the other, so that a process that is stopped by a signal while
// it is armed holds up the others.
//
// While it is armed a goroutine sleeps for it, and its thread. Senders make one
// system call to wake it, none where no notifier is armed. All methods may be
// called concurrently.
type Notifier struct {
	q  *queue
	f  *os.File // an eventfd
	fd int      // its number

	mu     sync.Mutex
	armed  bool
	closed bool
	cancel context.CancelFunc // of the goroutine, if there ever was one
	done   chan struct{}      // closed at its end
	err    error              // of the last one, for Arm
}

// notifiers are those of one handle.
type notifiers struct {
	mu  sync.Mutex
	all map[*Notifier]struct{}
}

// Notify makes a [Notifier] for the queue's receiving end, armed. There may be
// any number of them. It never blocks.
//
// Close of the queue ends a notifier's wait: it becomes readable, and whoever
// then looks gets os.ErrClosed from the queue and from Arm. Its descriptor stays
// open until its own Close.
//
// Errors: os.ErrClosed after Close; EMFILE or ENFILE when there are too many
// descriptors; EUSERS, at a process's first call, if 120 others use the queue.
func (q *queue) Notify() (*Notifier, error) {
	if err := q.enter(); err != nil {
		return nil, err
	}
	defer q.leave()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	n := &Notifier{q: q, f: os.NewFile(uintptr(fd), "notifier"), fd: fd}
	q.notes.mu.Lock()
	if q.notes.all == nil {
		q.notes.all = map[*Notifier]struct{}{}
	}
	q.notes.all[n] = struct{}{}
	q.notes.mu.Unlock()
	if err := n.Arm(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Notify makes a [Notifier]: see [Queue.Notify].
func (o *ObjectQueue[T]) Notify() (*Notifier, error) { return o.q.Notify() }

// Fd returns the descriptor to poll, for POLLIN: an eventfd, nonblocking, and
// closed in exec; or ^uintptr(0) after Close. Reading it clears it, and does not
// arm it.
func (n *Notifier) Fd() uintptr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ^uintptr(0)
	}
	return uintptr(n.fd)
}

// SyscallConn lends the descriptor, for Go's poller and others: Close waits for
// those that use it. Reads that wait are ended by Close.
func (n *Notifier) SyscallConn() (syscall.RawConn, error) { return n.f.SyscallConn() }

// Arm makes the descriptor unreadable until the queue has something to receive:
// at once readable again if it has already, so that nothing is missed between
// the last message and this call. It does nothing to a notifier that is armed
// still. It never blocks.
//
// Errors: os.ErrClosed after Close of the notifier or of the queue; ErrCorrupt,
// after the descriptor has become readable, if a peer broke the rules.
func (n *Notifier) Arm() error {
	if err := n.q.enter(); err != nil {
		return err
	}
	defer n.q.leave()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch err := n.err; {
	case n.closed:
		return os.ErrClosed
	case n.armed:
		return nil
	case err != nil:
		n.err = nil
		return err
	}
	var count [8]byte
	if err := ignoringEINTR(func() error { _, err := unix.Read(n.fd, count[:]); return err }); err != nil && err != unix.EAGAIN {
		return os.NewSyscallError("read", err)
	}
	if n.q.something() {
		n.tell()
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.armed, n.cancel, n.done = true, cancel, make(chan struct{})
	go n.watch(ctx, cancel, n.done)
	return nil
}

// Close closes the descriptor. A second Close returns os.ErrClosed. It may come
// before or after that of the queue.
func (n *Notifier) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return os.ErrClosed
	}
	n.closed = true
	n.mu.Unlock()
	n.rest()
	n.q.notes.mu.Lock()
	delete(n.q.notes.all, n)
	n.q.notes.mu.Unlock()
	return n.f.Close()
}

// watch is the goroutine of one that is armed. It is not counted among the
// queue's users: Close of either waits for its end.
func (n *Notifier) watch(ctx context.Context, cancel context.CancelFunc, done chan struct{}) {
	defer close(done)
	defer cancel()
	err := n.q.awaitNotice(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed = false
	if ctx.Err() == nil {
		n.err = err
		n.tell()
	}
}

// tell makes the descriptor readable. The caller holds mu. Nothing else than a
// counter that is full, by someone else's hand, can keep a write from it.
func (n *Notifier) tell() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	ignoringEINTR(func() error { _, err := unix.Write(n.fd, one[:]); return err })
}

// rest ends the goroutine, if there is one.
func (n *Notifier) rest() {
	n.mu.Lock()
	cancel, done := n.cancel, n.done
	n.mu.Unlock()
	if done != nil {
		cancel()
		<-done
	}
}

// stop ends the waits of all, when the queue is closed.
func (s *notifiers) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.all {
		n.rest()
		n.mu.Lock()
		if !n.closed {
			n.tell()
		}
		n.mu.Unlock()
	}
}

// awaitNotice waits until there is something to receive.
//
// Notifiers are an end of the queue like those who wait in Join: one holds
// their lock and sleeps, the others wait for the lock and then look for
// themselves. So the one who sleeps can be killed at any time, and one wake is
// enough for all.
//
// SYNC queue-notify: the notifier sets recv.armed, then lists the members, then
// looks at the positions and at ending (sleep); a sender stores its position,
// CloseSend ending, then they look at recv.armed (wake); who joins publishes its
// words, then looks at recv.armed (join). All are sequentially consistent, so one
// sees the other's store at least. Nobody but the holder of this lock sets armed,
// nobody but he and who then wakes him clears it; above all not a receiver that
// sleeps or ceases to, whose word is another. A sender that is killed between
// its store and its wake wakes by its death, as in queue-death: there is a word
// in each member that only this end sleeps on.
func (q *queue) awaitNotice(ctx context.Context) error {
	e := &q.st.notify
	if err := q.lock(ctx, e); err != nil {
		return err
	}
	defer q.unlock(e)
	if err := q.sleep(ctx, notifyEnd, &q.st.recv.armed, q.nothing); err != nil {
		return err
	}
	// The one who ends the stream may have died over it.
	if !q.something() {
		return q.endSends(ctx)
	}
	return nil
}

// nothing reports whether the queue is empty, and nobody has begun to end its
// stream.
func (q *queue) nothing() bool { return q.empty() && q.st.ending.Load() == 0 }

// something reports whether a receiver would not wait: there is a message, or
// the end.
func (q *queue) something() bool { return q.st.ending.Load() == sendsEnded || !q.empty() }

func (q *queue) empty() bool {
	head := q.st.recv.pos.Load() // first: it can't overtake the other
	return q.st.send.pos.Load() == head
}
