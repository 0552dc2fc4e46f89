package fuzz

// SetNoBreakpoints makes the tracer step through everything, until undone.
func SetNoBreakpoints(b bool) (undo func()) {
	old := noBreakpoints
	noBreakpoints = b
	return func() { noBreakpoints = old }
}

// Sample is how points are chosen among n.
func Sample(points string, seed uint64, n int) []int {
	marks := make([]mark, n)
	for i := range marks {
		marks[i] = mark{pc: uint64(i + 1)}
	}
	return (&stage{opts: Options{Points: points, Seed: seed}}).sample(marks)
}

// RaceBuild says that steps are dear.
const RaceBuild = raceBuild
