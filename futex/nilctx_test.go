package futex_test

import (
	"bytes"
	"context"
	"math/bits"
	"testing"

	"github.com/rawipc/rawipc/futex"
)

// Who passes no context is told so at once. If he recovers, as net/http does, the
// memory is as it was: no party of a barrier, no waiter, no lock is left behind.
func TestNilContext(t *testing.T) {
	if bits.UintSize != 64 {
		t.Skip("Attach needs 64 bits")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f, mem := mapFile(t, 32768, 32768)
	r, err := futex.Attach(mem, f)
	must(err)
	a, err := futex.At[everyLock](mem, 0)
	must(err)
	must(a.Barrier.Init(2))
	o := futex.NewOwner()
	a.Mutex.Lock()
	must(a.Robust.Lock())
	must(a.RW.RLock())
	must(a.Recursive.Lock(o))
	must(a.Sem.Init(0, 1))
	must(a.Sem.Release())
	must(a.Sem.AcquireOwned(bg)) // and this process has a slot
	defer func() {
		a.Mutex.Unlock()
		must(a.Robust.Unlock())
		must(a.RW.RUnlock())
		must(a.Recursive.Unlock(o))
		must(r.Detach()) // nobody waits
	}()
	before := bytes.Clone(mem)
	var none context.Context
	for what, call := range map[string]func(){
		"Mutex.LockContext":          func() { a.Mutex.LockContext(none) },
		"RobustMutex.LockContext":    func() { a.Robust.LockContext(none) },
		"RecursiveMutex.LockContext": func() { a.Recursive.LockContext(none, futex.NewOwner()) },
		"RWMutex.LockContext":        func() { a.RW.LockContext(none) },
		"RWMutex.RLockContext":       func() { a.RW.RLockContext(none) },
		"Semaphore.Acquire":          func() { a.Sem.Acquire(none) },
		"Semaphore.AcquireOwned":     func() { a.Sem.AcquireOwned(none) },
		"Event.Wait":                 func() { a.Event.Wait(none) },
		"Barrier.Wait":               func() { a.Barrier.Wait(none) },
		"Barrier.WaitFunc":           func() { a.Barrier.WaitFunc(none, func() error { return nil }) },
		"Cond.Wait":                  func() { a.Cond.Wait(none, &a.Mutex) },
		"Cond.WaitFor":               func() { a.Cond.WaitFor(none, &a.Robust, func() bool { return false }) },
		"Once.Do":                    func() { a.Once.Do(none, func() error { return nil }) },
		"WaitContext":                func() { futex.WaitContext(none, &a.Word, 0) },
		"WaitBitset":                 func() { futex.WaitBitset(none, &a.Word, 0, 1) },
		"WaitAny":                    func() { futex.WaitAny(none, futex.Word{Addr: &a.Word}) },
	} {
		func() {
			defer func() {
				if got := recover(); got != "futex: nil context" {
					t.Errorf("%s: %v, want a panic that says nil context", what, got)
				}
			}()
			call()
		}()
		if !bytes.Equal(mem, before) {
			t.Errorf("%s has changed something", what)
			copy(mem, before)
		}
	}
}
