//go:build !amd64

package futex

// Elsewhere no instruction tells threads apart.
func threadBase() (base *byte, c bool) { return nil, false }
func haveThreadBase() bool             { return false }

const glibcOffset = 0
