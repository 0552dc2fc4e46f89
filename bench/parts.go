package main

import (
	"context"
	"os"
	"structs"
	"sync/atomic"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/shm"
)

// maxTeam is the most processes that work on the same parts.
const maxTeam = 64

// parts are one of each primitive, in memory that processes share.
type parts struct {
	_         structs.HostLayout
	SemA      futex.Semaphore
	SemB      futex.Semaphore
	EventA    futex.Event
	EventB    futex.Event
	Meet      futex.Barrier
	Mutex     futex.Mutex
	Robust    futex.RobustMutex
	RW        futex.RWMutex
	Recursive futex.RecursiveMutex
	Cond      futex.Cond
	Said      [2]uint64 // guarded by Mutex, with Cond
	Ready     atomic.Uint32
	Word      atomic.Uint32
	Begin     [maxTeam]int64 // of each process, CLOCK_MONOTONIC
	End       [maxTeam]int64
}

// newParts are for so many that meet at the barrier.
func newParts(parties int) (*shm.Shared[parts], error) {
	return shm.New(func(p *parts) error {
		if err := p.SemA.Init(0, 0); err != nil {
			return err
		}
		if err := p.SemB.Init(0, 0); err != nil {
			return err
		}
		return p.Meet.Init(parties)
	})
}

type slot [64]byte

// morePaths are those of -all: primitives that carry one bit, and queues that
// many may use, between two.
var morePaths = []*path{
	partsPath("futex.Semaphore", "C futex", "Python Semaphore"),
	partsPath("futex.Event", "C futex", "Python Semaphore"),
	partsPath("futex.Cond", "C futex", "Python Semaphore"),
	partsPath("futex.Barrier", "C futex", "Python Semaphore"),
	{name: "shm.Queue", impl: "rawipc", max: len(slot{}), spins: true, c: "C ring", python: "Python Queue", make: slotLinks},
	{name: "shm.MessageQueue", impl: "rawipc", max: 1 << 20, spins: true, c: "C ring", python: "Python Queue", make: messageLinks},
	{name: "pipe.Pair+file", impl: "rawipc", max: 64 << 10, c: "C stream", python: "Python Pipe", make: func() (*link, *link, error) {
		a, b, err := connLinks(pipe.Pair())
		if err == nil {
			a.Kind, b.Kind = "rights", "rights"
		}
		return a, b, err
	}},
}

func partsPath(name, c, python string) *path {
	return &path{name: name, impl: "rawipc", fixed: 4, c: c, python: python, make: func() (*link, *link, error) {
		a, b := &link{Kind: name, First: true}, &link{Kind: name}
		var err error
		a.Parts, err = newParts(2)
		b.Parts = a.Parts // lent to both
		return links(a, b, err)
	}}
}

// partsEnd is one of two that wait for each other with a primitive.
type partsEnd struct {
	*parts
	kind      string
	me        int
	semOut    *futex.Semaphore
	semIn     *futex.Semaphore
	eventOut  *futex.Event
	eventIn   *futex.Event
	heard     uint64
	otherSide int
}

func (l *link) newPartsEnd() end {
	p := l.Parts.Ptr()
	e := &partsEnd{parts: p, kind: l.Kind, me: 1, semOut: &p.SemB, semIn: &p.SemA, eventOut: &p.EventB, eventIn: &p.EventA}
	if l.First {
		e.me, e.otherSide, e.semOut, e.semIn, e.eventOut, e.eventIn = 0, 1, e.semIn, e.semOut, e.eventIn, e.eventOut
	}
	return e
}

func (e *partsEnd) send([]byte) error {
	switch e.kind {
	case "futex.Semaphore":
		return e.semOut.Release()
	case "futex.Event":
		e.eventOut.Set()
	case "futex.Cond":
		e.Mutex.Lock()
		e.Said[e.me]++
		err := e.Cond.Signal()
		e.Mutex.Unlock()
		return err
	}
	return nil // both meet in recv
}

func (e *partsEnd) recv([]byte) (err error) {
	switch e.kind {
	case "futex.Semaphore":
		return e.semIn.Acquire(bg)
	case "futex.Event":
		err = e.eventIn.Wait(bg)
		e.eventIn.Reset()
	case "futex.Cond":
		e.Mutex.Lock()
		for err == nil && e.Said[e.otherSide] == e.heard {
			err = e.Cond.Wait(bg, &e.Mutex)
		}
		e.heard++
		e.Mutex.Unlock()
	case "futex.Barrier":
		_, err = e.Meet.Wait(bg)
	}
	return err
}

func slotLinks() (a, b *link, err error) {
	a, b = &link{Kind: "slots"}, &link{Kind: "slots"}
	if a.SlotsOut, err = shm.NewQueue[slot](1024); err == nil {
		b.SlotsOut, err = shm.NewQueue[slot](1024)
	}
	a.SlotsIn, b.SlotsIn = b.SlotsOut, a.SlotsOut // lent to both
	return links(a, b, err)
}

type slotEnd struct{ out, in *shm.Queue[slot] }

func (e slotEnd) send(msg []byte) error {
	var s slot
	copy(s[:], msg)
	return e.out.Send(bg, s)
}

func (e slotEnd) recv(buf []byte) error {
	s, err := e.in.Recv(bg)
	copy(buf, s[:])
	return err
}

func messageLinks() (a, b *link, err error) {
	a, b = &link{Kind: "messages"}, &link{Kind: "messages"}
	if a.MessagesOut, err = shm.NewMessageQueue(ringCap); err == nil {
		b.MessagesOut, err = shm.NewMessageQueue(ringCap)
	}
	a.MessagesIn, b.MessagesIn = b.MessagesOut, a.MessagesOut // lent to both
	return links(a, b, err)
}

type messageEnd struct{ out, in *shm.MessageQueue }

func (e messageEnd) send(msg []byte) error { return e.out.Send(bg, msg) }

func (e messageEnd) recv(buf []byte) error {
	n, err := e.in.Recv(bg, buf)
	if err != nil {
		return err
	}
	return short(n, len(buf))
}

// rightsEnd sends a descriptor with each message.
type rightsEnd struct {
	c *pipe.Conn
	f *os.File
}

func newRightsEnd(c *pipe.Conn) (end, error) {
	f, err := os.Open("/dev/null")
	return rightsEnd{c, f}, err
}

func (e rightsEnd) send(msg []byte) error { return e.c.SendFiles(bg, msg, e.f) }

func (e rightsEnd) recv(buf []byte) error {
	for got := 0; got < len(buf); {
		n, files, err := e.c.RecvFiles(context.Background(), buf[got:], 1)
		for _, f := range files {
			f.Close()
		}
		if err != nil {
			return err
		}
		got += n
	}
	return nil
}
