package shm

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// queue is this process's side of what the queues have in common.
type queue struct {
	typed
	st       *queueState
	capacity uint64
	shift    uint // of the count of messages in a position

	users   atomic.Int64 // calls under way without a seat; far below 0 once closed
	seats   [2]seat      // of the sending and the receiving end
	closing sync.Mutex   // held by Close
	mine    atomic.Pointer[member]
	me      uint64 // its number, from 1
	myCPU   uint32
	spins   [3]futex.Spinner // each used by who holds the lock of its end
	watchs  [4][]futex.Word  // likewise
	notes   notifiers
}

const closedUsers = -1 << 62

// enter begins a call, which leave ends: between them Close can't unmap.
func (q *queue) enter() error {
	if q.users.Add(1) > 0 && q.mine.Load() != nil {
		return nil
	}
	return q.enterFirst()
}

func (q *queue) enterFirst() error {
	if q.users.Load() < 0 {
		q.leave()
		return os.ErrClosed
	}
	err := q.join()
	if err != nil {
		q.leave()
	}
	return err
}

func (q *queue) leave() { q.users.Add(-1) }

// join makes this process a member.
//
// SYNC queue-member: the words are published, then the sleepers are roused, and
// only then can this process commit anything. A sleeper sets sleeps, then lists
// the members, then looks at the queue, then sleeps if sleeps is as he set it. So
// a sleeper that does not watch this process looks again before it matters.
func (q *queue) join() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.st == nil:
		return os.ErrClosed
	case q.mine.Load() != nil:
		return nil
	}
	for i := range q.st.members {
		m := &q.st.members[i]
		last := len(m) - 1
		if ok, err := m[last].Claim(); err != nil {
			return err
		} else if !ok {
			continue
		}
		// Who has the last word has the others, and Close gives it back as the last
		// one. It is not one that awaitTurn watches: killed before it has forgotten
		// the member before it, this process would be taken for that one, alive.
		q.forget(uint64(i + 1))
		for j := range last {
			if err := m[j].Publish(); err != nil {
				return err
			}
		}
		for _, e := range q.ends() {
			rouseEnd(&e.sleeps)
		}
		rouseEnd(&q.st.recv.armed)
		q.myCPU = futex.PinnedCPU()
		q.me = uint64(i + 1)
		q.mine.Store(m)
		for i := range q.seats {
			q.seats[i].state.Store(seatFree)
		}
		return nil
	}
	return fmt.Errorf("shm: a queue for %d processes has as many: %w", maxMembers, unix.EUSERS)
}

// Close releases this process's mapping and descriptor; the queue and what is
// in it stay for others. A second Close returns os.ErrClosed. It fails with
// EBUSY, and closes nothing, while calls of this process are under way: end
// their contexts first. It ends what the queue's notifiers wait for; they become
// readable, and are closed on their own.
func (q *queue) Close() error {
	q.closing.Lock()
	defer q.closing.Unlock()
	reopen, ok := q.shut()
	if !ok || !q.users.CompareAndSwap(0, closedUsers) {
		if q.users.Load() < 0 {
			return os.ErrClosed
		}
		reopen()
		return fmt.Errorf("shm: Close with calls under way: %w", unix.EBUSY)
	}
	q.notes.stop()
	if m := q.mine.Load(); m != nil {
		q.forget(q.me)
		for i := range m {
			m[i].Withdraw() // it is nobody else's, unless a peer breaks the rules
		}
	}
	return q.typed.close()
}

func (q *queue) ends() [3]*end { return [3]*end{&q.st.send, &q.st.recv, &q.st.join} }

// await waits until blocked is false; the caller holds the lock of end number i
// and keeps it. other is the end that changes what blocked looks at.
//
// SYNC queue-sleep: the sleeper sets sleeps, then looks again; the other end
// stores its position, then looks at sleeps (wake). All four are sequentially
// consistent, save the store of a member that is alone, for which the sleeper makes
// up (queue-alone-sleep); so one sees the other's store at least.
//
// SYNC queue-death: a process that is killed between its store and its wake
// wakes the sleeper by its death: he watches the word of every member in the
// same call. After a death he looks again only when the process is gone to its
// last thread, which may still commit something.
func (q *queue) await(ctx context.Context, i int, other *end, blocked func() bool) error {
	if q.spins[i].Wait(q.apart(other), func() bool { return !blocked() }) {
		raceAcquire()
		return nil
	}
	start := time.Now()
	if err := q.sleep(ctx, i, &q.ends()[i].sleeps, blocked); err != nil {
		return err
	}
	q.spins[i].Slept(time.Since(start))
	raceAcquire()
	return nil
}

// sleep is await once there is nothing else left to try. sleeps is the word of
// end number i.
func (q *queue) sleep(ctx context.Context, i int, sleeps *atomic.Uint32, blocked func() bool) error {
	nap := 20 * time.Microsecond
	defer sleeps.Store(0)
	for blocked() {
		sleeps.Store(asleep)
		dying, settled := q.watch(i, sleeps), q.settled(i)
		if !blocked() {
			break
		}
		if dying {
			if err := sleepFor(ctx, nap); err != nil {
				return err
			}
			nap = min(2*nap, time.Millisecond)
			continue
		}
		if err := sleepOn(ctx, settled, q.watchs[i]...); err != nil {
			return err
		}
	}
	return nil
}

// apart reports whether spinning can help a process that waits for the other
// end: not if its last user is bound to the same CPU, or there was none.
func (q *queue) apart(other *end) bool {
	cpu := other.cpu.Load()
	return cpu != 0 && (cpu != q.myCPU || cpu == futex.Unpinned)
}

// watch lists what to sleep on at an end: its own word, and each other member's.
// It reports whether one of them is dying.
func (q *queue) watch(i int, sleeps *atomic.Uint32) (dying bool) {
	words := append(q.watchs[i][:0], futex.Word{Addr: sleeps, Old: asleep})
	for k := range q.st.members {
		m := &q.st.members[k]
		if m == q.mine.Load() {
			continue
		}
		switch w := m[i].Word(); {
		case w.Addr.Load() == w.Old:
			words = append(words, w)
		case !m[i].Clear():
			dying = true
		}
	}
	q.watchs[i] = words
	return dying
}

// wake wakes the sleeper of an end, and its notifier, if there are any.
func (q *queue) wake(e *end) {
	if e.sleeps.Load()|e.armed.Load() != 0 {
		e.wake()
	}
}

func (e *end) wake() {
	wakeEnd(&e.sleeps)
	wakeEnd(&e.armed)
}

func sleepFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
