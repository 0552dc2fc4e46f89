package shm

import "unsafe"

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

// Data returns what lies behind a value's header.
func Data[T any](v *Value[T]) []byte { return v.mem[valueData:] }

// Dirty is a T all of whose bytes are set, those between its fields too.
func Dirty[T any]() (x T) {
	b := unsafe.Slice((*byte)(unsafe.Pointer(&x)), unsafe.Sizeof(x))
	for i := range b {
		b[i] = 0xff
	}
	return x
}

// SetLoadTries sets how often a Load is overtaken before it tries the lock.
func SetLoadTries(n int) (undo func()) {
	old := loadTries
	loadTries = n
	return func() { loadTries = old }
}

// Overtake makes it look to readers as if writers committed all the time.
func (v *Value[T]) Overtake(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			v.st.word.Add(4)
		}
	}
}
