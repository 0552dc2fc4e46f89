package futex

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// oldest finds the process that has waited longest for a signal. One that the
// kernel has marked as dying comes last: it may be alive (see RobustMutex), and
// what is given to it is given on when it is found dead.
func (c *Cond) oldest() (first *waiterSlot) {
	used := c.used()
	dying := false // first is
	for i := range used {
		s := &used[i]
		if v := s.state.Load(); waiting(v) <= signals(v) {
			continue
		}
		marked := s.live.Load()&ownerDied != 0
		switch {
		case first == nil,
			dying && !marked,
			dying == marked && int64(s.since.Load()-first.since.Load()) < 0:
			first, dying = s, marked
		}
	}
	return first
}

// reap frees the slots of dead processes; the signals that they had not used go
// to others. It looks at those that the kernel has marked or, if deep, at all.
// The inner lock is held.
func (c *Cond) reap(r *Region, deep bool) {
	used := c.used()
	for i := range used {
		s := &used[i]
		live := s.live.Load()
		if live == 0 || live&ownerDied == 0 && !deep || !r.fullyDead(owner(live)) {
			continue
		}
		// From here on the dead wait for nothing. Each signal is given before
		// it is taken: who dies in between has sent one too many.
		lost := min(signals(s.state.Load())+s.busy.Load(), maxCondWaiters)
		for s.set(lost, lost); lost > 0; s.set(lost, lost) {
			to := c.oldest()
			if to == nil {
				break
			}
			c.signal(to, 1)
			lost--
		}
		s.set(0, 0)
		s.busy.Store(0)
		s.live.Store(0)
		c.forget()
	}
}

// used are the slots that have been in use.
func (c *Cond) used() []waiterSlot { return c.slots[:min(c.top.Load(), MaxWaiters)] }

// forget notes that nobody waits any more, if so. The inner lock is held.
func (c *Cond) forget() {
	used := c.used()
	for i := range used {
		if waiting(used[i].state.Load()) != 0 {
			return
		}
	}
	c.lock.Store(0)
}

// slotFor finds this process's slot, or takes one: nobody's, a dead process's,
// or that of a process which does not wait now. The inner lock is held.
func (c *Cond) slotFor(r *Region) (*waiterSlot, error) {
	for _, deep := range []bool{false, true} {
		var free, idle *waiterSlot
		used := c.used()
		for i := range used {
			s := &used[i]
			switch live := s.live.Load(); {
			case live != 0 && owner(live) == r.id:
				if live&ownerDied == 0 {
					return s, nil
				}
				// We live: another thread had our guardian's number.
				me, err := r.me(addressOfState(&s.live))
				if err == nil {
					s.live.Store(me)
				}
				return s, err
			case live == 0 && free == nil:
				free = s
			case idle == nil && waiting(s.state.Load())+s.busy.Load() == 0:
				idle = s
			}
		}
		if n := c.top.Load(); free == nil && n < MaxWaiters {
			free = &c.slots[n]
			c.top.Store(n + 1)
		}
		if free == nil {
			free = idle
		}
		if free != nil {
			me, err := r.me(addressOfState(&free.live))
			if err == nil {
				free.live.Store(me)
			}
			return free, err
		}
		if !deep {
			c.reap(r, true)
		}
	}
	return nil, fmt.Errorf("futex: Cond.Wait: %d other processes wait, which is the limit: %w", MaxWaiters, unix.EAGAIN)
}
