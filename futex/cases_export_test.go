package futex

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// TieGuardians makes every robust list of this process circular, as a bug
// might: the last node leads back to the first.
func TieGuardians() {
	guardianSets.Lock()
	defer guardianSets.Unlock()
	for _, g := range guardianSets.at {
		for _, k := range g.all {
			end := uintptr(unsafe.Pointer(k.head))
			link := &k.head.next
			for link.Load() != end {
				link = &nodeAt(link).next
			}
			link.Store(k.head.next.Load())
		}
	}
}

// PidVerdict is what the judge without a file says of a process that lives.
func PidVerdict(pid int) (dead func() bool, err error) {
	start, _, err := processStart(pid)
	return func() bool { return pidJudge{}.dead(pidIdentity(pid, start)) }, err
}

// WithoutGuardians has the next lock of a region ask for a new guardian, and for
// new memory for its list.
func WithoutGuardians() {
	guardianSets.Lock()
	defer guardianSets.Unlock()
	for _, g := range guardianSets.at {
		g.mu.Lock()
		for _, k := range g.all {
			k.words = maxWords
		}
		g.mu.Unlock()
	}
	WithoutHeads()
}

// WithoutHeads has each thread ask for its robust list when it next wants to name a
// word, and for memory for one. This thread has none.
func WithoutHeads() {
	ForgetHeads()
	unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, 0, headLen, 0)
	heads.Lock()
	heads.page = nil
	heads.Unlock()
}
