package futex

import (
	"encoding/binary"
	"os"
	"sync"
)

// threadBase is the address of the thread's local storage, and whether C's
// library laid that out; else it lies in what the Go runtime has of the thread,
// which keeps its g there, and which the collector frees when the thread has ended
// and nobody points to it. It may be called only where the kernel lets programs
// read it.
func threadBase() (base *byte, c bool)

// glibcOffset is the offset in the head that glibc gives to each thread at its
// start. Other libraries give theirs later, if at all.
const glibcOffset = -32

// haveThreadBase asks the auxiliary vector.
var haveThreadBase = sync.OnceValue(func() bool {
	const (
		hwcap2   = 26 // AT_HWCAP2
		fsgsbase = 1 << 1
	)
	vector, err := os.ReadFile("/proc/self/auxv")
	for ; err == nil && len(vector) >= 16; vector = vector[16:] {
		if binary.NativeEndian.Uint64(vector) == hwcap2 {
			return binary.NativeEndian.Uint64(vector[8:])&fsgsbase != 0
		}
	}
	return false
})
