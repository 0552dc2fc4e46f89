package futex

import "time"

// SetSpinPolicy changes the constants of this process's policy of spinning, and
// from when on a yield was too long. It returns what undoes that. No other
// goroutine may spin meanwhile.
func SetSpinPolicy(budget time.Duration, skips uint32, long time.Duration) (undo func()) {
	was, yielding := spinPolicy, yieldPolicy
	spinPolicy.budget, spinPolicy.maxSkips, yieldPolicy.long = budget, skips, long
	return func() { spinPolicy, yieldPolicy = was, yielding }
}

// SpinPolicy returns what the policy's constants are.
func SpinPolicy() (budget time.Duration, skips uint32, long time.Duration) {
	return spinPolicy.budget, spinPolicy.maxSkips, yieldPolicy.long
}

// Rests is how many pauses the next Glance begins with.
func Rests(s *Spinner) uint32       { return s.rests }
func SetRests(s *Spinner, n uint32) { s.rests = n }

const (
	ASleep   = aSleep
	MinRests = minRests
	MaxRests = maxRests
)
