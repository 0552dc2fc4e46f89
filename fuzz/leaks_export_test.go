package fuzz

// LeaksNow is Leaks without its patience.
func (h *Holdings) LeaksNow() []string { return h.beyond(Hold()) }
