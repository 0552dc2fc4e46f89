package proc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// family is what a child needs that makes a grandchild.
type family struct {
	Out    *os.File
	In     *os.File
	Detach bool
}

// member says that it lives, then copies In to Out until In ends. It does not
// care for SIGTERM.
var member = proc.Register("member", func(_ context.Context, f family) error {
	if _, err := f.Out.WriteString("up\n"); err != nil {
		return err
	}
	_, err := io.Copy(f.Out, f.In)
	return err
})

// head starts a member and waits for ever.
var head = proc.Register("head", func(_ context.Context, f family) error {
	p, err := member.StartCmd(context.Background(), &proc.Cmd{Detach: f.Detach}, f)
	if err != nil {
		return err
	}
	f.Out.Close()
	f.In.Close()
	_, err = p.Wait(context.Background())
	return err
})

// killedParent starts a child that has a child, and kills the first one.
func killedParent(t *testing.T, detach bool) (out *bufio.Reader, in *os.File) {
	r, w := oneWay(t)
	inr, inw := oneWay(t)
	p := started(t, head, nil, family{w, inr, detach})
	w.Close()
	inr.Close()
	out = bufio.NewReader(r)
	if line, err := out.ReadString('\n'); err != nil {
		p.Kill()
		_, werr := p.Wait(within(t))
		t.Fatalf("no word from the grandchild: %q, %v, %v", line, err, werr)
	}
	p.Kill()
	if s, err := p.Wait(within(t)); s.Signal() != syscall.SIGKILL {
		t.Fatalf("the child: %v, %v", s, err)
	}
	return out, inw
}

func TestDiesWithParent(t *testing.T) {
	for range 10 {
		out, _ := killedParent(t, false)
		if b, err := io.ReadAll(out); err != nil {
			t.Fatalf("the grandchild outlived its parent: %q, %v", b, err)
		}
	}
}

func TestDetach(t *testing.T) {
	out, in := killedParent(t, true)
	if _, err := in.WriteString("still there?\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := out.ReadString('\n'); line != "still there?\n" {
		t.Errorf("from a detached grandchild: %q, %v", line, err)
	}
	in.Close() // and so it ends
	if _, err := io.ReadAll(out); err != nil {
		t.Error(err)
	}
}

// TestStarterEnds lets the goroutine and the thread end that asked for a child:
// the kernel's "parent died" must not come from there.
func TestStarterEnds(t *testing.T) {
	got := make(chan *proc.Process, 1)
	tid := make(chan int)
	var starter func()
	starter = func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		if unix.Gettid() == unix.Getpid() {
			go starter() // the main thread never ends: another one
			<-t.Context().Done()
			return
		}
		p, err := idle.Start(context.Background(), struct{}{})
		if err != nil {
			t.Error(err)
		}
		got <- p
		tid <- unix.Gettid()
	}
	go starter()
	thread := fmt.Sprintf("/proc/self/task/%d", <-tid)
	p := <-got
	if p == nil {
		t.FailNow()
	}
	t.Cleanup(func() { p.Kill(); <-p.Done() })
	for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(thread); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the thread does not end")
		}
	}
	time.Sleep(50 * time.Millisecond)
	p.Terminate()
	if s, err := p.Wait(within(t)); err != nil {
		t.Errorf("the child of a thread that ended: %v, %v", s, err)
	}
}
