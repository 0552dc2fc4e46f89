//go:build !amd64

package futex

// Elsewhere no instruction tells threads apart.
func threadBase() (base uintptr, c bool) { return 0, false }
func haveThreadBase() bool               { return false }

const glibcOffset = 0
