//go:build amd64 || arm64

package futex

import "sync/atomic"

// pause tells the CPU n times (n > 0) that this is a spin loop: it saves power
// and leaves the core's other thread and the memory bus alone.
//
//go:noescape
func pause(n uint32)

// pauseAsking is pause(1), and asks for the cache line of next and for the one
// before it, without waiting for them. It can't fail, whatever next points to.
//
//go:noescape
func pauseAsking(next *atomic.Uint64)
