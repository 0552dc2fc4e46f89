package shm

// LoadUnchecked is broken: it does not look whether its copy was overtaken.
func (v *Value[T]) LoadUnchecked() T { return *v.slots[v.st.word.Load()>>1&1] }

// StoreInPlace is broken: it changes the copy that is in use.
func (v *Value[T]) StoreInPlace(x T) error {
	if err := v.own(v.st.mu.Lock()); err != nil {
		return err
	}
	*v.slots[v.st.word.Load()>>1&1] = x
	return v.unlock(nil)
}
