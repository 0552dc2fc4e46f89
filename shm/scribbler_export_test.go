package shm

import (
	"os"
	"unsafe"
)

// An Area is a stretch of an object, from its beginning on.
type Area struct {
	Name     string
	From, To int
}

// RingAreas are the parts of a ring that a peer can write to.
func RingAreas(size int) []Area {
	var s ringState
	area := func(name string, off, n uintptr) Area {
		return Area{name, headerSize + int(off), headerSize + int(off+n)}
	}
	data := os.Getpagesize()
	return []Area{
		{"header", 0, headerSize},
		area("closed, CPUs", unsafe.Offsetof(s.closed), 12),
		area("sleeps", unsafe.Offsetof(s.readerSleeps), 8),
		area("tail", unsafe.Offsetof(s.tail), 8),
		area("head", unsafe.Offsetof(s.head), 8),
		area("writer's life", unsafe.Offsetof(s.writer), unsafe.Sizeof(s.writer)),
		area("reader's life", unsafe.Offsetof(s.reader), unsafe.Sizeof(s.reader)),
		area("state", 0, unsafe.Sizeof(s)),
		{"first lengths", data, data + 64},
		{"records", data, size},
	}
}

// QueueAreas are those of a queue of any kind.
func QueueAreas(size int) []Area {
	var s queueState
	area := func(name string, off, n uintptr) Area {
		return Area{name, headerSize + int(off), headerSize + int(off+n)}
	}
	areas := []Area{
		{"header", 0, headerSize},
		area("capacity", unsafe.Offsetof(s.capacity), 8),
		area("done", unsafe.Offsetof(s.done), 8),
		area("ending", unsafe.Offsetof(s.ending), 8),
		area("first members", unsafe.Offsetof(s.members), 3*unsafe.Sizeof(s.members[0])),
		area("members", unsafe.Offsetof(s.members), unsafe.Sizeof(s.members)),
		area("state", 0, unsafe.Sizeof(s)),
		{"first slots", headerSize + queueStateSize, headerSize + queueStateSize + 64},
		{"slots", headerSize + queueStateSize, size},
	}
	for name, off := range map[string]uintptr{"send": unsafe.Offsetof(s.send), "recv": unsafe.Offsetof(s.recv), "join": unsafe.Offsetof(s.join)} {
		areas = append(areas,
			area(name+" lock", off+unsafe.Offsetof(s.send.lock), unsafe.Sizeof(s.send.lock)),
			area(name+" seen", off+unsafe.Offsetof(s.send.seen), 8),
			area(name+" user", off+unsafe.Offsetof(s.send.user), 8),
			area(name+" busy", off+unsafe.Offsetof(s.send.busy), 8),
			area(name+" turn", off+unsafe.Offsetof(s.send.turn), 4),
			area(name+" position", off+unsafe.Offsetof(s.send.pos), 8),
			area(name+" sleeps", off+unsafe.Offsetof(s.send.sleeps), 4))
	}
	return areas
}
