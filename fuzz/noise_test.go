package fuzz_test

import (
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
		// The runtime keeps each SIGPROF to itself; the timer says that it comes.
		it, err := unix.Getitimer(unix.ITIMER_PROF)
		if every := time.Duration(it.Interval.Nano()); err != nil || every < 500*time.Microsecond || every > 10*time.Millisecond { // rounded up to jiffies
			t.Errorf("the timer is %v, %v", every, err)
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
