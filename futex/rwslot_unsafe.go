package futex

import (
	"sync/atomic"
	"unsafe"
)

// slotCache finds this process's slot of most locks by one load: the lock's
// address above, the slot's number below. What it says of memory
// that is detached is dropped by Detach.
var slotCache [256]atomic.Uint64

const slotBits = 8 // room for MaxReaders

func slotCacheAt(m *RWMutex) *atomic.Uint64 {
	return &slotCache[uintptr(unsafe.Pointer(m))>>12&255]
}

// quickSlot is this process's slot, if one load tells, or nil.
func (m *RWMutex) quickSlot() *readerSlot {
	e := slotCacheAt(m).Load()
	if e>>slotBits != uint64(uintptr(unsafe.Pointer(m))) {
		return nil
	}
	return &m.slots[e&(MaxReaders-1)]
}

func (m *RWMutex) cacheSlot(i int) {
	slotCacheAt(m).Store(uint64(uintptr(unsafe.Pointer(m)))<<slotBits | uint64(i))
}

func dropSlots(r *Region) {
	for i := range slotCache {
		if e := slotCache[i].Load(); uintptr(e>>slotBits)-r.base < r.size {
			slotCache[i].CompareAndSwap(e, 0)
		}
	}
}
