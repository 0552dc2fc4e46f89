package pool_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pool"
)

// What befalls a pool: one call that goes wrong, and then one that should go
// right. Python says for each of its two pools "ok", "hangs" or an error.
const pythonProgram = `
import os, signal, sys, time, multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor, TimeoutError as FT
class Bad(Exception):
    def __init__(self, a, b): super().__init__("bad")
def ok(n): return 2*n
def kill(n): os.kill(os.getpid(), signal.SIGKILL)
def leave(n): os._exit(3)
def bad(n): raise Bad(1, 2)
def pids(p): return [w.pid for w in (p._pool if hasattr(p, "_pool") else p._processes.values())]
def one(kind, what):
    ctx = mp.get_context("fork")
    p = ctx.Pool(2) if kind == "Pool" else ProcessPoolExecutor(2, mp_context=ctx)
    def run(f, n):
        if kind == "Pool": return p.apply_async(f, (n,)).get(timeout=1)
        return p.submit(f, n).result(timeout=1)
    out = []
    run(ok, 1)
    ws = pids(p)
    if what == "idle": os.kill(ws[0], signal.SIGKILL)
    if what == "all": [os.kill(w, signal.SIGKILL) for w in ws]
    time.sleep(0.05)
    for f in {"kill": [kill, ok], "leave": [leave, ok], "bad": [bad, ok]}.get(what, [ok, ok]):
        try: out.append("ok" if run(f, 2) == 4 else "wrong")
        except (mp.TimeoutError, FT): out.append("hangs")
        except BaseException as e: out.append(type(e).__name__)
    print(kind, what, *out, flush=True)
    for w in pids(p):
        try: os.kill(w, signal.SIGKILL)
        except OSError: pass
    os._exit(0)
pids_of_all = []
for kind in "Pool", "Executor":
    for what in "kill", "leave", "bad", "idle", "all":
        pids_of_all.append(os.fork())
        if pids_of_all[-1] == 0: one(kind, what)
for pid in pids_of_all: os.waitpid(pid, 0)
`

// Side by side with Python's two pools: where they hang or break, ours fails
// exactly the one call and goes on.
func TestBesidePython(t *testing.T) {
	python := fuzz.Tool(t, "python3")
	whats := []string{"kill", "leave", "bad", "idle", "all"}
	ours := map[string]string{}
	for _, what := range whats {
		p, ctx := newPool(t, 2), within(t)
		try := func(call func() (int, error)) string {
			n, err := call()
			switch {
			case err == nil && n == 4:
				return "ok"
			case errors.As(err, new(*pool.WorkerError)):
				return "WorkerError"
			case errors.As(err, new(*pool.TaskError)):
				return "TaskError"
			}
			return err.Error()
		}
		good := func() (int, error) { return double.Call(ctx, p, 2) }
		first, want := good, "ok ok"
		switch what {
		case "kill":
			first, want = func() (int, error) { return die.Call(ctx, p, int(syscall.SIGKILL)) }, "WorkerError ok"
		case "leave":
			first, want = func() (int, error) { return die.Call(ctx, p, -3) }, "WorkerError ok"
		case "bad":
			first, want = func() (int, error) { return failing.Call(ctx, p, 4) }, "TaskError ok"
		case "idle":
			syscall.Kill(p.Stats().Workers[0].Pid, syscall.SIGKILL)
		case "all":
			for _, w := range p.Stats().Workers {
				syscall.Kill(w.Pid, syscall.SIGKILL)
			}
		}
		if ours[what] = try(first) + " " + try(good); ours[what] != want {
			t.Errorf("%s: %s, want %s", what, ours[what], want)
		}
		healthy(t, p, 2)
		p.Close()
	}
	if testing.Short() {
		return
	}
	ctx, cancel := context.WithTimeout(bg, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-c", pythonProgram)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("python3: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		t.Logf("Python's %s", strings.TrimSpace(line))
	}
	for _, what := range whats {
		t.Logf("ours: %s %s", what, ours[what])
	}
}
