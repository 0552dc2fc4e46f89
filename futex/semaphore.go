package futex

import (
	"context"
	"fmt"
	"math"
	"structs"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A Semaphore is a number of tokens that processes take and give back. The zero
// value has none and takes any number up to [MaxTokens]; Init says otherwise.
//
// A token that a process took with Acquire is lost when the process dies, as
// nobody knows who took it; [Semaphore.AcquireOwned] takes one that comes back.
// A process killed in the middle of an operation has taken or given its token,
// or not, and no other waits in vain. Plain operations work in any shared
// memory; the owned ones only in memory that is declared with [Attach]. Memory
// that is not must stay mapped until the calls on s have returned.
//
// In the terminology of the Go memory model, a Release synchronizes before the
// Acquire that takes its token returns.
type Semaphore struct {
	_ structs.HostLayout
	_ noCopy
	// state: the low half as in sleepword.go, with phase meaning "no tokens";
	// bits 32–62 the tokens; bit 63 flips with each owned change (see owned.go).
	state atomic.Uint64
	limit atomic.Uint32 // tokens at most; 0: MaxTokens
	_     uint32
	owned ownedTokens
}

// MaxTokens is the most that a [Semaphore] can hold.
const MaxTokens = math.MaxInt32

const (
	oneToken  = 1 << 32
	ownedFlip = 1 << 63
)

func tokens(v uint64) uint64 { return v &^ ownedFlip >> 32 }

// withTokens is v with another number of tokens: phase follows from it.
func withTokens(v, n uint64) uint64 {
	v = v&(ownedFlip|waiters) | n<<32
	if n == 0 {
		v |= phase
	}
	return v
}

// justOne and justNone are the states of a semaphore that is used as a lock.
const (
	justOne  = oneToken
	justNone = phase
)

// Init gives s n tokens and room for max; max 0 stands for [MaxTokens]. Nobody
// may use s yet. It fails with EINVAL unless 0 ≤ n ≤ max ≤ MaxTokens.
func (s *Semaphore) Init(n, max int) error {
	if max == 0 {
		max = MaxTokens
	}
	if n < 0 || max < n || max > MaxTokens {
		return fmt.Errorf("futex: Semaphore.Init(%d, %d): want 0 ≤ n ≤ max ≤ %d: %w", n, max, MaxTokens, unix.EINVAL)
	}
	s.limit.Store(uint32(max))
	s.state.Store(withTokens(0, uint64(n)))
	return nil
}

// Value returns how many tokens there are at this moment, 0 or more.
func (s *Semaphore) Value() int { return int(tokens(s.state.Load())) }

// TryAcquire takes a token if there is one, and reports whether it did. It
// never blocks.
func (s *Semaphore) TryAcquire() bool {
	for {
		v := s.state.Load()
		n := tokens(v)
		if n == 0 {
			return false
		}
		if s.state.CompareAndSwap(v, withTokens(v, n-1)) {
			raceAcquire()
			return true
		}
	}
}

func (s *Semaphore) acquire(ctx context.Context) error {
	// To compute the next state without a branch costs more than this.
	if v := s.state.Load(); tokens(v) > 1 && s.state.CompareAndSwap(v, v-oneToken) {
		raceAcquire()
		return nil
	}
	if s.TryAcquire() {
		return nil
	}
	return s.acquireSlow(ctx, func() (bool, error) { return s.TryAcquire(), nil })
}

// acquireSlow sleeps until take succeeds or fails.
func (s *Semaphore) acquireSlow(ctx context.Context, take func() (bool, error)) error {
	mustHave(ctx)
	for look := backoffAt(addressOfState(&s.state)); look.again(); {
		if tokens(s.state.Load()) > 0 {
			if ok, err := take(); ok || err != nil {
				look.hit()
				return err
			}
		}
	}
	if yielderOf(addressOfState(&s.state)).yield(func() bool { return tokens(s.state.Load()) > 0 }) {
		if ok, err := take(); ok || err != nil {
			return err
		}
	}
	defer done(beginWait(addressOfState(&s.state)))
	w := lowWord(&s.state)
	key := lineKey{addr: w}
	l, err := enterLine(ctx, key)
	if err != nil {
		return err
	}
	defer l.leave()
	p := pinTo(w)
	defer p.unpin()
	defer s.passOn()
	for {
		if ok, err := take(); ok || err != nil {
			return err
		}
		v := s.state.Load()
		if tokens(v) > 0 {
			continue
		}
		// A zero Semaphore has no phase yet; sleepers need it.
		if to := withTokens(v|waiters, 0); v != to {
			if !s.state.CompareAndSwap(v, to) {
				continue
			}
			v = to
		}
		if err := s.sleep(ctx, p, v); err != nil {
			return err
		}
	}
}

// passOn wakes another waiter for one that leaves, with a token or with an
// error, while tokens are left: one wake may have stood for several of them,
// as the kernel's does for a thread that died before it woke for all that a
// dead owner had.
func (s *Semaphore) passOn() {
	if v := s.state.Load(); v&waiters != 0 && tokens(v) > 0 {
		futexWake(lowWord(&s.state), 1, matchAny)
	}
}

// sleep waits for a token, or until it is time to look for dead owners; without
// futex_waitv, or where the kernel is not told, it always looks for them.
func (s *Semaphore) sleep(ctx context.Context, p pin, v uint64) error {
	if w := &s.owned.watched; w.Load() == 0 && haveWaitv() && p.told() {
		_, err := WaitAny(ctx, Word{w, 0}, Word{lowWord(&s.state), lowPart(v)})
		return err
	}
	return s.sleepAndReclaim(ctx, p, v)
}

func (s *Semaphore) release() error {
	raceRelease()
	if v := s.state.Load(); v&waiters == 0 && tokens(v) > 0 && !s.full(v) && s.state.CompareAndSwap(v, v+oneToken) {
		return nil
	}
	for {
		v := s.state.Load()
		if v&waiters != 0 {
			return s.releaseSlow()
		}
		if s.full(v) {
			return s.overflow()
		}
		if s.state.CompareAndSwap(v, withTokens(v, tokens(v)+1)) {
			return nil
		}
	}
}

// releaseSlow gives a token when somebody may sleep: between the change and the
// wake the thread names the word, so that the kernel wakes for it if it dies.
func (s *Semaphore) releaseSlow() error {
	defer done(beginWake(addressOfState(&s.state)))
	p := pinTo(lowWord(&s.state))
	defer p.unpin()
	for {
		v := s.state.Load()
		if s.full(v) {
			return s.overflow()
		}
		if s.state.CompareAndSwap(v, withTokens(v, tokens(v)+1)) {
			if v&waiters != 0 {
				wakeSleepers(&s.state, 1)
			}
			return nil
		}
	}
}

func (s *Semaphore) max() uint64 {
	if n := s.limit.Load(); n != 0 {
		return uint64(n)
	}
	return MaxTokens
}

func (s *Semaphore) full(v uint64) bool { return tokens(v) >= s.max() }

func (s *Semaphore) overflow() error {
	return fmt.Errorf("futex: Release of a Semaphore that has all its %d tokens: %w", s.max(), unix.EOVERFLOW)
}
