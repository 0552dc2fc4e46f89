package main

import (
	"fmt"
	"os"
	"time"

	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/shm"
)

// A link is one side of a path, as it travels to the process that uses it.
// Which fields are set depends on Kind.
type link struct {
	Kind string

	RingOut *shm.RingWriter
	RingIn  *shm.RingReader
	Spin    time.Duration

	Words *shm.Shared[words]
	First bool // which of the words is ours

	Out, In           *pipe.Conn
	QueueOut, QueueIn *mq.Queue
	FileOut, FileIn   *os.File

	Parts                   *shm.Shared[parts]
	SlotsOut, SlotsIn       *shm.Queue[slot]
	MessagesOut, MessagesIn *shm.MessageQueue

	WorkerCPUs []int
}

// close releases this process's hold on the link.
func (l *link) close() {
	if l.RingOut != nil {
		l.RingOut.Close()
	}
	if l.RingIn != nil {
		l.RingIn.Close()
	}
	if l.Words != nil {
		l.Words.Close()
	}
	if l.Parts != nil {
		l.Parts.Close()
	}
	for _, q := range []*shm.Queue[slot]{l.SlotsOut, l.SlotsIn} {
		if q != nil {
			q.Close()
		}
	}
	for _, q := range []*shm.MessageQueue{l.MessagesOut, l.MessagesIn} {
		if q != nil {
			q.Close()
		}
	}
	for _, c := range []*pipe.Conn{l.Out, l.In} {
		if c != nil {
			c.Close()
		}
	}
	for _, q := range []*mq.Queue{l.QueueOut, l.QueueIn} {
		if q != nil {
			q.Close()
		}
	}
	for _, f := range []*os.File{l.FileOut, l.FileIn} {
		if f != nil {
			f.Close()
		}
	}
}

// An end is a link in use. Messages of one measurement have one size, so recv
// gets a buffer of just that. An end serves one goroutine.
type end interface {
	send(msg []byte) error
	recv(buf []byte) error
}

// open makes a link usable in this process. What it opens lives as long as the
// process.
func (l *link) open() (end, error) {
	switch l.Kind {
	case "ring":
		l.RingOut.SetSpin(l.Spin)
		l.RingIn.SetSpin(l.Spin)
		return ringEnd{l.RingOut, l.RingIn}, nil
	case "words":
		w := l.Words.Ptr()
		if l.First {
			return &wordEnd{out: &w.A, in: &w.B}, nil
		}
		return &wordEnd{out: &w.B, in: &w.A}, nil
	case "line":
		w := l.Words.Ptr()
		if l.First {
			return &lineEnd{out: &w.A, in: &w.B}, nil
		}
		return &lineEnd{out: &w.B, in: &w.A}, nil
	case "futex.Semaphore", "futex.Event", "futex.Cond", "futex.Barrier":
		return l.newPartsEnd(), nil
	case "slots":
		return slotEnd{l.SlotsOut, l.SlotsIn}, nil
	case "messages":
		return messageEnd{l.MessagesOut, l.MessagesIn}, nil
	case "rights":
		return newRightsEnd(l.Out)
	case "conn":
		return connEnd{l.Out, l.In}, nil
	case "mq":
		st, err := l.QueueIn.Stat()
		if err != nil {
			return nil, err
		}
		return &queueEnd{l.QueueOut, l.QueueIn, make([]byte, st.MessageSize)}, nil
	case "raw":
		return newRawEnd(l), nil
	case "eventfd":
		return &eventEnd{rawEnd: newRawEnd(l)}, nil
	case "files":
		return filesEnd{l}, nil
	case "chan":
		return newChanEnd(), nil
	case "net", "rpc", "rpc-server":
		c, err := l.netConn()
		switch {
		case err != nil:
			return nil, err
		case l.Kind == "rpc":
			return newRPCEnd(c), nil
		case l.Kind == "rpc-server":
			return newRPCServer(c)
		}
		return netEnd{c}, nil
	case "pool":
		return newPoolEnd(l.WorkerCPUs)
	}
	return nil, fmt.Errorf("bench: a link of kind %q", l.Kind)
}
