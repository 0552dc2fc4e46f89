//go:build !amd64

package shm

import "sync/atomic"

func storeBefore(p *atomic.Uint64, v uint64) { p.Store(v) }

const plainStores = false

func storePlain(p *atomic.Uint64, v uint64) { p.Store(v) }
