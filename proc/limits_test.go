package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

var hoard []byte

var limited = proc.Register("limited", func(_ context.Context, what string) error {
	switch what {
	case "files":
		var all []*os.File
		for {
			f, err := os.Open(os.DevNull)
			if err != nil {
				fmt.Print(errors.Is(err, syscall.EMFILE), " ", len(all) < 40)
				return nil
			}
			all = append(all, f)
		}
	case "memory":
		hoard = make([]byte, 1<<min(33, bits.UintSize-2)) // and not a page of it touched
	case "cpu":
		for n := 0; ; n++ {
			hoard = hoard[:0]
		}
	case "size":
		f, err := os.CreateTemp("", "proc")
		if err != nil {
			return err
		}
		os.Remove(f.Name())
		_, err = f.Write(make([]byte, 2000))
		return err
	}
	return nil
})

func TestLimits(t *testing.T) {
	r, w := oneWay(t)
	p := started(t, limited, &proc.Cmd{Stdout: w, Limits: proc.Limits{Files: 40}}, "files")
	w.Close()
	if b, _ := io.ReadAll(r); string(b) != "true true" {
		t.Errorf("files: %q", b)
	}
	if _, err := p.Wait(within(t)); err != nil {
		t.Error(err)
	}
	// As large as this process is, which is terabytes under the race detector,
	// and room for more threads, but not for what the function wants.
	var size int64
	own, _ := os.ReadFile("/proc/self/status")
	fmt.Sscan(fieldOf(string(own), "VmSize"), &size)
	cmd := quiet(t)
	cmd.Limits.AddressSpace = size<<10 + 2<<30
	_, err := started(t, limited, cmd, "memory").Wait(within(t))
	if err == nil || !strings.Contains(err.Error(), "fatal error") {
		t.Errorf("memory: %v", err)
	}
	_, err = started(t, limited, &proc.Cmd{Limits: proc.Limits{FileSize: 1000}}, "size").Wait(within(t))
	if err == nil || !strings.Contains(err.Error(), "file too large") && !strings.Contains(err.Error(), "short write") {
		t.Errorf("file size: %v", err)
	}
	out, _ := says(t, proc.Cmd{Limits: proc.Limits{
		CPU: 1500 * time.Millisecond, AddressSpace: 1 << 30, Data: 1 << 29, Stack: 1 << 20, FileSize: 1 << 20, Core: 1, Locked: 4096, Files: 30, Processes: 500,
	}}, `cat /proc/self/limits`)
	for _, want := range []string{
		"Max cpu time 2 3 seconds", "Max address space 1073741824 1073741824 bytes", "Max data size 536870912 536870912 bytes",
		"Max stack size 1048576 1048576 bytes", "Max file size 1048576 1048576 bytes", "Max core file size 1 1 bytes",
		"Max locked memory 4096 4096 bytes", "Max open files 30 30 files", "Max processes 500 500 processes",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	// No argument is decoded without the limits, and what can't be set is said.
	if unix.Geteuid() == 0 {
		_, err = nothing.StartCmd(within(t), &proc.Cmd{Limits: proc.Limits{Files: proc.Unlimited}}, struct{}{})
		if err == nil || !strings.Contains(err.Error(), "Limits.Files is Unlimited (at most ") || !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "not permitted") {
			t.Errorf("more files than the kernel has: %v", err)
		}
	}
	if testing.Short() {
		return
	}
	// SIGXCPU ends a program; Go does not heed it, and is killed a second later.
	if _, s := says(t, proc.Cmd{Limits: proc.Limits{CPU: time.Second}}, `while :; do :; done`); s.Signal() != syscall.SIGXCPU {
		t.Errorf("a program: %v", s)
	}
	s, _ := started(t, limited, &proc.Cmd{Limits: proc.Limits{CPU: time.Second}}, "cpu").Wait(within(t))
	if s == nil || s.Signal() != syscall.SIGKILL || s.UserTime()+s.SystemTime() < time.Second {
		t.Errorf("a function: %v after %v", s, s.UserTime()+s.SystemTime())
	}
}
