package shm_test

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// noWakes has the kernel end this process at its next wake of a futex that
// processes share. The runtime's own wakes are private ones.
func noWakes() error {
	const args = 16 // where they begin in struct seccomp_data; each has 8 bytes
	op := uint32(args + 8)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		op += 4
	}
	load := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: k}
	}
	equal := func(k uint32, jt, jf uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: jt, Jf: jf}
	}
	end := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	const wake, wakeOp, wakeBitset = 1, 5, 10
	program := []unix.SockFilter{
		load(0),
		equal(unix.SYS_FUTEX, 0, 4),
		load(op),
		equal(wake, 3, 0),
		equal(wakeOp, 2, 0),
		equal(wakeBitset, 1, 0),
		end(unix.SECCOMP_RET_ALLOW),
		end(unix.SECCOMP_RET_KILL_PROCESS),
	}
	runtime.LockOSThread() // TSYNC spreads what this thread has
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&filter)))
	if e != 0 {
		return e
	}
	return nil
}

const quietRounds = 1000

// quietly are operations that have nobody to wake, by what they are: each makes
// its object, and then returns one round of them.
var quietly = map[string]func() (func() error, error){
	"Queue": func() (func() error, error) {
		q, err := shm.NewQueue[int](4)
		return func() error {
			if err := q.Send(bg, 1); err != nil {
				return err
			}
			_, ok, err := q.TryRecv()
			if _, err2 := q.TrySend(2); !ok || err != nil || err2 != nil {
				return errors.Join(err, err2, errors.New("nothing received"))
			}
			return second(q.Recv(bg))
		}, err
	},
	"Queue, its notifier told": func() (func() error, error) {
		q, err := shm.NewQueue[int](4)
		if err != nil {
			return nil, err
		}
		n, err := q.Notify()
		if err != nil {
			return nil, err
		}
		told := false
		return func() error {
			if err := errors.Join(q.Send(bg, 1), second(q.Recv(bg))); err != nil || told {
				return err
			}
			told = true // by the first round, which is not looked at
			return errors.Join(q.Send(bg, 1), becomesReadable(n), second(q.Recv(bg)))
		}, err
	},
	"Queue, batches, and Done": func() (func() error, error) {
		q, err := shm.NewQueue[int](4)
		buf := make([]int, 4)
		return func() error {
			return errors.Join(second(q.SendBatch(bg, buf)), second(q.RecvBatch(bg, buf)),
				q.Done(), q.Done(), q.Done(), q.Done(), q.Join(bg))
		}, err
	},
	"MessageQueue": func() (func() error, error) {
		q, err := shm.NewMessageQueue(1024)
		buf := make([]byte, 100)
		return func() error { return errors.Join(q.Send(bg, buf), second(q.Recv(bg, buf))) }, err
	},
	"ObjectQueue": func() (func() error, error) {
		q, err := shm.NewObjectQueue[string](1024, "")
		return func() error { return errors.Join(q.Send(bg, "x"), second(q.Recv(bg))) }, err
	},
	"Ring": func() (func() error, error) {
		w, r, err := shm.NewRing(1024)
		buf := make([]byte, 100)
		return func() error { return errors.Join(w.Send(bg, buf), second(r.Recv(bg, buf))) }, err
	},
	"a wake": func() (func() error, error) {
		var word atomic.Uint32
		return func() error { return second(futex.Wake(&word, 1)) }, nil
	},
}

var beQuiet = proc.Register("shm_test/beQuiet", func(_ context.Context, what string) error {
	round, err := quietly[what]()
	if err != nil {
		return err
	}
	if what != "a wake" {
		err = round() // a process's first call joins
	}
	if err = errors.Join(err, noWakes()); err != nil {
		return err
	}
	for range quietRounds {
		if err := round(); err != nil {
			return err
		}
	}
	return nil
})

// Where nobody sleeps, nobody is woken: not one system call. The kernel watches.
func TestNoWakesWithoutSleepers(t *testing.T) {
	ctx := watchdog(t, hang)
	for what := range quietly {
		t.Run(what, func(t *testing.T) {
			p := started(t)(beQuiet.Start(ctx, what))
			_, err := p.Wait(ctx)
			if what != "a wake" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var exit *proc.ExitError
			if !errors.As(err, &exit) || exit.State.Signal() != syscall.SIGSYS {
				t.Errorf("a wake: %v, want the process ended by SIGSYS", err)
			}
		})
	}
}
