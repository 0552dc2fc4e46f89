//go:build !amd64 && !arm64

package futex

import "sync/atomic"

// pause does nothing where Go's assembler has no instruction for it.
func pause(n uint32) {}

func pauseAsking(next *atomic.Uint64) {}
