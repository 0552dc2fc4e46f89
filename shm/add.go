package shm

import "os"

// A Number is a type that [Add] can add.
type Number interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 |
		~float32 | ~float64
}

// Add adds d to a value, in one step, and returns the sum: Python's
//
//	with v.get_lock():
//		v.value += d
//
// It never waits, for an Update neither. Integers wrap round as Go's do.
func Add[T Number](v *Value[T], d T) (T, error) {
	st := v.st
	if st == nil {
		return 0, os.ErrClosed
	}
	raceRelease()
	if T(1)/2 == 0 {
		// Bytes behind an integer in its word take its carry; they mean nothing.
		w := st.word.Add(asWord(d))
		raceAcquire()
		return fromWord[T](w), nil
	}
	for {
		w := st.word.Load()
		sum := fromWord[T](w) + d
		if st.word.CompareAndSwap(w, asWord(sum)) {
			raceAcquire()
			return sum, nil
		}
	}
}
