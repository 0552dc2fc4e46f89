package fuzz_test

import (
	"fmt"

	"github.com/rawipc/rawipc/fuzz"
)

// A flag is raised by one process and awaited by the other. The waiter looks
// at the flag and then goes to sleep: if the flag is raised in between, its
// wake finds nobody. A futex compares the word again on its way to sleep.
func ExampleCheck() {
	const flag, side = 0, 1 // cells
	handover := func(compare bool) *fuzz.Model {
		const choose, look, sleep, raise, wake = 0, 1, 2, 3, 4
		return &fuzz.Model{
			Name: "handover", Processes: 2, Threads: 1,
			Cells: []fuzz.Cell{{Name: "flag"}, {Name: "sides taken"}},
			Steps: []fuzz.Step{
				choose: {Name: "choose a side", Do: func(w *fuzz.World) {
					w.Goto([]int{look, raise}[w.Get(side)])
					w.Set(side, 1)
				}},
				look: {Name: "look at the flag", Do: func(w *fuzz.World) {
					w.Goto(sleep)
					if w.Get(flag) == 1 {
						w.Finish()
					}
				}},
				sleep: {Name: "go to sleep", Do: func(w *fuzz.World) {
					w.Goto(look)
					if !compare || w.Get(flag) == 0 {
						w.Sleep(look, flag)
					}
				}},
				raise: {Name: "raise the flag", Do: func(w *fuzz.World) {
					w.Set(flag, 1)
					w.Goto(wake)
				}},
				wake: {Name: "wake who sleeps", Do: func(w *fuzz.World) {
					w.Wake(1, flag)
					w.Finish()
				}},
			},
		}
	}
	fmt.Println(fuzz.Check(handover(true)))
	fmt.Println(fuzz.Check(handover(false)))
	// Output:
	// handover: 14 states, 20 transitions: ok
	// handover: 15 states, 20 transitions: fuzz: live threads can never finish
	// 	P1.T1: choose a side
	// 	P1.T1: look at the flag
	// 	P2.T1: choose a side
	// 	P2.T1: raise the flag
	// 	P2.T1: wake who sleeps
	// 	from here there is no way out:
	// 	P1.T1: go to sleep
	// 	state: flag=1 sides taken=1; P1.T1 asleep before look at the flag; P2.T1 finished
}
