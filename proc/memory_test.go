package proc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"golang.org/x/sys/unix"
)

// glutton wants more memory than its cgroup has.
var glutton = proc.Register("glutton", func(context.Context, struct{}) error {
	for {
		b := make([]byte, 4<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		hoards = append(hoards, b)
	}
})

var hoards [][]byte

// confined moves itself into a cgroup, and starts what ends for want of memory
// there, and what ends otherwise.
var confined = proc.Register("confined", func(ctx context.Context, dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
		return err
	}
	p, err := idle.Start(ctx, struct{}{})
	if err != nil {
		return err
	}
	g, err := glutton.StartCmd(ctx, &proc.Cmd{Sys: &syscall.SysProcAttr{}}, struct{}{})
	if err != nil {
		return err
	}
	s, err := g.Wait(ctx)
	if s == nil || !s.OOMKilled() || s.Signal() != syscall.SIGKILL || !strings.Contains(err.Error(), "out of memory") {
		return fmt.Errorf("out of memory: %v, %v", s, err)
	}
	p.Kill() // its cgroup has counted a kill, but this one is ours
	if s, err = p.Wait(ctx); s == nil || s.OOMKilled() {
		return fmt.Errorf("killed by us: %v, %v", s, err)
	}
	if p, err = idle.Start(ctx, struct{}{}); err != nil {
		return err
	}
	unix.Kill(p.Pid(), unix.SIGKILL) // as by anybody
	if s, err = p.Wait(ctx); s == nil || s.OOMKilled() {
		return fmt.Errorf("killed by somebody: %v, %v", s, err)
	}
	return nil
})

// TestOutOfMemory needs a memory cgroup that it may limit; not every machine has
// one, and few users.
func TestOutOfMemory(t *testing.T) {
	own := proc.MemoryEvents()
	if own == "" {
		t.Skip("no memory cgroup can be seen here")
	}
	file := "memory.max"
	if filepath.Base(own) == "memory.oom_control" {
		file = "memory.limit_in_bytes"
	}
	dir, err := os.MkdirTemp(filepath.Dir(own), "rawipc-test-")
	if err != nil {
		t.Skipf("no cgroup can be made here: %v", err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(bound); os.Remove(dir) != nil; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("the cgroup stays in use: %v", os.Remove(dir))
				return
			}
		}
	})
	if err := os.WriteFile(filepath.Join(dir, file), []byte("67108864"), 0); err != nil {
		t.Skipf("the cgroup can't be limited: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "memory.swap.max"), []byte("0"), 0)
	if _, err := started(t, confined, nil, dir).Wait(within(t)); err != nil {
		if errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), "permission denied") {
			t.Skip(err)
		}
		t.Error(err)
	}
}

func TestFindEvents(t *testing.T) {
	const v2 = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	const v1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	const below = "40 31 0:26 /pod /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	for _, tt := range []struct{ groups, mounts, want string }{
		{"0::/a/b\n", v2, "/sys/fs/cgroup/a/b/memory.events.local"},
		{"0::/\n", v2, "/sys/fs/cgroup/memory.events.local"},
		{"0::/pod/x\n", below, "/sys/fs/cgroup/x/memory.events.local"},
		{"0::/other\n", below, ""},
		{"4:memory:/m\n3:cpu:/c\n", v1, "/sys/fs/cgroup/memory/m/memory.oom_control"},
		{"4:cpu,memory:/m\n", v1, "/sys/fs/cgroup/memory/m/memory.oom_control"},
		{"0::/x\n4:memory:/m\n", v1, "/sys/fs/cgroup/memory/m/memory.oom_control"},
		{"3:cpu:/c\n", v1, ""},
		{"", v2, ""},
		{"nonsense\n::\n", "nonsense\n", ""},
	} {
		if got := proc.FindEvents(tt.groups, tt.mounts, func(string) bool { return true }); got != tt.want {
			t.Errorf("%q in %q: %q, want %q", tt.groups, tt.mounts, got, tt.want)
		}
	}
	if proc.FindEvents("0::/\n", v2, func(string) bool { return false }) != "" {
		t.Error("found what is not there")
	}
	for text, want := range map[string]uint64{"low 0\noom 3\noom_kill 7\n": 7, "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n": 0} {
		if n, ok := proc.OOMKills([]byte(text)); n != want || !ok {
			t.Errorf("%q: %d, %v", text, n, ok)
		}
	}
	for _, text := range []string{"", "oom 3\n", "oom_kill x\n"} {
		if _, ok := proc.OOMKills([]byte(text)); ok {
			t.Errorf("%q has a number", text)
		}
	}
}

// TestCoreDump tells a process that dumped core from one that did not.
func TestCoreDump(t *testing.T) {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	_, s := says(t, proc.Cmd{Limits: proc.Limits{Core: 1}}, `kill -ABRT $$`)
	if s.Signal() != syscall.SIGABRT || s.CoreDumped() {
		t.Errorf("without a dump: %v", s)
	}
	dir := t.TempDir()
	_, s = says(t, proc.Cmd{Dir: dir}, `ulimit -c unlimited || exit 9; kill -ABRT $$`)
	if s.ExitCode() == 9 || strings.ContainsAny(string(pattern), "|/") {
		t.Skipf("core dumps are not for us here: %v, pattern %q", s, pattern)
	}
	if s.Signal() != syscall.SIGABRT || !s.CoreDumped() || !strings.Contains(s.String(), "aborted (core dumped)") {
		t.Errorf("with a dump: %v", s)
	}
}

// TestUsage: a process that touches memory and burns time is seen to.
func TestUsage(t *testing.T) {
	s, err := started(t, burner, nil, struct{}{}).Wait(within(t))
	if err != nil {
		t.Fatal(err)
	}
	u := s.Rusage()
	if s.MaxRSS() < 100<<20 || s.UserTime()+s.SystemTime() < 50*time.Millisecond || u.Minflt < 1000 ||
		time.Duration(u.Utime.Nano()) != s.UserTime() || int64(u.Maxrss)<<10 != s.MaxRSS() {
		t.Errorf("peak %d, user %v, system %v, %+v", s.MaxRSS(), s.UserTime(), s.SystemTime(), u)
	}
}

var burner = proc.Register("burner", func(context.Context, struct{}) error {
	b := make([]byte, 100<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	hoards = append(hoards, b)
	var u unix.Rusage
	for {
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			return err
		}
		if u.Utime.Nano()+u.Stime.Nano() > int64(80*time.Millisecond) {
			return nil
		}
	}
})
