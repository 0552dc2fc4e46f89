package mq_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/mq"
)

var bg = context.Background()

// hang is when a test is taken to hang: far above what anything here needs.
const hang = 20 * time.Second

var names atomic.Int64

// freshName returns the name of no queue.
func freshName() string {
	return fmt.Sprintf("/rawipc-mq-test-%d-%d", os.Getpid(), names.Add(1))
}

// fresh creates a queue for the time of the test.
func fresh(t testing.TB, attr *mq.Attr) (*mq.Queue, string) {
	t.Helper()
	name := freshName()
	q, err := mq.Create(name, attr)
	must(t, err)
	t.Cleanup(func() { q.Close(); mq.Unlink(name) })
	return q, name
}

func small(messages int) *mq.Attr { return &mq.Attr{MaxMessages: messages, MessageSize: 64} }

func fdCount(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error is %v, want %v", what, err, want)
	}
}

// within runs f under a watchdog.
func within(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(hang):
		debug.SetTraceback("all")
		panic(what + " hangs")
	}
}

func rawFD(t testing.TB, c syscall.Conn) int {
	t.Helper()
	rc, err := c.SyscallConn()
	must(t, err)
	n := -1
	must(t, rc.Control(func(fd uintptr) { n = int(fd) }))
	return n
}

// blocked gives goroutines time to get into a wait; nothing depends on it.
func blocked() { time.Sleep(20 * time.Millisecond) }
