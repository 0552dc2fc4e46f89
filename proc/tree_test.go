package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// planted is what the root of a tree is told.
type planted struct {
	Out *os.File
	End bool // end at once
}

// root starts processes as any library may, two of which lose their parent and
// one its session, and which hold Out; then it ends or waits for ever.
var root = proc.Register("root", func(ctx context.Context, a planted) error {
	cmd := exec.Command(shell, "-c", `sleep 60 & (sleep 60 & echo) & setsid sleep 60 <&- & wait $!`)
	cmd.Stdout = a.Out
	if err := cmd.Start(); err != nil {
		return err
	}
	if a.End {
		// Until they are there: a line comes from one that started another.
		time.Sleep(20 * time.Millisecond)
		return nil
	}
	select {}
})

// keeper starts a tree and waits for ever.
var keeper = proc.Register("keeper", func(ctx context.Context, a planted) error {
	p, err := root.StartCmd(ctx, &proc.Cmd{Tree: true}, a)
	if err != nil {
		return err
	}
	a.Out.Close()
	p.Wait(context.Background())
	return errors.New("the tree ended")
})

// gone waits until nobody has the other end of r.
func gone(t *testing.T, r *os.File) {
	t.Helper()
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("a process of the tree is left: %v", err)
	}
}

func TestCase231_Tree(t *testing.T) {
	fuzz.Tool(t, "namespaces")
	line := make([]byte, 1)
	t.Run("killed", func(t *testing.T) {
		r, w := oneWay(t)
		p := started(t, root, &proc.Cmd{Tree: true}, planted{Out: w})
		w.Close()
		r.Read(line)
		p.Kill()
		if s, _ := p.Wait(within(t)); s == nil || s.Signal() != syscall.SIGKILL {
			t.Errorf("state: %v", s)
		}
		gone(t, r)
	})
	t.Run("ends", func(t *testing.T) {
		r, w := oneWay(t)
		p := started(t, root, &proc.Cmd{Tree: true}, planted{Out: w, End: true})
		w.Close()
		if _, err := p.Wait(within(t)); err != nil {
			t.Error(err)
		}
		gone(t, r)
	})
	t.Run("program", func(t *testing.T) {
		r, w := oneWay(t)
		p := script(t, proc.Cmd{Tree: true, Stdout: w}, `echo $$; sleep 60 & setsid sleep 60 & exit 3`)
		w.Close()
		b, err := io.ReadAll(r)
		if s, _ := p.Wait(within(t)); string(b) != "1\n" || err != nil || s.ExitCode() != 3 {
			t.Errorf("%q, %v, %v", b, err, s)
		}
	})
	t.Run("parent killed", func(t *testing.T) {
		for range rounds(20, 2) {
			r, w := oneWay(t)
			p := started(t, keeper, nil, planted{Out: w})
			w.Close()
			r.Read(line)
			p.Kill()
			gone(t, r)
		}
	})
	t.Run("terminated", func(t *testing.T) {
		p := started(t, idle, &proc.Cmd{Tree: true}, struct{}{})
		p.Terminate()
		if _, err := p.Wait(within(t)); err != nil {
			t.Errorf("process 1 of a namespace, told to end: %v", err)
		}
	})
	t.Run("without privileges", func(t *testing.T) {
		if os.Geteuid() != 0 {
			return // so they all were
		}
		r, w := oneWay(t)
		p := started(t, unprivileged, &proc.Cmd{Sys: nobody()}, planted{Out: w})
		w.Close()
		if s, err := p.Wait(within(t)); err != nil {
			if strings.Contains(err.Error(), "operation not permitted") || strings.Contains(err.Error(), "no space left") {
				t.Skipf("users may not make user namespaces here: %v", err)
			}
			t.Errorf("%v, %v", s, err)
		}
		gone(t, r)
	})
}

// Where no namespace may be made, as in a container, Start says what it was for.
func TestTreeWithoutNamespaces(t *testing.T) {
	if !fuzz.Without("unshare") {
		cmd := exec.CommandContext(within(t), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		if dir := os.Getenv("GOCOVERDIR"); dir != "" && testing.CoverMode() != "" {
			cmd.Args = append(cmd.Args, "-test.gocoverdir="+dir) // it counts, too
		}
		without := "unshare"
		if more := os.Getenv("RAWIPC_WITHOUT"); more != "" {
			without += "," + more
		}
		cmd.Env = append(os.Environ(), "RAWIPC_WITHOUT="+without)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if _, err := started(t, nothing, nil, struct{}{}).Wait(within(t)); err != nil {
		t.Fatal(err)
	}
	before := len(descriptors(t))
	for range 3 {
		p, err := nothing.StartCmd(within(t), &proc.Cmd{Tree: true}, struct{}{})
		if p != nil || !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "field Tree") {
			t.Errorf("%v, %v, want EPERM, and what for", p, err)
		}
	}
	if after := len(descriptors(t)); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	noChildren(t)
}

// unprivileged makes a tree where only a user namespace allows it.
var unprivileged = proc.Register("unprivileged", func(ctx context.Context, a planted) error {
	p, err := root.StartCmd(ctx, &proc.Cmd{Tree: true}, a)
	if err != nil {
		return err
	}
	if _, err := a.Out.Stat(); err != nil {
		return err
	}
	p.Kill()
	p.Wait(ctx)
	return nil
})

// nobody is a user without rights.
func nobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// newCgroup makes a cgroup of version 2, or skips the test: few users may.
func newCgroup(t *testing.T) (path string, dir *os.File) {
	t.Helper()
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	groups, _ := os.ReadFile("/proc/self/cgroup")
	own := ""
	for line := range strings.Lines(string(groups)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			own = p
		}
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if !strings.Contains(line, " - cgroup2 ") || len(f) < 5 {
			continue
		}
		path, err := os.MkdirTemp(filepath.Join(f[4], own), "rawipc-test-")
		if err != nil {
			t.Skipf("no cgroup can be made here: %v", err)
		}
		t.Cleanup(func() {
			for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
				if err := os.Remove(path); err == nil {
					return
				} else if time.Now().After(end) {
					t.Errorf("the cgroup stays in use: %v", err)
					return
				}
			}
		})
		if _, err := os.Stat(filepath.Join(path, "cgroup.kill")); err != nil {
			t.Skipf("a cgroup can't be killed: %v", err)
		}
		dir, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		return path, dir
	}
	t.Skip("no cgroups of version 2 are mounted")
	return "", nil
}

func TestCase231_TreeInCgroup(t *testing.T) {
	if fuzz.Without("clone3") {
		t.Skip("this run is without clone3, which makes processes in cgroups")
	}
	path, dir := newCgroup(t)
	cmd := &proc.Cmd{Tree: true, Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}}
	r, w := oneWay(t)
	p := started(t, root, cmd, planted{Out: w})
	w.Close()
	r.Read(make([]byte, 1))
	b, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	if pid := fmt.Sprint(p.Pid()); !strings.Contains("\n"+string(b), "\n"+pid+"\n") { // TestCase233, too
		t.Errorf("process %s is not in the cgroup, but %q", pid, b)
	}
	p.Kill()
	if s, _ := p.Wait(within(t)); s == nil || s.Signal() != syscall.SIGKILL || s.OOMKilled() {
		t.Errorf("state: %v", s)
	}
	gone(t, r)

	// Another cgroup: Linux 6.18 kills whatever is cloned into one that was
	// killed before.
	_, dir = newCgroup(t)
	cmd.Sys.CgroupFD = int(dir.Fd())
	r, w = oneWay(t)
	p = started(t, root, cmd, planted{Out: w, End: true})
	w.Close()
	if _, err := p.Wait(within(t)); err != nil {
		t.Error(err)
	}
	gone(t, r)
}

// reused gets a process's number for another process: in a PID namespace of its
// own one can ask for that.
var reused = proc.Register("reused", func(ctx context.Context, refuse string) error {
	if refuse != "" {
		proc.RefusePidfd(refuse)
	}
	for range 100 { // threads take numbers, too, so it may need another try
		old, err := proc.Start(ctx, &proc.Cmd{Path: shell, Args: []string{"sh", "-c", "exit 0"}})
		if err != nil {
			return err
		}
		if _, err := old.Wait(ctx); err != nil {
			return err
		}
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(fmt.Sprint(old.Pid()-1)), 0); err != nil {
			return fmt.Errorf("no rights: %w", err)
		}
		young, err := proc.Start(ctx, &proc.Cmd{Path: shell, Args: []string{"sh", "-c", "while :; do sleep 1; done"}})
		if err != nil {
			return err
		}
		if young.Pid() == old.Pid() {
			kill, term := old.Kill(), old.Terminate()
			if kill != os.ErrProcessDone || term != os.ErrProcessDone {
				return fmt.Errorf("signals to the old one: %v, %v", kill, term)
			}
			time.Sleep(10 * time.Millisecond)
			if !young.Alive() {
				return errors.New("the newcomer was hit")
			}
			return nil
		}
		young.Kill()
		young.Wait(ctx)
	}
	return errors.New("no number was given twice")
})

func TestCase220_NumberReused(t *testing.T) {
	fuzz.Tool(t, "namespaces")
	for _, refuse := range []string{"", "signal", "clone"} {
		_, err := started(t, reused, &proc.Cmd{Tree: true}, refuse).Wait(within(t))
		if err != nil && strings.Contains(err.Error(), "no rights") {
			t.Skip(err)
		}
		if err != nil {
			t.Errorf("refused %q: %v", refuse, err)
		}
	}
}

// TestTreeRefusesTyped: typed objects can't be passed into a PID namespace. Start
// says so, with the place in the argument.
func TestTreeRefusesTyped(t *testing.T) {
	fuzz.Tool(t, "namespaces")
	v, err := shm.NewValue(int64(1))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	p, err := lonely.StartCmd(within(t), &proc.Cmd{Tree: true}, v)
	if p != nil || err == nil || !strings.Contains(err.Error(), "argument: shm: ") || !strings.Contains(err.Error(), "another PID namespace") {
		t.Errorf("%v, %v", p, err)
	}
	noChildren(t)
}
