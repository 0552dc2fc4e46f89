package fuzz

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"unsafe"
)

// Scribble writes over shared memory until over returns true, which it asks
// after every few writes: what a hostile peer does. Its stores are atomic, of
// 4 or 8 bytes, anywhere in mem: anything, or something near what is there, for
// that gets further. Now and then it puts everything back as it was at first,
// else nothing would ever go well again. mem must be aligned to 8 bytes, as
// mappings are, and at least 8 long; else it panics.
//
// Let it run in a process of its own, or a goroutine, while others use the
// object that is mapped there: none of them may crash, hang, allocate what a
// length pretends, or return an error that is not one of its own.
func Scribble(mem []byte, seed uint64, over func() bool) {
	first := unsafe.Pointer(unsafe.SliceData(mem))
	if len(mem) < 8 || uintptr(first)%8 != 0 {
		panic(fmt.Sprintf("fuzz: Scribble over %d bytes at %p: want 8 or more, aligned to 8", len(mem), first))
	}
	r := rand.New(rand.NewPCG(seed, 2))
	halves := unsafe.Slice((*uint32)(first), len(mem)/4)
	words := unsafe.Slice((*uint64)(first), len(mem)/8)
	good := make([]uint64, len(words))
	for i := range words {
		good[i] = atomic.LoadUint64(&words[i])
	}
	for !over() {
		for range 1 + r.IntN(1000) {
			if r.IntN(2) == 0 {
				p := &halves[r.IntN(len(halves))]
				atomic.StoreUint32(p, uint32(scribbled(r, words, uint64(atomic.LoadUint32(p)))))
			} else {
				p := &words[r.IntN(len(words))]
				atomic.StoreUint64(p, scribbled(r, words, atomic.LoadUint64(p)))
			}
		}
		if r.IntN(2) == 0 {
			for i, w := range good {
				atomic.StoreUint64(&words[i], w)
			}
		}
	}
}

// scribbled is what to write over old: anything, or something near by.
func scribbled(r *rand.Rand, words []uint64, old uint64) uint64 {
	switch r.IntN(10) {
	case 0:
		return r.Uint64()
	case 1:
		return r.Uint64() & (1<<r.IntN(40) - 1)
	case 2:
		return old + 1
	case 3:
		return old - 1
	case 4:
		return 0
	case 5:
		return ^uint64(0)
	case 6:
		return old ^ 1<<r.IntN(64)
	case 7:
		return atomic.LoadUint64(&words[r.IntN(len(words))])
	case 8:
		return uint64(8 * r.IntN(1024))
	}
	return old + 8*uint64(r.IntN(64))
}
