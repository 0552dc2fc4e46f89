package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// -all has every primitive as a path and every cost that its kind of task can
// measure; of growth, what is small.
func TestRunAll(t *testing.T) {
	o, err := parse(strings.Fields("-all -rounds 1 -time 1ms -sizes 64"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	pls, _, err := placements()
	if err != nil {
		t.Fatal(err)
	}
	rows, failed := play(t.Context(), pls[len(pls)-1], morePaths, o, &progress{})
	if len(rows) != len(morePaths) || len(failed) != 0 {
		t.Errorf("%d rows of %d, failed %q", len(rows), len(morePaths), failed)
	}
	for _, r := range rows {
		if r.RTT.P50 <= 0 || r.Msgs <= 0 {
			t.Errorf("%+v", r)
		}
	}
	var few []*task
	for _, task := range o.tasks {
		if task.x <= 2 || task.name == "wake by waiters" && task.x <= 100 {
			few = append(few, task)
		}
	}
	o.tasks = few
	costs, failed := measureCosts(t.Context(), o, pls[:1], &progress{})
	if len(costs) != len(few) || len(failed) != 0 {
		t.Errorf("%d costs of %d, failed %q", len(costs), len(few), failed)
	}
	for _, c := range costs {
		if c.Value <= 0 || c.Range[0] > c.Value || c.Range[1] < c.Value || c.Rounds != 1 || c.Unit != "ns" && c.Unit != "bytes" {
			t.Errorf("%+v", c)
		}
	}
	var out bytes.Buffer
	printCosts(&out, costs)
	for _, want := range []string{"kill to ErrOwnerDead", "Start to first line", "RSS of an idle worker", "shm.Queue N×N, 2", "futex.Wake of one, 100"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
}

// -paths chooses costs by their names, too, and -json gives one object a line.
func TestRunCostsJSON(t *testing.T) {
	var out bytes.Buffer
	args := []string{"-all", "-json", "-rounds", "2", "-time", "1ms", "-sizes", "64", "-paths", "^shm.Value Add$"}
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	found := false
	for dec := json.NewDecoder(&out); dec.More(); {
		var c cost
		if err := dec.Decode(&c); err != nil {
			t.Fatal(err)
		}
		found = found || c.Name == "shm.Value" && c.With == "Add" && c.Rounds == 2 && c.Value > 0
	}
	if !found {
		t.Error("no row of shm.Value")
	}
}

// A cost that can't be measured is named, and the others go on.
func TestCostsFailure(t *testing.T) {
	bad := &task{name: "bad", run: func(context.Context, placement, time.Duration) (float64, error) { return 0, errors.New("why") }}
	o := &options{rounds: 2, time: time.Millisecond, tasks: []*task{bad, size("good", "", 7)}}
	costs, failed := measureCosts(t.Context(), o, []placement{{name: "here"}}, &progress{})
	if len(costs) != 1 || costs[0].Value != 7 || len(failed) != 1 || !strings.Contains(failed[0], "bad") || !strings.Contains(failed[0], "why") {
		t.Errorf("%v, failed %q", costs, failed)
	}
}

func TestPerOp(t *testing.T) {
	ns, err := perOp(20*time.Millisecond, func() error { time.Sleep(time.Millisecond); return nil })
	if err != nil || ns < 1e6 {
		t.Errorf("%v ns for a sleep of 1 ms, %v", ns, err)
	}
	if _, err := perOp(time.Millisecond, func() error { return io.EOF }); err != io.EOF {
		t.Error(err)
	}
}
