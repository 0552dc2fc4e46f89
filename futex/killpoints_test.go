package futex_test

import (
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/fuzz"
)

// tight says how killing is judged here: the survivors have a second, and no
// timer that helps a robust lock is shorter than 20 s (see killops_test.go).
func tight() *fuzz.Options {
	o := &fuzz.Options{Patience: time.Second, MaxFailures: 3}
	if os.Getenv("RAWIPC_KILLPOINTS") == "" {
		o.Points = "2" // of each cast; CI runs one in 32, and "all" runs all
	}
	return o
}

func killEach(t *testing.T, scenarios ...*fuzz.Scenario) {
	t.Helper()
	plainBuild(t)
	for _, sc := range scenarios {
		fuzz.KillEach(t, sc, tight())
	}
}

func TestKillPointsLock(t *testing.T) {
	killEach(t, killLockFree, killLockWoken, killLockDead, killLockDying, killUnlock, killTryLock)
}
func TestKillPointsRegion(t *testing.T) { killEach(t, killAttach, killDetach) }
func TestKillPointsSem(t *testing.T) {
	killEach(t, killAcquireFree, killAcquireWoken, killRelease)
}
func TestKillPointsOwned(t *testing.T) {
	killEach(t, killAcquireOwned, killAcquireOwnedWoken, killReleaseOwned)
}
func TestKillPointsEvent(t *testing.T) { killEach(t, killSet, killWait, killPublish) }

// pauseEach stops the victim at each point, as long as its peers have something
// to do, and then lets it go on: everybody comes to an end, and nothing is lost.
func pauseEach(t *testing.T, scenario *fuzz.Scenario, more ...*fuzz.Scenario) {
	t.Helper()
	plainBuild(t)
	fuzz.PauseEach(t, scenario, tight())
	if os.Getenv("RAWIPC_KILLPOINTS") == "" {
		return // waits take long to step through
	}
	for _, sc := range more {
		fuzz.PauseEach(t, sc, tight())
	}
}

func TestPausePointsLock(t *testing.T)  { pauseEach(t, killUnlock, killLockWoken) }
func TestPausePointsSem(t *testing.T)   { pauseEach(t, killRelease, killAcquireWoken) }
func TestPausePointsEvent(t *testing.T) { pauseEach(t, killSet, killWait) }
func TestPausePointsCond(t *testing.T)  { pauseEach(t, pauseCondSignal, pauseCondWait) }

// Who is kept between a wake and its store finds nobody awake to see the store.
func TestPausePointsCatch(t *testing.T) {
	plainBuild(t)
	opts := tight()
	opts.Points, opts.ReportOnly, opts.MaxFailures = "all", true, 2
	if rep := fuzz.PauseEach(t, killSetLate, opts); rep.Stuck == 0 || rep.Corrupt > rep.Stuck {
		t.Errorf("%s: %d stuck, %d corrupt; want some, and corrupt only those", killSetLate.Name(), rep.Stuck, rep.Corrupt)
	}
}

// plainBuild skips in a build for the race detector: its instructions are not
// those that users run, and a step through them takes ten times as long.
func plainBuild(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("kill points are those of the build without -race")
	}
}

func TestKillPointsCatch(t *testing.T) {
	plainBuild(t)
	if !futex.Told() {
		t.Skip("the kernel is not told what threads sleep on: there all look around")
	}
	for sc, in := range map[*fuzz.Scenario]string{killUnnamed: ".futexWait", killTwoSteps: ".UnlockTwoSteps"} {
		opts := tight()
		opts.Points, opts.In, opts.ReportOnly, opts.MaxFailures = "all", in, true, 2
		if rep := fuzz.KillEach(t, sc, opts); rep.Stuck == 0 || rep.Corrupt > rep.Stuck {
			t.Errorf("%s: %d stuck, %d corrupt; want some, and corrupt only those", sc.Name(), rep.Stuck, rep.Corrupt)
		}
	}
}
