package futex

// SetDepth makes m locked n times by its holder.
func (m *RecursiveMutex) SetDepth(n uint32) { m.depth.Store(n) }
