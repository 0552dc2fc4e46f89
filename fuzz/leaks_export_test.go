package fuzz

import "time"

// LeakPatience is for tests that leave something behind, and would wait in vain.
func LeakPatience(d time.Duration) { leakPatience = d }

// LeaksNow is Leaks without its patience.
func (h *Holdings) LeaksNow() []string { return h.beyond(Hold()) }

// ThreadsOf is for the test of lists that end early.
func ThreadsOf(pid string) []string { return threadsOf(pid) }

// ChildrenNow are the numbers of this process's children.
func ChildrenNow() []string { return childrenNow() }
