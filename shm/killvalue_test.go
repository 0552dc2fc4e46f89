package shm_test

import (
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
)

// What is killed here, at every instruction of this package and of futex: each
// operation of a Value and an Array, and the making of both. Whoever comes
// after finds the old value or the new one, and can go on.

// killing says how: without $RAWIPC_KILLPOINTS at a few points of each cast.
func killing() *fuzz.Options {
	o := &fuzz.Options{Patience: 400 * time.Millisecond, MaxFailures: 3, Packages: []string{
		"github.com/rawipc/rawipc/shm", "github.com/rawipc/rawipc/futex",
	}}
	if ordinary() {
		o.Points = "2"
	}
	return o
}

// ordinary says that this is a run of all tests, which takes one cast of each
// operation: the one with the most company.
func ordinary() bool { return os.Getenv("RAWIPC_KILLPOINTS") == "" }

func some(casts []fuzz.Cast) []fuzz.Cast {
	if ordinary() {
		return casts[len(casts)-1:]
	}
	return casts
}

func killEach(t *testing.T, scenarios ...*fuzz.Scenario) {
	t.Helper()
	plainBuild(t)
	for _, sc := range scenarios {
		fuzz.KillEach(t, sc, killing())
	}
}

// plainBuild skips in a build for the race detector, whose instructions are not
// those that users run.
func plainBuild(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("kill points are those of the build without -race")
	}
}

func TestKillPointsValue(t *testing.T) { killEach(t, killStore, killSwap, killUpdate) }

func TestKillPointsSmall(t *testing.T) {
	killEach(t, killSmallStore, killSmallUpdate, killAdd)
}

func TestKillPointsArray(t *testing.T) { killEach(t, killArrayUpdate, killArrayStore, killRecover) }

func TestKillPointsCreate(t *testing.T) {
	plainBuild(t)
	o := killing()
	// futex has kill points of Attach itself. Here a point takes a quarter of a
	// second, for all that is stepped through between.
	o.Packages = o.Packages[:1]
	made := []*fuzz.Scenario{killCreateValue, killOpen}
	switch os.Getenv("RAWIPC_KILLPOINTS") {
	case "":
	case "tenth":
		o.Points = "16"
		fallthrough
	default:
		made = append(made, killNew, killCreateArray, killNewAt)
	}
	for _, sc := range made {
		fuzz.KillEach(t, sc, o)
	}
}

// A reader that stands still at any instruction, while others write, gets a
// whole value in the end; a writer that does stops no reader.
func TestKillPointsPause(t *testing.T) {
	plainBuild(t)
	for _, sc := range []*fuzz.Scenario{pauseLoad, pauseSmallLoad} {
		fuzz.PauseEach(t, sc, killing())
	}
	o := killing()
	o.Progress = true
	fuzz.PauseEach(t, pauseStore, o)
}

// Broken variants are found.
func TestKillPointsCatchValue(t *testing.T) {
	plainBuild(t)
	o := killing()
	o.Points, o.ReportOnly, o.MaxFailures = "all", true, 1
	if rep := fuzz.PauseEach(t, pauseUnchecked, o); rep.Corrupt == 0 {
		t.Error("a Load that does not check was not found")
	}
	if rep := fuzz.KillEach(t, killInPlace, o); rep.Corrupt == 0 {
		t.Error("a Store into the copy in use was not found")
	}
}
