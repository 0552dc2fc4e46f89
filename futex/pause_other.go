//go:build !amd64 && !arm64

package futex

// pause does nothing where Go's assembler has no instruction for it.
func pause(n uint32) {}
