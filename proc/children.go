package proc

import (
	"cmp"
	"slices"
	"sync"
)

// family is the processes that run.
type family struct {
	mu sync.Mutex
	m  map[*Process]struct{}
}

var children = family{m: make(map[*Process]struct{})}

func (f *family) add(p *Process) {
	f.mu.Lock()
	f.m[p] = struct{}{}
	f.mu.Unlock()
}

func (f *family) remove(p *Process) {
	f.mu.Lock()
	delete(f.m, p)
	f.mu.Unlock()
}

// Children returns the processes that this one has started through this package
// and that have not ended, by pid; those in the middle of their start are among
// them. It does not block and may be called concurrently.
func Children() []*Process {
	children.mu.Lock()
	all := make([]*Process, 0, len(children.m))
	for p := range children.m {
		all = append(all, p)
	}
	children.mu.Unlock()
	slices.SortFunc(all, func(a, b *Process) int { return cmp.Compare(a.pid, b.pid) })
	return all
}
