package fuzz_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/mq"
)

// FuzzModelMQ plays on a POSIX message queue: the highest priority first, and
// the oldest of it.
func FuzzModelMQ(f *testing.F) { playAll(f, mqPlays) }

var mqPlays = []play{{"mq", castMQ, farMQ, modelMQ}}

type mqRole struct{ *mq.Queue }

var mqNames atomic.Int64

const mqMessage = 64

func castMQ(size byte) (role, []*os.File, func(), error) {
	name := fmt.Sprintf("/rawipc-play-%d-%d", os.Getpid(), mqNames.Add(1))
	q, err := mq.Create(name, &mq.Attr{MaxMessages: 1 + int(size)%10, MessageSize: mqMessage})
	if err != nil {
		return nil, nil, nil, err
	}
	if err := mq.Unlink(name); err != nil {
		return nil, nil, nil, err
	}
	files, err := q.PassFiles()
	return mqRole{q}, files, func() {}, err
}

func farMQ(files []*os.File) (role, error) {
	q := new(mq.Queue)
	return mqRole{q}, q.TakeFiles(files)
}

// prioOf makes priorities, few of them and now and then the last or none.
func prioOf(arg uint16) uint {
	switch arg >> 12 {
	case 0:
		return 32767
	case 1:
		return 32768
	}
	return uint(arg>>12) % 4
}

func (q mqRole) do(op byte, arg uint16, late bool) string {
	ctx, cancel := in(late)
	defer cancel()
	msg, prio, buf := fill(int(arg)%(mqMessage+2), arg), prioOf(arg), make([]byte, mqMessage)
	if arg%32 == 31 {
		buf = buf[1:]
	}
	switch op % 5 {
	case 0:
		sent, err := q.TrySend(msg, prio)
		return said(err, sent)
	case 1:
		return said(q.Send(ctx, msg, prio))
	case 2:
		n, prio, got, err := q.TryRecv(buf)
		return said(err, sum(buf[:n]), prio, got)
	case 3:
		n, prio, err := q.Recv(ctx, buf)
		return said(err, sum(buf[:n]), prio)
	}
	st, err := q.Stat()
	return said(err, st)
}

func modelMQ(size byte, _ bool) func(bool, byte, uint16) (string, bool) {
	type message struct {
		body []byte
		prio uint
	}
	var queue []message
	most, none := 1+int(size)%10, sum(nil)
	send := func(arg uint16) (kind string) {
		msg, prio := fill(int(arg)%(mqMessage+2), arg), prioOf(arg)
		switch {
		case prio > 32767:
			return "invalid"
		case len(msg) > mqMessage:
			return "message size"
		case len(queue) == most:
			return "full"
		}
		at := len(queue)
		for at > 0 && queue[at-1].prio < prio {
			at--
		}
		queue = append(queue[:at], append([]message{{msg, prio}}, queue[at:]...)...)
		return "ok"
	}
	return func(_ bool, op byte, arg uint16) (string, bool) {
		switch op % 5 {
		case 0:
			switch kind := send(arg); kind {
			case "full":
				return ok(false), false
			default:
				return fails(kind, kind == "ok"), false
			}
		case 1:
			switch kind := send(arg); kind {
			case "full":
				return fails("canceled"), true
			default:
				return fails(kind), false
			}
		case 4:
			return ok(mq.Stat{MaxMessages: most, MessageSize: mqMessage, Messages: len(queue)}), false
		}
		try := op%5 == 2
		got, had := []any{none, 0}, false
		kind, late := "ok", false
		switch {
		case arg%32 == 31:
			kind = "message size"
		case len(queue) > 0:
			got = []any{sum(queue[0].body), queue[0].prio}
			queue, had = queue[1:], true
		case !try:
			kind, late = "canceled", true
		}
		if try {
			got = append(got, had)
		}
		return fails(kind, got...), late
	}
}
