package shm

import "golang.org/x/sys/unix"

// PlainAtOnce lets this process's ring ends go without fences from the first
// commit on, once the kernel has been told; it reports false where they can't.
func PlainAtOnce() bool {
	plainAfter = 1
	if !plainStores || membarrier(fenceRegister) != nil {
		return false
	}
	fencing.once.Do(func() {})
	fencing.on.Store(true)
	return true
}

// ForbidFences is as if membarrier were forbidden to this process.
func ForbidFences() (undo func()) {
	settleWith = func(uintptr) error { return unix.EPERM }
	return func() { settleWith = membarrier }
}

// Plain reports whether the end commits without a fence.
func (o *ring) Plain() bool { return o.plain }
