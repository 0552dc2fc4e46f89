package fuzz_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// couple is what the fuzzed objects hold.
type couple struct {
	A int64
	B [3]int32
}

// allLocks has one of each type that lies in shared memory.
type allLocks struct {
	Mutex     futex.Mutex
	Robust    futex.RobustMutex
	RW        futex.RWMutex
	Recursive futex.RecursiveMutex
	Semaphore futex.Semaphore
	Event     futex.Event
	Cond      futex.Cond
	Barrier   futex.Barrier
	Once      futex.Once
	Life      futex.Liveness
}

func initLocks(l *allLocks) error {
	return errors.Join(l.Semaphore.Init(2, 4), l.Barrier.Init(2))
}

type handed interface {
	PassFiles() ([]*os.File, error)
	TakeFiles([]*os.File) error
	Close() error
}

// A subject is one kind of object: a good one, an empty handle for a hostile
// one, and all that can be done with that. Whatever is locked is unlocked
// again within one step, for a step is what the peer writes between.
type subject struct {
	name  string
	fresh func() (handed, error)
	empty func() handed
	steps func(h handed) []func(ctx context.Context) error
}

func queueSteps(q interface {
	CloseSend() error
	Done() error
	Join(context.Context) error
	Cap() int
	Len() int
}, more ...func(context.Context) error) []func(context.Context) error {
	return append(more,
		func(context.Context) error { return q.Done() },
		q.Join,
		func(context.Context) error { q.Len(); return nil },
		func(context.Context) error { return bounded(q.Cap(), 1<<20) },
	)
}

func bounded(n, most int) error {
	if n < 0 || n > most {
		return fmt.Errorf("%d, want 0 to %d", n, most)
	}
	return nil
}

var subjects = []subject{
	{"Shared", func() (handed, error) { return shm.New(initLocks) }, func() handed { return new(shm.Shared[allLocks]) }, lockSteps},
	{"Value", func() (handed, error) { return shm.NewValue(couple{A: 7}) }, func() handed { return new(shm.Value[couple]) },
		func(h handed) []func(context.Context) error {
			v := h.(*shm.Value[couple])
			return []func(context.Context) error{
				func(context.Context) error { v.Load(); return nil },
				func(ctx context.Context) error {
					return v.UpdateContext(ctx, func(c *couple) error { c.A++; return nil })
				},
				func(context.Context) error { v.Load(); return nil },
			}
		}},
	{"Array", func() (handed, error) { return shm.NewArray(make([]couple, 5)) }, func() handed { return new(shm.Array[couple]) },
		func(h handed) []func(context.Context) error {
			a := h.(*shm.Array[couple])
			return []func(context.Context) error{
				func(ctx context.Context) error {
					return a.UpdateContext(ctx, func(xs []couple) error {
						for i := range xs {
							xs[i].A++
						}
						return bounded(len(xs), 1<<10)
					})
				},
				func(context.Context) error { return bounded(a.Len(), 1<<10) },
			}
		}},
	{"Queue", func() (handed, error) { return shm.NewQueue[couple](5) }, func() handed { return new(shm.Queue[couple]) },
		func(h handed) []func(context.Context) error {
			q := h.(*shm.Queue[couple])
			return queueSteps(q,
				func(ctx context.Context) error { return q.Send(ctx, couple{A: 1}) },
				func(context.Context) error { _, err := q.TrySend(couple{}); return err },
				func(ctx context.Context) error { _, err := q.SendBatch(ctx, make([]couple, 9)); return err },
				func(ctx context.Context) error { _, err := q.Recv(ctx); return err },
				func(context.Context) error { _, _, err := q.TryRecv(); return err },
				func(ctx context.Context) error {
					n, err := q.RecvBatch(ctx, make([]couple, 9))
					return errors.Join(bounded(n, 9), err)
				})
		}},
	{"MessageQueue", func() (handed, error) { return shm.NewMessageQueue(256) }, func() handed { return new(shm.MessageQueue) },
		func(h handed) []func(context.Context) error {
			q, buf := h.(*shm.MessageQueue), make([]byte, 100)
			return queueSteps(q,
				func(ctx context.Context) error { return q.Send(ctx, buf[:40]) },
				func(context.Context) error { _, err := q.TrySend(buf[:3]); return err },
				func(ctx context.Context) error {
					n, err := q.Recv(ctx, buf)
					return errors.Join(bounded(n, len(buf)), err)
				},
				func(ctx context.Context) error {
					b, err := q.RecvAppend(ctx, nil)
					return errors.Join(bounded(len(b), 1<<20), err)
				},
				func(context.Context) error {
					n, _, err := q.TryRecv(buf)
					return errors.Join(bounded(n, len(buf)), err)
				})
		}},
	{"ObjectQueue", func() (handed, error) { return shm.NewObjectQueue[[]string](512, "") }, func() handed { return new(shm.ObjectQueue[[]string]) },
		func(h handed) []func(context.Context) error {
			q := h.(*shm.ObjectQueue[[]string])
			return queueSteps(q,
				func(ctx context.Context) error { return q.Send(ctx, []string{"some", "text"}) },
				func(context.Context) error { _, err := q.TrySend(nil); return err },
				func(ctx context.Context) error { _, err := q.Recv(ctx); return err },
				func(context.Context) error { _, _, err := q.TryRecv(); return err })
		}},
	{"RingWriter", newRing, func() handed { return new(shm.RingWriter) },
		func(h handed) []func(context.Context) error {
			w := h.(*shm.RingWriter)
			return []func(context.Context) error{
				func(ctx context.Context) error { return w.Send(ctx, make([]byte, 1000)) },
				func(ctx context.Context) error {
					b, err := w.Reserve(ctx, 40)
					if err == nil {
						w.Commit(len(b))
					}
					return errors.Join(bounded(len(b), 40), err)
				},
				func(context.Context) error { return w.CloseSend() },
			}
		}},
	{"RingReader", newRing, func() handed { return new(shm.RingReader) },
		func(h handed) []func(context.Context) error {
			r := h.(*shm.RingReader)
			return []func(context.Context) error{
				func(ctx context.Context) error {
					n, err := r.Recv(ctx, make([]byte, 100))
					return errors.Join(bounded(n, 100), err)
				},
				func(ctx context.Context) error {
					b, err := r.Peek(ctx)
					if err == nil {
						r.Advance()
					}
					return errors.Join(bounded(len(b), r.MaxMessage()), err)
				},
			}
		}},
}

func newRing() (handed, error) {
	w, r, err := shm.NewRing(1)
	if err != nil {
		return nil, err
	}
	return w, r.Close()
}

func lockSteps(h handed) []func(context.Context) error {
	l, o := h.(*shm.Shared[allLocks]).Ptr(), futex.NewOwner()
	locked := func(err error, unlock func() error) error {
		if err == nil || errors.Is(err, futex.ErrOwnerDead) {
			return errors.Join(err, unlock())
		}
		return err
	}
	return []func(context.Context) error{
		func(ctx context.Context) error {
			return locked(l.Mutex.LockContext(ctx), func() error { l.Mutex.Unlock(); return nil })
		},
		func(ctx context.Context) error { return locked(l.Robust.LockContext(ctx), l.Robust.Unlock) },
		func(context.Context) error { return l.Robust.MarkConsistent() },
		func(ctx context.Context) error { return locked(l.RW.LockContext(ctx), l.RW.Unlock) },
		func(ctx context.Context) error { return locked(l.RW.RLockContext(ctx), l.RW.RUnlock) },
		func(context.Context) error { return l.RW.RUnlock() },
		func(ctx context.Context) error {
			return locked(l.Recursive.LockContext(ctx, o), func() error { return l.Recursive.Unlock(o) })
		},
		func(ctx context.Context) error { return l.Semaphore.Acquire(ctx) },
		func(ctx context.Context) error { return l.Semaphore.AcquireOwned(ctx) },
		func(context.Context) error { return l.Semaphore.Release() },
		func(context.Context) error { return l.Semaphore.ReleaseOwned() },
		func(context.Context) error { return bounded(l.Semaphore.Value(), futex.MaxTokens) },
		func(ctx context.Context) error { return l.Event.Wait(ctx) },
		func(context.Context) error { l.Event.Set(); l.Event.Reset(); return nil },
		func(context.Context) error { return l.Cond.Signal() },
		func(context.Context) error { return l.Cond.Notify(3) },
		func(context.Context) error { return l.Cond.Broadcast() },
		func(ctx context.Context) error {
			err := l.Robust.LockContext(ctx)
			return locked(err, func() error {
				err := l.Cond.Wait(ctx, &l.Robust)
				return errors.Join(err, l.Robust.Unlock())
			})
		},
		func(ctx context.Context) error { _, err := l.Barrier.Wait(ctx); return err },
		func(context.Context) error { l.Barrier.Break(); l.Barrier.Reset(); return nil },
		func(context.Context) error { return bounded(l.Barrier.Waiting(), futex.MaxParties) },
		func(ctx context.Context) error { return l.Once.Do(ctx, func() error { return nil }) },
		func(context.Context) error { _, err := l.Life.Claim(); return err },
		func(context.Context) error { return l.Life.Withdraw() },
	}
}

// FuzzHandOver has a hostile peer hand over an object of any kind: a good one
// with some of its bytes changed, of another length perhaps. Taking it gives an
// object, if its header is a good one's, or a typed error; so does all that can be
// done with it, while the peer goes on writing. Nothing panics, faults or waits beyond its context, and
// nothing takes memory for what a number in there only claims.
func FuzzHandOver(f *testing.F) {
	good := make([][]byte, len(subjects))
	for i, s := range subjects {
		h, err := s.fresh()
		if err != nil {
			f.Fatal(err)
		}
		files, err := h.PassFiles()
		if err != nil {
			f.Fatal(err)
		}
		st, err := files[0].Stat()
		if err != nil {
			f.Fatal(err)
		}
		good[i] = make([]byte, st.Size())
		if _, err := files[0].ReadAt(good[i], 0); err != nil {
			f.Fatal(err)
		}
		h.Close()
	}
	edit := func(at uint16, v uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(nil, at), v)
	}
	for i := range subjects {
		k := byte(i)
		f.Add(k, []byte{}, []byte{}, int16(0))
		f.Add(k, edit(0, 0x0200_6370_6977_6172), []byte{}, int16(0)) // another version
		f.Add(k, edit(8, 0x0000_0008_0403_0201), []byte{}, int16(0)) // the other byte order
		f.Add(k, edit(8, 0x0000_0004_0102_0304), []byte{}, int16(0)) // words of half the size
		f.Add(k, edit(16, 0x0000_0001_0000_0063), []byte{}, int16(0))
		f.Add(k, edit(16, uint64(good[i][16])), []byte{}, int16(0)) // never finished
		f.Add(k, edit(24, 1<<40), []byte{}, int16(0))               // size
		f.Add(k, edit(32, 8), []byte{}, int16(0))                   // data
		f.Add(k, edit(40, 1<<61), []byte{}, int16(0))               // count
		f.Add(k, edit(48, 1), []byte{}, int16(0))                   // layout
		f.Add(k, edit(56, 1), []byte{}, int16(0))                   // another namespace
		f.Add(k, edit(64, ^uint64(0)), []byte{}, int16(-64))        // layout's length; a size that doesn't fit
		// The lengths of what lies in queues, once something does.
		for _, at := range []int{len(good[i]) - 512, len(good[i]) - 256, os.Getpagesize()} {
			nothing := edit(0xfff8, 0)
			for _, v := range []uint64{1 << 40, ^uint64(0), 49} {
				f.Add(k, []byte{}, slices.Concat(nothing, edit(uint16(at), v), edit(uint16(at), v), edit(uint16(at), v)), int16(0))
			}
		}
		for at := uint16(512); at < 1600; at += 192 {
			f.Add(k, []byte{}, append(edit(at, ^uint64(0)), edit(at+128, 1<<63|5)...), int16(0))
			f.Add(k, edit(at, 0x3030_3030_4030_3030), []byte{}, int16(0))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, before, during []byte, longer int16) {
		k := int(which) % len(subjects)
		s, image := subjects[k], good[k]
		size := max(int64(len(image))+int64(longer), 1)
		if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
			t.Skip("the patches are little-endian")
		}
		o, err := shm.CreateAnon("hostile", size, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := o.Map(0, 0, shm.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		mem := m.Bytes()
		copy(mem, image)
		for patch(mem, &before) {
		}
		h := s.empty()
		if took := allocated(func() { err = h.TakeFiles([]*os.File{o.File()}) }); took > mostAllocated {
			t.Errorf("%s: TakeFiles took %d bytes of memory", s.name, took)
		}
		if err != nil {
			if !errors.Is(err, shm.ErrCorrupt) && !errors.Is(err, shm.ErrNamespace) {
				t.Errorf("%s: TakeFiles: %v", s.name, err)
			}
			return
		}
		// What the object is, where its data lies, its type and its namespace.
		for _, b := range [][2]int{{0, 24}, {32, 40}, {48, 64}} {
			if !bytes.Equal(mem[b[0]:b[1]], image[b[0]:b[1]]) {
				t.Errorf("%s: taken with %x in bytes %d to %d of its header, want %x", s.name, mem[b[0]:b[1]], b[0], b[1], image[b[0]:b[1]])
			}
		}
		defer func() {
			if err := h.Close(); err != nil {
				t.Errorf("%s: Close: %v", s.name, err)
			}
		}()
		for range 2 {
			for i, step := range s.steps(h) {
				patch(mem, &during)
				brief, cancel := context.WithTimeout(context.Background(), 100*time.Microsecond)
				var err error
				if took := allocated(func() { err = step(brief) }); took > mostAllocated {
					t.Errorf("%s: step %d took %d bytes of memory", s.name, i, took)
				}
				cancel()
				if !known(err) {
					t.Errorf("%s: step %d: %v", s.name, i, err)
				}
			}
		}
	})
}

// patch makes the next of a peer's writes.
func patch(mem []byte, edits *[]byte) bool {
	e := *edits
	if len(e) < 10 {
		return false
	}
	*edits = e[10:]
	at := int(binary.LittleEndian.Uint16(e)) &^ 7
	if at+8 <= len(mem) {
		binary.LittleEndian.PutUint64(mem[at:], binary.LittleEndian.Uint64(e[2:]))
	}
	return true
}

// mostAllocated is above what a step takes by itself: a context's timer, a
// batch, a message that is there.
const mostAllocated = 4 << 20

func allocated(f func()) uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	before := s[0].Value.Uint64()
	f()
	metrics.Read(s)
	return s[0].Value.Uint64() - before
}

// known says whether an error is one that the documentation names for what a
// peer did.
func known(err error) bool {
	if err == nil {
		return true
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok && !errors.Is(err, shm.ErrUndecodable) {
		for _, err := range j.Unwrap() {
			if !known(err) {
				return false
			}
		}
		return true
	}
	for _, want := range []error{shm.ErrCorrupt, shm.ErrTooLarge, shm.ErrShortBuffer, shm.ErrPeerDead, shm.ErrUndecodable,
		futex.ErrOwnerDead, futex.ErrNotRecoverable, futex.ErrBroken, context.DeadlineExceeded, io.EOF, os.ErrClosed,
		unix.EBUSY, unix.EPERM, unix.EINVAL, unix.EAGAIN, unix.EOVERFLOW} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}
