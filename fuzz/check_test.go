package fuzz_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

// drepper is the three-state mutex of Drepper's "Futexes Are Tricky":
// 0 free, 1 held, 2 held and perhaps waited for. If forgetful, a woken waiter
// takes it as 1, though others may still sleep (case B1).
func drepper(processes int, forgetful bool) *fuzz.Model {
	const val = 0
	const lock, mark, wait, retake, hold, unlock, wake = 0, 1, 2, 3, 4, 5, 6
	return &fuzz.Model{
		Name: "three-state mutex", Processes: processes, Threads: 1,
		Cells: []fuzz.Cell{{Name: "val"}},
		Steps: []fuzz.Step{
			lock: {Name: "CAS 0 to 1", Do: func(w *fuzz.World) {
				w.Goto(mark)
				if w.Get(val) == 0 {
					w.Set(val, 1)
					w.Goto(hold)
				}
			}},
			mark: {Name: "exchange 2", Do: func(w *fuzz.World) {
				w.Goto(wait)
				if w.Get(val) == 0 {
					w.Goto(hold)
				}
				w.Set(val, 2)
			}},
			wait: {Name: "wait while 2", Do: func(w *fuzz.World) {
				w.Goto(retake)
				if w.Get(val) == 2 {
					w.Sleep(retake, val)
				}
			}},
			retake: {Name: "awake, take it again", Do: func(w *fuzz.World) {
				w.Goto(mark)
				if forgetful && w.Get(val) == 0 {
					w.Set(val, 1)
					w.Goto(hold)
				}
			}},
			hold: {Name: "hold it", Do: func(w *fuzz.World) { w.Goto(unlock) }},
			unlock: {Name: "exchange 0", Do: func(w *fuzz.World) {
				old := w.Get(val)
				w.Set(val, 0)
				if old == 2 {
					w.Goto(wake)
					return
				}
				w.Finish()
			}},
			wake: {Name: "wake one", Do: func(w *fuzz.World) { w.Wake(1, val); w.Finish() }},
		},
		Invariant: func(w *fuzz.World) error {
			n := 0
			for p := range processes {
				if at := w.At(p, 0); at == hold || at == unlock {
					n++
				}
			}
			if n > 1 {
				return errTwoHold
			}
			return nil
		},
	}
}

// ownThreads is a robust mutex whose owner is the locking thread itself, with
// list_op_pending held from before the first look until it is ours, and all
// through unlock. Unlock stores 0, then wakes, as glibc 2.36 does (case B3);
// or, if sticky, it is one FUTEX_WAKE_OP that leaves WAITERS set.
func ownThreads(processes, crashes int, sticky bool) *fuzz.Model {
	const bits, owner = 0, 1
	const pending, saw = 0, 1
	const lock, look, wait, locked, unlock, wake, clear, unlocked = 0, 1, 2, 3, 4, 5, 6, 7
	word := fuzz.RobustWord{Bits: bits, Owner: owner}
	take := func(w *fuzz.World) bool {
		if w.Get(owner) != 0 {
			return false
		}
		w.Set(owner, w.Thread())
		w.Set(bits, w.Get(bits)&fuzz.WordWaiters)
		w.Goto(locked)
		return true
	}
	return &fuzz.Model{
		Name: "own threads", Processes: processes, Threads: 1, Crashes: crashes,
		Cells:     []fuzz.Cell{{Name: "bits"}, {Name: "owner", Kind: fuzz.ThreadID}},
		Registers: []fuzz.Cell{{Name: "pending"}, {Name: "saw owner", Kind: fuzz.ThreadID}},
		Exit:      func(w *fuzz.World) { w.OwnerDied(word, w.Thread(), w.Reg(pending) != 0) },
		Steps: []fuzz.Step{
			lock: {Name: "set pending", Do: func(w *fuzz.World) { w.SetReg(pending, 1); w.Goto(look) }},
			look: {Name: "take, or set WAITERS", Do: func(w *fuzz.World) {
				if !take(w) {
					w.Set(bits, w.Get(bits)|fuzz.WordWaiters)
					w.SetReg(saw, w.Get(owner))
					w.Goto(wait)
				}
			}},
			wait: {Name: "wait", Do: func(w *fuzz.World) {
				// What was woken takes the lock with WAITERS, for others may sleep.
				if w.Reg(saw) == 0 {
					w.Set(bits, w.Get(bits)|fuzz.WordWaiters)
					if !take(w) {
						w.Goto(look)
					}
					return
				}
				same := w.Get(bits) == fuzz.WordWaiters && w.Get(owner) == w.Reg(saw)
				w.SetReg(saw, 0)
				if same {
					w.Sleep(wait, bits)
				}
			}},
			locked: {Name: "hold it, clear pending", Do: func(w *fuzz.World) { w.SetReg(pending, 0); w.Goto(unlock) }},
			unlock: {Name: "unlock", Do: func(w *fuzz.World) {
				waiters := w.Get(bits) & fuzz.WordWaiters
				switch {
				case w.Reg(pending) == 0:
					w.SetReg(pending, 1)
				case waiters == 0:
					w.Set(owner, 0)
					w.Goto(unlocked)
				case sticky:
					w.Set(owner, 0)
					w.Goto(unlocked)
					if w.Wake(1, bits) == 0 {
						w.Goto(clear)
					}
				default:
					w.Set(owner, 0)
					w.Set(bits, 0)
					w.Goto(wake)
				}
			}},
			wake: {Name: "wake one", Do: func(w *fuzz.World) { w.Wake(1, bits); w.Goto(unlocked) }},
			clear: {Name: "clear WAITERS and wake all", Do: func(w *fuzz.World) {
				w.Set(bits, w.Get(bits)&^fuzz.WordWaiters)
				w.Wake(processes, bits)
				w.Goto(unlocked)
			}},
			unlocked: {Name: "clear pending", Do: func(w *fuzz.World) { w.Finish() }},
		},
	}
}

func TestCheckTextbook(t *testing.T) {
	for _, row := range []struct {
		name string
		m    *fuzz.Model
		want error
	}{
		{"B1 with 2 processes", drepper(2, true), nil},
		{"B1 with 3 processes", drepper(3, true), fuzz.ErrStuck},
		{"B1 mended", drepper(5, false), nil},
		{"B3 with 2 processes", ownThreads(2, 1, false), nil},
		{"B3 with 3 processes", ownThreads(3, 1, false), fuzz.ErrStuck},
		{"B3 without a crash", ownThreads(3, 0, false), nil},
		{"sticky wake-op, 3 processes", ownThreads(3, 2, true), nil},
		{"sticky wake-op, 5 processes", ownThreads(5, 2, true), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			v := fuzz.Check(row.m)
			t.Log(v, v.Elapsed)
			if !errors.Is(v.Err, row.want) {
				t.Errorf("got %v, want %v", v.Err, row.want)
			}
		})
	}
}

// stroll is n processes with t threads that each take k steps on their own;
// if signed, the last to move is written down in a cell.
func stroll(n, t, k int, kind fuzz.Kind) *fuzz.Model {
	m := &fuzz.Model{Name: "stroll", Processes: n, Threads: t, Cells: []fuzz.Cell{{Name: "last", Kind: kind}}}
	for i := range k {
		m.Steps = append(m.Steps, fuzz.Step{Name: fmt.Sprint("step ", i), Do: func(w *fuzz.World) {
			switch kind {
			case fuzz.ProcessID:
				w.Set(0, w.Process())
			case fuzz.ThreadID:
				w.Set(0, w.Thread())
			}
			if i+1 == k {
				w.Finish()
			} else {
				w.Goto(i + 1)
			}
		}})
	}
	return m
}

// The number of states up to permutation can be worked out by hand: that of
// multisets, times who moved last where that is written down.
func TestCheckCountsUpToPermutation(t *testing.T) {
	for _, row := range []struct {
		m    *fuzz.Model
		want int
	}{
		{stroll(1, 1, 3, fuzz.Number), 4},
		{stroll(4, 1, 3, fuzz.Number), 35},   // 4 of 4 places: C(7, 3)
		{stroll(1, 4, 3, fuzz.Number), 35},   // the same for threads
		{stroll(2, 2, 1, fuzz.Number), 6},    // a process is one of 3; 2 of these
		{stroll(3, 1, 1, fuzz.ProcessID), 4}, // nobody moved; 1, 2, 3 moved, one of these last
		{stroll(2, 2, 1, fuzz.ThreadID), 7},  // moved: none; one; two of one process or not; three, the last alone or not; all
	} {
		v := fuzz.Check(row.m)
		if v.Err != nil {
			t.Fatal(v)
		}
		if v.States != row.want {
			t.Errorf("%d×%d, %d steps: %d states, want %d", row.m.Processes, row.m.Threads, len(row.m.Steps), v.States, row.want)
		}
	}
}

func TestCheckReportsWhatBroke(t *testing.T) {
	boom := errors.New("boom")
	m := stroll(2, 1, 2, fuzz.Number)
	m.Final = func(*fuzz.World) error { return boom }
	v := fuzz.Check(m)
	if !errors.Is(v.Err, boom) || len(v.Trace) != 4+1 {
		t.Errorf("Final: got %v, want boom after four steps", v)
	}

	m = stroll(2, 1, 2, fuzz.Number)
	m.Steps[1].Do = func(w *fuzz.World) { w.Fail("step %d of P%d", 1, w.P+1) }
	v = fuzz.Check(m)
	if v.Err == nil || len(v.Trace) != 2+1 || !strings.Contains(v.Trace[1], "step 1") {
		t.Errorf("Fail: got %v, want it after step 1", v)
	}

	m = stroll(3, 1, 3, fuzz.Number)
	m.MaxStates = 5
	if v = fuzz.Check(m); !errors.Is(v.Err, fuzz.ErrTooLarge) {
		t.Errorf("MaxStates: got %v, want ErrTooLarge", v)
	}
}

// What a protocol may not lean on doesn't save it; what it may, does.
func TestCheckWaysOut(t *testing.T) {
	sleeper := func(change func(m *fuzz.Model)) *fuzz.Model {
		m := &fuzz.Model{Name: "sleeper", Processes: 2, Threads: 1, Cells: []fuzz.Cell{{Name: "word"}}}
		m.Steps = []fuzz.Step{
			{Name: "sleep while 0", Do: func(w *fuzz.World) {
				w.Goto(1)
				if w.Get(0) == 0 {
					w.Sleep(1, 0)
				}
			}},
			{Name: "awake", Do: func(w *fuzz.World) { w.Finish() }},
		}
		change(m)
		return m
	}
	for _, row := range []struct {
		name string
		m    *fuzz.Model
		want error
	}{
		{"nothing", sleeper(func(*fuzz.Model) {}), fuzz.ErrStuck},
		{"timer", sleeper(func(m *fuzz.Model) { m.Timer = true }), nil},
		{"spurious", sleeper(func(m *fuzz.Model) { m.Spurious = true }), fuzz.ErrStuck},
		{"giving up", sleeper(func(m *fuzz.Model) { m.GiveUps = 2 }), fuzz.ErrStuck},
		{"being killed", sleeper(func(m *fuzz.Model) { m.Crashes = 2 }), fuzz.ErrStuck},
		{"a fault", sleeper(func(m *fuzz.Model) {
			m.MaxFaults = 1
			m.Faults = []fuzz.Step{{Name: "wake", Do: func(w *fuzz.World) { w.Set(0, 1); w.Wake(2, 0) }}}
		}), fuzz.ErrStuck},
	} {
		if v := fuzz.Check(row.m); !errors.Is(v.Err, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, v, row.want)
		}
	}
}

// A wake can go to any sleeper, but to none that has ended.
func TestCheckWake(t *testing.T) {
	seen := map[int]bool{}
	m := &fuzz.Model{
		Name: "tickets", Processes: 3, Threads: 1,
		Cells:     []fuzz.Cell{{Name: "next ticket"}},
		Registers: []fuzz.Cell{{Name: "ticket"}},
		Steps: []fuzz.Step{
			{Name: "draw", Do: func(w *fuzz.World) {
				w.SetReg(0, w.Get(0))
				w.Set(0, w.Get(0)+1)
				if w.Reg(0) < 2 {
					w.Sleep(1, 0)
					return
				}
				w.Wake(1, 0)
				w.Goto(2)
			}},
			{Name: "awake", Do: func(w *fuzz.World) { w.Finish() }},
			{Name: "look who is awake", Do: func(w *fuzz.World) {
				for p := range 3 {
					if w.At(p, 0) == 1 && !w.Asleep(p, 0) {
						seen[w.RegOf(p, 0, 0)] = true
					}
				}
				w.Goto(3)
			}},
			{Name: "wake the rest", Do: func(w *fuzz.World) { w.Wake(2, 0); w.Finish() }},
		},
		Exit: func(w *fuzz.World) {
			if w.Asleep(w.P, w.T) {
				w.Fail("still in a wait queue at its end")
			}
		},
	}
	if v := fuzz.Check(m); v.Err != nil {
		t.Error(v)
	}
	if !seen[0] || !seen[1] {
		t.Errorf("the wake found only %v", seen)
	}
	m.Crashes = 1
	if v := fuzz.Check(m); !errors.Is(v.Err, fuzz.ErrStuck) { // nobody draws the dead one's ticket
		t.Error(v)
	}
}

// A model that is wrong about itself panics, and the panic says where.
func TestCheckMistakes(t *testing.T) {
	for _, row := range []struct {
		want string
		do   func(w *fuzz.World)
	}{
		{"index out of range [1]", func(w *fuzz.World) { w.Set(1, 1) }},
		{"index out of range [5]", func(w *fuzz.World) { w.Get(5) }},
		{"index out of range [-1]", func(w *fuzz.World) { w.Get(-1) }},
		{"index out of range [0]", func(w *fuzz.World) { w.SetPrivate(0, 1) }},
		{"index out of range [1]", func(w *fuzz.World) { w.SetReg(1, 1) }},
		{"index out of range [1]", func(w *fuzz.World) { w.RegOf(1, 0, 1) }},
		{"Goto step 9 of 1", func(w *fuzz.World) { w.Goto(9) }},
		{"sleep on cell 1 of 1", func(w *fuzz.World) { w.Sleep(0, 1) }},
		{"256 does not fit", func(w *fuzz.World) { w.SetReg(0, 256) }},
		{"thread 1 of process 0", func(w *fuzz.World) { w.At(0, 1) }},
		{"thread 0 of process 2", func(w *fuzz.World) { w.Dying(3) }},
		{"has 9 for a process", func(w *fuzz.World) { w.Set(0, 9); w.Finish() }},
	} {
		got := func() (r any) {
			defer func() { r = recover() }()
			return fuzz.Check(&fuzz.Model{
				Name: "mistaken", Processes: 2, Threads: 1,
				Cells: []fuzz.Cell{{Kind: fuzz.ProcessID}}, Registers: []fuzz.Cell{{}},
				Steps: []fuzz.Step{{Name: "the step", Do: row.do}},
			})
		}()
		if text := fmt.Sprint(got); !strings.Contains(text, `model "mistaken", step "the step"`) || !strings.Contains(text, row.want) {
			t.Errorf("%v, want %s", got, row.want)
		}
	}
}
