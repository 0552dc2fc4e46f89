package fuzz

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// noiseEnv is the environment variable of [Noise].
const noiseEnv = "RAWIPC_NOISE"

// Noise reports whether the tests run in a storm of signals: with a time such as
// RAWIPC_NOISE=1ms in the environment, [Main] lets this process and all that it
// starts get a SIGURG, which is what the Go runtime preempts by, as often as
// that, and a SIGPROF, which is what profilers interrupt by, after each such
// time of work. No call may fail by it, wait longer, or leave anything behind.
// [KillEach] and [PauseEach] step over what signals do, and take ten times as long:
// a test of them may ask Noise, and skip.
//
// A result that go test has cached does not know of the variable: -count=1.
func Noise() bool { return os.Getenv(noiseEnv) != "" }

// noise begins it. It never ends: the process does.
func noise() error {
	if !Noise() {
		return nil
	}
	every, err := time.ParseDuration(os.Getenv(noiseEnv))
	if err != nil || every <= 0 {
		return fmt.Errorf("fuzz: %s=%q, want a time such as 1ms", noiseEnv, os.Getenv(noiseEnv))
	}
	if err := profTimer(every); err != nil {
		return err
	}
	pid := os.Getpid()
	go func() {
		for range time.Tick(every) {
			unix.Kill(pid, unix.SIGURG)
		}
	}()
	return nil
}
