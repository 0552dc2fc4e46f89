package futex_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"

	"golang.org/x/sys/unix"
)

func compileCgo(t *testing.T) string {
	t.Helper()
	fuzz.Tool(t, "gcc")
	goTool, err := exec.LookPath("go") // it has no --version for fuzz.Tool
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	bin := filepath.Join(t.TempDir(), "cgo")
	build := exec.Command(goTool, "build", "-o", bin, "./testdata/cgo")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// mixed is a running process of testdata/cgo.
type mixed struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan string
}

func startMixed(t *testing.T, bin string, segment *os.File) *mixed {
	t.Helper()
	cmd := exec.Command(bin)
	cmd.ExtraFiles = []*os.File{segment}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &mixed{t, cmd, in, make(chan string, 16)}
	go func() {
		defer close(p.answers)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.answers <- s.Text()
		}
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *mixed) kill() {
	if p.cmd.ProcessState == nil {
		p.cmd.Process.Kill()
		for range p.answers {
		}
		p.cmd.Wait()
	}
}

func (p *mixed) say(lines ...string) {
	for _, l := range lines {
		fmt.Fprintln(p.in, l)
	}
}

// want waits for answers, in any order.
func (p *mixed) want(answers ...string) {
	p.t.Helper()
	left := map[string]bool{}
	for _, a := range answers {
		left[a] = true
	}
	for len(left) > 0 {
		select {
		case a, ok := <-p.answers:
			if !ok || !left[a] {
				p.t.Fatalf("%q, want one of %v", a, left)
			}
			delete(left, a)
		case <-time.After(hang):
			p.t.Fatalf("no answer, want one of %v", left)
		}
	}
}

// do says a line and wants one answer.
func (p *mixed) do(line, answer string) {
	p.t.Helper()
	p.say(line)
	p.want(line + ": " + answer)
}

// asleep waits until so many threads sleep on shared futex words, C's or ours.
func (p *mixed) asleep(n int) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("%d threads asleep", n), func() bool {
		found := 0
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", p.cmd.Process.Pid))
		for _, name := range tasks {
			text, _ := os.ReadFile(name)
			f := bytes.Fields(text)
			if len(f) < 4 {
				continue
			}
			op, err := strconv.ParseUint(strings.TrimPrefix(string(f[2]), "0x"), 16, 64)
			if nr := string(f[0]); nr == fmt.Sprint(unix.SYS_FUTEX_WAITV) ||
				nr == fmt.Sprint(unix.SYS_FUTEX) && err == nil && op&0x80 == 0 {
				found++
			}
		}
		return found == n
	})
}

// In a program with C each thread has glibc's robust list, in which the mutexes
// are that the thread holds. Ours uses one field of it, and only while it
// sleeps or wakes. Whichever dies in whichever state, both kinds are recovered.
func TestCase060BesideC(t *testing.T) {
	if testing.Short() && raceEnabled {
		t.Skip("builds a program")
	}
	bin := compileCgo(t)
	for _, lock := range []string{"lock", "lockcontext"} {
		segment, _ := mapFile(t, 4096, 4096)
		first := startMixed(t, bin, segment)
		first.do("a init", "ok")

		// The dead one held both, on one thread; others slept.
		first.do("a plock", "ok")
		first.do("a lock", "ok")
		second := startMixed(t, bin, segment)
		second.say("a plock", "b "+lock)
		second.asleep(2)
		first.kill()
		second.want("a plock: dead", "b "+lock+": dead")
		second.do("a pconsistent", "ok")
		second.do("b consistent", "ok")
		second.do("a punlock", "ok")
		second.do("b unlock", "ok")

		// It held both, and nobody slept.
		second.do("a plock", "ok")
		second.do("a "+lock, "ok")
		second.kill()
		third := startMixed(t, bin, segment)
		third.do("a plock", "dead")
		third.do("a "+lock, "dead")
		third.do("a pconsistent", "ok")
		third.do("a consistent", "ok")

		// It held C's while its thread slept for ours: the list's field names
		// ours, the list itself holds C's.
		third.do("a punlock", "ok")
		fourth := startMixed(t, bin, segment)
		fourth.do("a plock", "ok")
		fourth.say("a " + lock)
		fourth.asleep(1)
		fifth := startMixed(t, bin, segment)
		fifth.say("a plock", "b "+lock)
		fifth.asleep(2)
		fourth.kill()
		fifth.want("a plock: dead")
		third.do("a unlock", "ok")
		fifth.want("b " + lock + ": ok")

		// A thread that has slept for ours has its list for C as before.
		fifth.do("a pconsistent", "ok")
		fifth.do("a punlock", "ok")
		fifth.do("b plock", "ok")
		third.say("a plock", "b "+lock)
		third.asleep(2)
		fifth.kill()
		third.want("a plock: dead", "b "+lock+": dead")
		third.kill()
	}
}
