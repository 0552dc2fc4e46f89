package shm

import "sync/atomic"

// A seat is for one call at a time at an end of a queue. Who finds it taken is
// counted among the queue's users instead: each way Close knows of the call. A
// seat costs one locked instruction for each call, a count two. It is the only one
// of a member that is alone, as of Vyukov's queue, which knows neither deaths nor
// Close; with the robust lock there are three, 15 ns where one takes 5.
//
// SYNC queue-seat: who has a seat is the only one to store to it, so no other
// store can be lost by his, which needs no order but that what the call did
// comes before it.
type seat struct {
	state atomic.Uint64
	alone atomic.Bool // whoever sits here does without the lock: see alone.go
	calls uint32      // of the only member so far; the holder of the end's lock counts
}

// forget clears the mark that the caller would be alone at its end.
func (s *seat) forget() {
	if s.alone.Load() {
		s.alone.Store(false)
	}
}

const (
	seatShut = iota // not a member yet, or closed
	seatFree
	seatTaken
)

// sit begins a call at an end, which rise ends: between them Close can't unmap.
func (q *queue) sit(end int) (seated bool, err error) {
	if q.seats[end].state.CompareAndSwap(seatFree, seatTaken) {
		return true, nil
	}
	return false, q.enter()
}

func (q *queue) rise(end int, seated bool) {
	if seated {
		q.seats[end].free()
	} else {
		q.leave()
	}
}

// shut keeps calls from sitting down, unless one sits. It returns what undoes it.
func (q *queue) shut() (reopen func(), ok bool) {
	was := [len(q.seats)]bool{}
	reopen = func() {
		for i := range was {
			if was[i] {
				q.seats[i].state.Store(seatFree)
			}
		}
	}
	for i := range q.seats {
		s := &q.seats[i].state
		if was[i] = s.CompareAndSwap(seatFree, seatShut); !was[i] && s.Load() != seatShut {
			return reopen, false
		}
	}
	return reopen, true
}
