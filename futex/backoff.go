package futex

import "sync/atomic"

// mutexSpins is how many pauses, of 20–60 ns, a waiter for a lock makes before it
// sleeps. A lock is held for less time than a wake takes, or it is worth sleeping
// for. 120 are one run of each length below; 200 are no faster, and with four
// processes on two CPUs a queue between them is 5 to 20 % slower.
var mutexSpins = 120

// A waiter's first pause is of firstPauses, and each doubles up to mostPauses.
// Each look takes the lock's cache line from the holder. Left alone for that
// long, he gets dozens of sections done, and who looks finds the lock free
// between two of them soon enough. Two processes that do nothing but lock, on two
// CPUs, in millions of sections a second (a Mutex whose Unlock was a plain store,
// RobustMutex, Semaphore):
//
//	 1 to 1      34   38   29
//	 1 to 32     89   42   52
//	 8 to 64    111   65   77
//	16 to 32    121   70   82    but it is longer until a free lock is seen
//
// Lost: to look by an exchange, which finds the line free to take: 100, 71, 69,
// and worse shares.
const (
	firstPauses = 8
	mostPauses  = 64
)

// A backoff is the time that a waiter looks before it sleeps. A process that is
// bound to one CPU can't know whether the holder is bound to another, or waits for
// this one: it tries, and after looks that were in vain it does not, for a number
// of waits that doubles each time.
type backoff struct {
	spent, run int
	at         *lookout // of a process that is bound to one CPU, else nil
}

// A lookout is what the waiters of one place have learned. Goroutines that use it
// at once may mix up its counts, and places that share one, which makes them learn
// less.
type lookout struct{ inVain, skips atomic.Uint32 }

var lookouts [256]lookout

const mostSkips = 12 // as a power of 2

// backoffAt begins the wait for the lock at addr.
func backoffAt(addr uintptr) (b backoff) {
	if ManyCPUs() {
		return b
	}
	b.at = &lookouts[(addr>>4^addr>>12)&255]
	if n := b.at.skips.Load(); n > 0 {
		b.at.skips.Store(n - 1)
		b.spent = mutexSpins
	}
	return b
}

// again pauses until the next look, or says that the time is over.
func (b *backoff) again() bool {
	if b.spent >= mutexSpins {
		if b.at != nil && b.run > 0 {
			n := min(b.at.inVain.Load()+1, mostSkips)
			b.at.inVain.Store(n)
			b.at.skips.Store(1 << n)
		}
		return false
	}
	b.run = min(max(2*b.run, firstPauses), mostPauses, mutexSpins-b.spent)
	pause(uint32(b.run))
	b.spent += b.run
	return true
}

// hit notes that the last look was not in vain.
func (b *backoff) hit() {
	if b.at != nil && b.run > 0 {
		b.at.inVain.Store(b.at.inVain.Load() / 2)
	}
}
