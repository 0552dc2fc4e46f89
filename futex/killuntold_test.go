package futex_test

import (
	"errors"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
)

// Where the kernel is not told what threads sleep on, a wake may go with a thread
// that dies. Who sleeps on finds out when he looks around: that is every 100 ms here,
// where it is said to come every 250.

// untold has the op in processes that tell the kernel nothing.
func untold[T any](build func(T) fuzz.Op) func(T) fuzz.Op {
	return func(v T) fuzz.Op {
		futex.TellKernel(false)
		futex.SetLookAround(100 * time.Millisecond)
		futex.SetRechecks(100*time.Millisecond, 100*time.Millisecond)
		return build(v)
	}
}

var (
	killAcquireUntold = semOp("acquire woken, kernel untold", 0, untold(acquireWoken))
	killReleaseUntold = semOp("release, kernel untold", 0, untold(release))
	killLastUntold    = barrierOp("barrier last, kernel untold", 3, untold(lastParty))

	// A Mutex is its dead holder's for good: the victim dies before it has it.
	killMutexUntold = fuzz.RegisterOp("futex/mutex woken, kernel untold", killPage, func(s *fuzz.Segment) fuzz.Op {
		m, r := attached[futex.Mutex](s, 0)
		pass := func() error {
			m.Lock()
			defer m.Unlock()
			return nil
		}
		holder := fuzz.Peer{Name: "holder", When: fuzz.Early, Run: func(c *fuzz.Cue) error {
			m.Lock()
			c.Ready()
			c.Blocked()
			m.Unlock()
			return nil
		}}
		sleeper := fuzz.Peer{Name: "sleeper", When: fuzz.Behind, Run: func(*fuzz.Cue) error { return pass() }}
		return untold(func(*futex.Mutex) fuzz.Op {
			return fuzz.Op{
				Do:    pass,
				Casts: []fuzz.Cast{cast("sleeper", holder, sleeper)},
				Check: func(bool) error {
					if !m.TryLock() {
						return errors.New("somebody has the lock")
					}
					return nil
				},
				Close: r.Detach,
			}
		})(m)
	})
)

func TestKillPointsUntold(t *testing.T) {
	killEach(t, killAcquireUntold, killReleaseUntold, killLastUntold)
	opts := tight()
	opts.In = ".futexWait"
	fuzz.KillEach(t, killMutexUntold, opts)
}

func TestSinceLinux(t *testing.T) {
	for release, want := range map[string]bool{
		"6.2.0": true, "6.18.44-x": true, "6.10": true, "7.0-rc1": true, "10.1.2": true,
		"6.1.99-amd64": false, "5.15.0-91-generic": false, "4.19": false, "": false, "six.two": false,
	} {
		if got := futex.Since(6, 2, release); got != want {
			t.Errorf("%q since 6.2: %v", release, got)
		}
	}
}
