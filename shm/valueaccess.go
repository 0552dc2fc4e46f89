package shm

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rawipc/rawipc/futex"
)

// Load returns the value. It never waits for a writer, dead or alive. It panics
// if v is closed.
//
// With writers that commit without a pause, a Load of a large value may have to
// copy it more than once.
func (v *Value[T]) Load() T {
	if st := v.st; st != nil && isSmall[T]() {
		w := st.word.Load()
		raceAcquire()
		return fromWord[T](w)
	}
	return v.load()
}

// loadTries is how often a reader tries before it keeps writers out, if it can
// have that at once. Tests make it small.
var loadTries = 32

// load copies the copy in use, and then looks whether it was in use all along.
//
// SYNC value-commit: the word is loaded before the copy is read and after. If
// the reader saw commit n first, it read copy n%2. That one is written again
// only for commit n+2, which begins by storing 2n+3 in the word, before the
// first byte; so as long as the word is 2n+2 or less, nobody had begun. The
// bytes that it read are those of commit n, written before 2n was stored.
//
// The copy is made by plain loads and stores, as there are no others for more
// than a word. The word's atomic operations are sequentially consistent, on the
// machines and for Go's compiler, so plain accesses don't move down across an
// atomic store or up across an atomic load; where they could move the other
// way (before the load after the copy here, after the store before it in
// begin), fence stands between. Mixtures are read, but never returned. The race
// detector does not look at memory that was mapped by hand.
func (v *Value[T]) load() (x T) {
	st := v.st
	if st == nil {
		panic(fmt.Errorf("shm: Load of a closed Value: %w", os.ErrClosed))
	}
	for i := 1; ; i++ {
		seq := st.word.Load()
		x = *v.slots[seq>>1&1]
		fence()
		if st.word.Load()-seq&^1 <= 2 {
			raceAcquire()
			return x
		}
		// Writers follow each other faster than this can copy. Somebody who
		// waits for the lock would wait for a long Update, too; but while there
		// is one, no copy is overtaken.
		if i%loadTries == 0 {
			if ok, err := st.mu.TryLock(); ok {
				x = *v.slots[st.word.Load()>>1&1]
				v.unlock(v.own(err))
				return x
			}
		}
	}
}

// Store makes the value x. Other than Load it waits for a writer if T is
// larger than 8 bytes: for a Store, or for an Update that is in its function. A
// wait that a context ends is that of [Value.UpdateContext]. Error: os.ErrClosed.
func (v *Value[T]) Store(x T) error {
	st := v.st
	if st == nil {
		return os.ErrClosed
	}
	if isSmall[T]() {
		raceRelease()
		st.word.Store(v.toWord(x))
		return nil
	}
	if err := v.lock(context.Background()); err != nil {
		return err
	}
	_, n := v.begin()
	v.commit(n, x)
	return v.unlock(nil)
}

// Swap makes the value x and returns what it was. It waits and fails as Store
// does.
func (v *Value[T]) Swap(x T) (old T, err error) {
	st := v.st
	if st == nil {
		return old, os.ErrClosed
	}
	if isSmall[T]() {
		raceRelease()
		w := st.word.Swap(v.toWord(x))
		raceAcquire()
		return fromWord[T](w), nil
	}
	if err := v.lock(context.Background()); err != nil {
		return old, err
	}
	p, n := v.begin()
	old = *p
	v.commit(n, x)
	return old, v.unlock(nil)
}

// Update has f change the value: f gets a copy, and when it returns nil the
// copy becomes the value, all at once. If it returns an error, Update returns
// that and the value stays. If the process is killed before, the value stays,
// and the others go on.
//
// Updates take turns: it blocks while another one runs. With a T of more than 8
// bytes Stores take turns with them. With a smaller one they don't: when the
// value was changed by Store, Swap or [Add] while f ran, f is called again, with
// what the value is now. f must not write to v, and not keep the pointer. Update
// panics if f is nil.
func (v *Value[T]) Update(f func(*T) error) error {
	return v.UpdateContext(context.Background(), f)
}

// UpdateContext is [Value.Update] that returns ctx.Err() if ctx ends while it
// waits for its turn. While f runs it can't be cancelled.
func (v *Value[T]) UpdateContext(ctx context.Context, f func(*T) error) (err error) {
	need(ctx)
	needFunc(f)
	st := v.st
	if st == nil {
		return os.ErrClosed
	}
	if err := v.lock(ctx); err != nil {
		return err
	}
	defer func() { err = v.unlock(err) }() // also when f panics
	if isSmall[T]() {
		return v.updateSmall(f)
	}
	p, n := v.begin()
	draft := v.slots[n&1]
	*draft = *p
	if err := f(draft); err != nil {
		return err
	}
	v.clearGaps(draft)
	raceRelease()
	st.word.Store(2 * n) // SYNC value-commit
	return nil
}

// updateSmall commits by a compare-and-swap, so that those who write without
// the lock are not overwritten.
func (v *Value[T]) updateSmall(f func(*T) error) error {
	st, draft := v.st, v.slots[0]
	for {
		w := st.word.Load()
		raceAcquire()
		*draft = fromWord[T](w)
		if err := f(draft); err != nil {
			return err
		}
		raceRelease()
		if st.word.CompareAndSwap(w, v.toWord(*draft)) {
			return nil
		}
	}
}

// begin says in the word that the copy not in use is going to be written. It
// returns the one in use and the number of the commit to come. The lock is
// held. A writer that died here leaves nothing that matters: the next one
// writes the same copy, for the same commit.
func (v *Value[T]) begin() (inUse *T, n uint64) {
	seq := v.st.word.Load() >> 1
	v.st.word.Store(2*seq + 1)
	fence()
	return v.slots[seq&1], seq + 1
}

// commit writes x to commit n's copy and puts that in use.
func (v *Value[T]) commit(n uint64, x T) {
	draft := v.slots[n&1]
	*draft = x
	v.clearGaps(draft)
	raceRelease()
	v.st.word.Store(2 * n) // SYNC value-commit
}

func (v *Value[T]) lock(ctx context.Context) error { return v.own(v.st.mu.LockContext(ctx)) }

// own settles what came with the lock: a writer's death is nothing to repair.
func (v *Value[T]) own(err error) error {
	if err != nil && errors.Is(err, futex.ErrOwnerDead) {
		return v.st.mu.MarkConsistent()
	}
	return err
}

// unlock returns err, or else what is wrong with the lock.
func (v *Value[T]) unlock(err error) error {
	if uerr := v.st.mu.Unlock(); err == nil {
		err = uerr
	}
	return err
}
