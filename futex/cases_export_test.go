package futex

import "unsafe"

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
