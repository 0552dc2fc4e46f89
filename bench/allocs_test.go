package main

import (
	"testing"

	"github.com/rawipc/rawipc/shm"
)

// A message there and back costs no allocation on any path of ours, with the
// other end on a goroutine that must not allocate either. The packages' own
// tests gate single calls: futex (locks, semaphore, event, wait and wake, awake
// and asleep), shm (Ring, Queue, MessageQueue, Value, ReadAt), pipe (Send, Recv)
// and mq (Send, Recv).
func TestAllocsPaths(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, p := range append(paths, morePaths...) {
		if p.impl != "rawipc" && p.impl != "kernel" {
			continue
		}
		if p.name == "pool.Call" || p.name == "pipe.Pair+file" {
			continue // a result is a new value, and a descriptor a new *os.File
		}
		t.Run(p.name, func(t *testing.T) {
			a, b, err := p.make()
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			defer b.close()
			ea, eb := opened(t, a), opened(t, b)
			const rounds = 200
			size := max(p.fixed, 64)
			msg, buf := make([]byte, size), make([]byte, size)
			echoed := make(chan error, 1)
			go func() {
				var err error
				for i := 0; i < rounds+1 && err == nil; i++ { // AllocsPerRun runs once more
					if err = eb.recv(buf); err == nil {
						err = eb.send(buf)
					}
				}
				echoed <- err
			}()
			n := testing.AllocsPerRun(rounds, func() {
				if err := ea.send(msg); err != nil {
					t.Error(err)
				}
				if err := ea.recv(msg); err != nil {
					t.Error(err)
				}
			})
			if n != 0 {
				t.Errorf("%v allocations there and back", n)
			}
			if err := <-echoed; err != nil {
				t.Error(err)
			}
		})
	}
}

func opened(t *testing.T, l *link) end {
	t.Helper()
	e, err := l.open()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What packages leave open: operations on locks and values that nobody else
// wants.
func TestAllocsAlone(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p, err := newParts(1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	v, err := shm.NewValue[int64](0)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	at := p.Ptr()
	for name, f := range map[string]func(){
		"RWMutex":         func() { at.RW.Lock(); at.RW.Unlock() },
		"RWMutex, read":   func() { at.RW.RLock(); at.RW.RUnlock() },
		"Cond.Signal":     func() { at.Cond.Signal() },
		"Cond.Broadcast":  func() { at.Cond.Broadcast() },
		"Barrier of one":  func() { at.Meet.Wait(bg) },
		"Value.Load":      func() { v.Load() },
		"Value.Store":     func() { v.Store(1) },
		"Value, Add":      func() { shm.Add(v, 1) },
		"Mutex contested": func() { at.Mutex.Lock(); at.Mutex.TryLock(); at.Mutex.Unlock() },
	} {
		f() // the first use of a lock names it to the kernel
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
