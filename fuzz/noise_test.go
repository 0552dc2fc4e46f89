package fuzz_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"golang.org/x/sys/unix"
)

func TestNoise(t *testing.T) {
	if isChild(t) {
		urgent := make(chan os.Signal, 1)
		signal.Notify(urgent, syscall.SIGURG)
		for range 10 {
			select {
			case <-urgent:
			case <-time.After(10 * time.Second):
				t.Fatal("no SIGURG")
			}
		}
		// The runtime keeps each SIGPROF to itself; the list of timers says that it comes.
		timers, err := os.ReadFile("/proc/self/timers")
		if want := fmt.Sprintf("signal: %d/", int(unix.SIGPROF)); err == nil && !strings.Contains(string(timers), want) {
			t.Errorf("no timer sends SIGPROF:\n%s", timers)
		} else if err != nil {
			t.Logf("can't see the timers: %v", err) // a kernel without CONFIG_CHECKPOINT_RESTORE
		}
		// What is started has none of it, unless it asks for it, too.
		if out, err := exec.Command("/bin/sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").CombinedOutput(); err != nil {
			t.Errorf("a program beside: %v, %s", err, out)
		}
		if !fuzz.Noise() {
			t.Error("Noise doesn't know")
		}
		return
	}
	// A filter makes the program start over, noise and all.
	for _, without := range []string{"", "splice"} {
		if fuzz.Without("splice") {
			break
		}
		if out, err := again(t, t.Name(), "RAWIPC_NOISE=500us", "RAWIPC_WITHOUT="+without); err != nil || !strings.Contains(out, "--- PASS") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	out, err := again(t, t.Name(), "RAWIPC_NOISE=often")
	if err == nil || !strings.Contains(out, `RAWIPC_NOISE="often", want a time`) {
		t.Errorf("%v\n%s\nwant a refusal", err, out)
	}
}
