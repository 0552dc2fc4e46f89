//go:build amd64

package shm

import (
	"sync/atomic"
	"unsafe"
)

// storeBefore stores v before a locked instruction that this goroutine is about
// to execute, which makes up for what a store alone lacks to be sequentially
// consistent. The compiler keeps the order of stores, the processor too.
func storeBefore(p *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(p)) = v }

// plainStores says that storePlain is cheaper than a store with a fence.
const plainStores = true

// storePlain stores v after all that this goroutine has stored and loaded before,
// and makes no other promise: what it loads next may be older than the store.
func storePlain(p *atomic.Uint64, v uint64) { *(*uint64)(unsafe.Pointer(p)) = v }
