package proc_test

import "testing"

// BenchmarkStartWait compares a child that runs a function with the same binary
// run by os/exec, which ends at the place where Dispatch stands. TestStartBeside
// has them in turns.
func BenchmarkStartWait(b *testing.B) {
	for _, way := range []struct {
		name string
		one  func(testing.TB)
	}{{"impl=proc", byProc}, {"impl=os-exec", byExec}, {"impl=proc-program", byProgram}} {
		b.Run(way.name, func(b *testing.B) {
			for b.Loop() {
				way.one(b)
			}
		})
	}
}
