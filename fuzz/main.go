package fuzz

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/proc"
)

// Main is TestMain's whole body, in every package:
//
//	func TestMain(m *testing.M) { fuzz.Main(m) }
//
// It does not return. In a process that the tests started it becomes what
// that process is for: see [proc.Dispatch]. Else it takes away the system
// calls that the environment names (see [Without]), runs the tests, and fails
// the run if they left anything behind (see [Hold]) that the collector does not
// close; [Leaks] is stricter, for one test.
func Main(m *testing.M) {
	if err := noise(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	proc.Dispatch()
	Dispatch()
	// A process under the race detector sleeps for a second when it ends, and
	// tests end many.
	os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	if err := withhold(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	before := Hold()
	code := m.Run()
	// Without the collector it would depend on when that last ran.
	if left := before.leaks(runtime.GC); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: the tests left behind:\n\t%s\n", strings.Join(left, "\n\t"))
		code = max(code, 1)
	}
	os.Exit(code)
}
