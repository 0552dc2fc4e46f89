package fuzz_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"

	"golang.org/x/sys/unix"
)

// The kernel's list of threads ends where one dies under it.
func TestThreadsWhileSomeDie(t *testing.T) {
	const dying = 50
	lists := 0
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		die, stay := make(chan bool), make(chan bool)
		var there sync.WaitGroup
		for range dying {
			there.Add(1)
			go func() {
				runtime.LockOSThread() // it ends with the goroutine
				there.Done()
				<-die
			}()
		}
		there.Wait()
		last := make(chan string)
		go func() {
			runtime.LockOSThread()
			last <- strconv.Itoa(unix.Gettid())
			<-stay
		}()
		tid := <-last
		close(die)
		for many := dying; many > dying/2; lists++ {
			tids := fuzz.ThreadsOf("self")
			if !slices.Contains(tids, tid) {
				t.Fatalf("list %d: thread %s is missing from %q", lists, tid, tids)
			}
			many = min(many-1, len(tids))
		}
		close(stay)
	}
	t.Log(lists, "lists")
}

// A child that becomes another program is the same child.
func TestLeaksOfAChildThatExecs(t *testing.T) {
	cmd := exec.Command("sh", "-c", "read line; exec sleep 60")
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	before := fuzz.Hold()
	_, err = in.Write([]byte("\n"))
	must(t, err)
	deadline := time.Now().Add(10 * time.Second)
	for comm(cmd.Process.Pid) != "sleep" {
		if time.Now().After(deadline) {
			t.Fatal("it does not exec")
		}
		time.Sleep(time.Millisecond)
	}
	if left := strings.Join(before.LeaksNow(), ", "); strings.Contains(left, fmt.Sprint("child ", cmd.Process.Pid)) {
		t.Errorf("left behind: %s", left)
	}
}

func comm(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name))
}
