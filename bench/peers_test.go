package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every peer that this machine can run measures every loop that it has, and
// rows of ours carry their ratios.
func TestPeers(t *testing.T) {
	needTool(t, "gcc")
	needTool(t, "python3")
	ps, err := newPeers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ps.close()
	if ps.c == nil || ps.python == nil {
		t.Fatalf("peers are %q", ps.about)
	}
	t.Run("one dies", func(t *testing.T) { testPeerDies(t, ps) })
	sizes := []int{64, 4096}
	if testing.Short() {
		sizes = sizes[1:]
	}
	ours := paths[:len(paths):len(paths)]
	all := append(ours, ps.paths()...)
	pls, _, err := placements()
	if err != nil {
		t.Fatal(err)
	}
	rows, failed := play(t.Context(), pls[len(pls)-1], all, &options{sizes: sizes, rounds: 1, time: 1e6}, &progress{})
	if len(failed) != 0 {
		t.Errorf("failed: %q", failed)
	}
	want := 0
	for _, p := range all {
		want += len(p.sizesOf(sizes))
	}
	if len(rows) != want {
		t.Errorf("%d rows, want %d", len(rows), want)
	}
	for _, r := range rows {
		if len(r.Pids) == 0 || r.RTT.P50 <= 0 || r.RTT.N == 0 || r.Msgs <= 0 || r.CPU < 0 {
			t.Errorf("%+v", r)
		}
		if (r.Impl == "rawipc" || r.Impl == "kernel") && (r.C == nil || r.Python == nil || r.C.RTT <= 0 || r.Python.RTT <= 0) {
			t.Errorf("%s of %d bytes: beside C %v, beside Python %v", r.Path, r.Size, r.C, r.Python)
		}
	}
}

// What is compared exists: a name spelled wrongly would only lose the ratio.
func TestPeerNames(t *testing.T) {
	ps := &peers{c: []string{"c"}, python: []string{"python"}}
	names := map[string]bool{"": true}
	for _, p := range ps.paths() {
		names[p.name] = true
	}
	for _, p := range append(ps.paths(), paths...) {
		if !names[p.c] || !names[p.python] {
			t.Errorf("%s is compared with %q and %q", p.name, p.c, p.python)
		}
	}
}

// A machine with neither compiler nor Python says so, and measures the rest.
func TestPeersMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CC", "")
	var out bytes.Buffer
	args := strings.Fields("-peers -rounds 1 -time 1ms -sizes 64 -paths ^eventfd$")
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"C doesn't run: no C compiler", "Python doesn't run: no python3", "os.Pipe", "net/rpc", "chan"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

// A peer that dies, in either of its processes, is an error with a reason.
func testPeerDies(t *testing.T, ps *peers) {
	pls, _, err := placements()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		r, err := newForeign(ctx, ps.c, "pipe", pls[0])
		if err != nil {
			t.Fatal(err)
		}
		defer r.close()
		// The program is the parent of the second process and our own child, so
		// both ids are still theirs.
		if err := syscall.Kill(r.ids()[i], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for err == nil && ctx.Err() == nil {
			_, _, err = r.loop(64, 1, "ping", "echo")
		}
		if err == nil || !strings.Contains(err.Error(), "ended (") || ctx.Err() != nil {
			t.Errorf("process %d killed: %v", i, err)
		}
	}
	if _, err := newForeign(t.Context(), ps.python, "Nonsense", placement{a: []int{1 << 20}, b: []int{0}}); err == nil {
		t.Error("a CPU that isn't there")
	} else if !strings.Contains(err.Error(), "ended (") {
		t.Error(err)
	}
}

func TestParseAnswer(t *testing.T) {
	d, cpu, h, err := parseAnswer("1500 900 100:2 7:1")
	if err != nil || d != 1500 || cpu != 900 || h.Total != 3 || h.Counts[100] != 2 || h.Counts[7] != 1 {
		t.Errorf("%v %v %v %v", d, cpu, h.Total, err)
	}
	for _, line := range []string{"", "1", "x 2", "0 1", "1 2 3", "1 2 3:x", "1 2 -1:1", "1 2 7424:1"} {
		if _, _, _, err := parseAnswer(line); err == nil {
			t.Errorf("%q is an answer", line)
		}
	}
}

// needTool is fuzz.Tool, which only external test packages may use.
func needTool(t *testing.T, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%s is missing, and CI has all tools: %v", name, err)
	default:
		t.Skipf("%s is missing: %v", name, err)
	}
}
