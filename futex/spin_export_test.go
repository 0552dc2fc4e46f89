package futex

import "time"

// SetSpinPolicy changes the constants of this process's policy of spinning. It
// returns what undoes that. No other goroutine may spin meanwhile.
func SetSpinPolicy(budget time.Duration, skips uint32) (undo func()) {
	was := spinPolicy
	spinPolicy.budget, spinPolicy.maxSkips = budget, skips
	return func() { spinPolicy = was }
}

// SpinPolicy returns what the policy's constants are.
func SpinPolicy() (budget time.Duration, skips uint32) {
	return spinPolicy.budget, spinPolicy.maxSkips
}
