package futex_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

func TestCase051Requeue(t *testing.T) {
	var from, to atomic.Uint32
	if _, err := futex.Requeue(&from, 1, &to, 1, 9); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("another value: %v", err)
	}
	for _, n := range [][2]int{{-1, 1}, {1, -1}} {
		if _, err := futex.Requeue(&from, n[0], &to, n[1], 0); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%v: %v", n, err)
		}
	}
	a, b := asleep(t, &from), asleep(t, &from)
	until(t, "two moved or woken", func() bool {
		n, err := futex.Requeue(&from, 1, &to, futex.All, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n == 2
	})
	var rest <-chan error
	select {
	case <-a:
		rest = b
	case <-b:
		rest = a
	case <-time.After(hang):
		t.Fatal("nobody was woken")
	}
	// A signal (the runtime sends some) takes a sleeper out of the word that it
	// was moved to, back to the one that it knows: that one has changed by now.
	from.Store(1)
	if n, err := futex.Wake(&to, futex.All); n > 1 || err != nil {
		t.Errorf("moved: %d, %v", n, err)
	}
	select {
	case err := <-rest:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(hang):
		t.Fatal("the one that was moved sleeps on")
	}
}

func TestCase052WaitAny(t *testing.T) {
	words := make([]atomic.Uint32, 129)
	list := func(n int) (l []futex.Word) {
		for i := range n {
			l = append(l, futex.Word{Addr: &words[i]})
		}
		return l
	}
	for _, bad := range []int{0, 129} {
		if _, err := futex.WaitAny(bg, list(bad)...); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%d words: %v", bad, err)
		}
	}
	if _, err := futex.WaitAny(canceller(t), list(128)...); !errors.Is(err, unix.EINVAL) {
		t.Errorf("128 words and a context: %v", err)
	}
	words[100].Store(1)
	if i, err := futex.WaitAny(bg, list(128)...); i != 100 || err != nil {
		t.Errorf("a word that differs: %d, %v", i, err)
	}
	words[100].Store(0)
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	if i, err := futex.WaitAny(ctx, list(127)...); i != -1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the end of the context: %d, %v", i, err)
	}
	for _, n := range []int{1, 2, 127, 128} {
		for _, k := range []int{0, n / 2, n - 1} {
			ctx := bg
			if n < 128 && k > 0 {
				ctx = canceller(t) // one word more
			}
			got := make(chan int, 1)
			go func() {
				i, err := futex.WaitAny(ctx, list(n)...)
				if err != nil {
					t.Error(err)
				}
				got <- i
			}()
			time.Sleep(5 * time.Millisecond)
			words[k].Store(1)
			futex.Wake(&words[k], 1)
			select {
			case i := <-got:
				if i != k {
					t.Errorf("word %d of %d: got %d", k, n, i)
				}
			case <-time.After(hang):
				t.Fatalf("word %d of %d: still asleep", k, n)
			}
			words[k].Store(0)
		}
	}
}

func TestCase054WakeNobody(t *testing.T) {
	var w atomic.Uint32
	done := asleep(t, &w)
	if n, err := futex.Wake(&w, 0); n != 0 || err != nil {
		t.Errorf("woke %d, %v", n, err)
	}
	if _, err := futex.Wake(&w, -1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("-1: %v", err)
	}
	select {
	case <-done:
		t.Error("Wake(0) woke the sleeper")
	case <-time.After(20 * time.Millisecond):
	}
	wakeAll(t, &w, done)
}

func TestBitset(t *testing.T) {
	var w atomic.Uint32
	if err := futex.WaitBitset(bg, &w, 0, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("an empty mask: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- futex.WaitBitset(canceller(t), &w, 0, 0b0110) }()
	until(t, "woken by its bit", func() bool {
		if n, err := futex.WakeBitset(&w, 1, 0b1001); n != 0 || err != nil {
			t.Fatalf("foreign bits woke %d, %v", n, err)
		}
		n, err := futex.WakeBitset(&w, 1, 0b1100)
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	for {
		err := futex.WaitBitset(ctx, &w, 0, 1)
		if err == nil {
			continue // woken by its own cancellation: look again
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		break
	}
}

func TestWakeOp(t *testing.T) {
	for _, c := range []struct {
		op        futex.Op
		old, want uint32
	}{
		{futex.Op{Do: futex.OpSet, Arg: 5}, 9, 5},
		{futex.Op{Do: futex.OpSet, Arg: 31, Shift: true}, 9, 1 << 31},
		{futex.Op{Do: futex.OpAdd, Arg: 2000}, 9, 2009},
		{futex.Op{Do: futex.OpAdd, Arg: -9}, 9, 0},
		{futex.Op{Do: futex.OpOr, Arg: 6}, 9, 15},
		{futex.Op{Do: futex.OpAndNot, Arg: 3, Shift: true}, 9, 1},
		{futex.Op{Do: futex.OpXor, Arg: 1}, 9, 8},
	} {
		var a, b atomic.Uint32
		b.Store(c.old)
		if n, err := futex.WakeOp(&a, 1, &b, 1, c.op); n != 0 || err != nil || b.Load() != c.want {
			t.Errorf("%+v on %d: woke %d, %v, made %d, want %d", c.op, c.old, n, err, b.Load(), c.want)
		}
	}
	var a, b atomic.Uint32
	for _, bad := range []futex.Op{{Arg: 2048}, {Arg: 32, Shift: true}, {CmpArg: -2049}, {Do: 5}, {Cmp: 6}} {
		if _, err := futex.WakeOp(&a, 1, &b, 1, bad); !errors.Is(err, unix.EINVAL) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := futex.WakeOp(&a, 0, &b, 1, futex.Op{}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no count: %v", err)
	}
	// The second word's sleepers are woken if its old value was 3.
	second := asleep(t, &b)
	first := asleep(t, &a)
	op := futex.Op{Do: futex.OpSet, Arg: 3, Cmp: futex.CmpEqual, CmpArg: 3}
	if n, err := futex.WakeOp(&a, 1, &b, 1, op); n != 1 || err != nil {
		t.Errorf("woke %d, %v, want the first word's alone", n, err)
	}
	<-first
	if n, err := futex.WakeOp(&a, 1, &b, 1, op); n != 1 || err != nil {
		t.Errorf("woke %d, %v, want the second word's", n, err)
	}
	<-second
}

// What is refused before the kernel sees it is named, with what would do, and is
// still the call's EINVAL.
func TestRawRefusals(t *testing.T) {
	var a, b atomic.Uint32
	op := func(op futex.Op) error { _, err := futex.WakeOp(&a, 1, &b, 1, op); return err }
	for want, call := range map[string]func() error{
		"Wake of -1 sleepers, want 0 or more: futex_wake:": func() error { _, err := futex.Wake(&a, -1); return err },
		"WakeBitset with a mask of 0, want a bit":          func() error { _, err := futex.WakeBitset(&a, 1, 0); return err },
		"WaitBitset with a mask of 0, want a bit":          func() error { return futex.WaitBitset(bg, &a, 0, 0) },
		"Requeue that wakes 1 and moves -2, want 0":        func() error { _, err := futex.Requeue(&a, 1, &b, -2, 0); return err },
		"WakeOp of 1 and 0 sleepers, want 1 or more each":  func() error { _, err := futex.WakeOp(&a, 1, &b, 0, futex.Op{}); return err },
		"Op.Arg is 2048, want -2048 to 2047":               func() error { return op(futex.Op{Arg: 2048}) },
		"Op.Arg is 32, want 0 to 31":                       func() error { return op(futex.Op{Arg: 32, Shift: true}) },
		"Op.CmpArg is -2049, want -2048 to 2047":           func() error { return op(futex.Op{CmpArg: -2049}) },
		"Op.Do is 5, want OpSet (0) to OpXor (4)":          func() error { return op(futex.Op{Do: 5}) },
		"Op.Cmp is 6, want CmpEqual (0) to":                func() error { return op(futex.Op{Cmp: 6}) },
	} {
		err := call()
		if !errors.Is(err, unix.EINVAL) || !errors.As(err, new(*os.SyscallError)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want EINVAL and %q in it", err, want)
		}
	}
}
