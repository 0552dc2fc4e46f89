package shm_test

import (
	"os"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// Wherever a creation is killed, the next process opens or creates at the first
// try, and no file is left.
func TestCase028CreateKilled(t *testing.T) {
	notUnderRace(t)
	for _, sc := range []*fuzz.Scenario{killCreate, killCreateDraft, killTakeOver, killSweep, killUnlink} {
		t.Run(sc.Name(), func(t *testing.T) { fuzz.KillEach(t, sc, fewPoints()) })
	}
}

// Wherever it stands still, others open, create and sweep, and it goes on.
func TestCreatePaused(t *testing.T) {
	notUnderRace(t)
	all := []*fuzz.Scenario{killCreate, killSweep}
	if os.Getenv("RAWIPC_KILLPOINTS") != "" {
		all = append(all, killCreateDraft, killUnlink)
	}
	for _, sc := range all {
		opts := fewPoints()
		opts.Progress = true
		t.Run(sc.Name(), func(t *testing.T) { fuzz.PauseEach(t, sc, opts) })
	}
}

// The test can fail: whoever makes the name first leaves half an object.
func TestCase028Catches(t *testing.T) {
	notUnderRace(t)
	rep := fuzz.KillEach(t, killNaive, &fuzz.Options{
		Packages: []string{"github.com/rawipc/rawipc/shm_test"}, Points: "all", ReportOnly: true, MaxFailures: 3,
	})
	if rep.Corrupt == 0 {
		t.Error("no half objects found")
	}
}

func notUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("kill points are those of the build without -race")
	}
}

// fewPoints tries some points of each cast; CI tries a tenth, and "all" all.
func fewPoints() *fuzz.Options {
	o := &fuzz.Options{MaxFailures: 3}
	if os.Getenv("RAWIPC_KILLPOINTS") == "" {
		o.Points = "2"
	}
	return o
}
