package futex

import "time"

// SetLookAround sets how often waiters look for the dead, in a process that has
// no waiters yet.
func SetLookAround(d time.Duration) { lookAround = d }

// LongWait is what waiters of a Barrier call long.
func LongWait() time.Duration { return lookAround }

// SetTurn presets the number that tells who has waited longer.
func (c *Cond) SetTurn(turn uint64) { c.turn.Store(turn) }

// Waiters counts those that wait and those signals that nobody has taken yet.
func (c *Cond) Waiters() (waits, sent int) {
	for i := range c.slots {
		v := c.slots[i].state.Load()
		waits += int(waiting(v))
		sent += int(signals(v))
	}
	return waits, sent
}

type allAlive struct{}

func (allAlive) dead(uint32) bool { return false }
func (allAlive) close()           {}

// Occupy gives all slots to processes that live and have so many waiters each,
// until undo.
func (c *Cond) Occupy(waits uint64) (undo func()) {
	r := regionOf(addressOfState(&c.turn))
	old := r.judge
	r.judge = allAlive{}
	c.top.Store(MaxWaiters)
	for i := range c.slots {
		c.slots[i].set(waits, 0)
		c.slots[i].live.Store(uint64(i+1)<<32 | 1)
	}
	return func() {
		r.judge = old
		for i := range c.slots {
			c.slots[i].set(0, 0)
			c.slots[i].live.Store(0)
		}
	}
}

// Preset sets the numbers that wrap, while nobody uses b.
func (b *Barrier) Preset(round uint64, ends uint32) {
	b.state.Store(b.state.Load()&(1<<roundShift-1) | round<<roundShift)
	b.ends.Store(ends)
}

// The numbers at which a Barrier's round and count of ends wrap.
const (
	BarrierRounds = roundMask + 1
	BarrierEnds   = 1 << 32
)

// MarkDying marks all waiting processes as the kernel marks one that dies, which
// it does to the living where another PID namespace has the same thread id.
func (c *Cond) MarkDying() {
	for i := range c.used() {
		w := lowWord(&c.slots[i].live)
		w.Store(w.Load()&waiters | ownerDied)
	}
}
