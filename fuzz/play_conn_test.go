package fuzz_test

import (
	"os"
	"slices"
	"testing"

	"github.com/rawipc/rawipc/pipe"
)

// FuzzModelConn plays on the two ends of connections: messages, the stream that
// Read makes of them, descriptors, and the end.
func FuzzModelConn(f *testing.F) { playAll(f, connPlays) }

var connPlays = []play{
	connPlay("pair", pipe.Pair, connRules{}),
	connPlay("packet pair", pipe.PacketPair, connRules{packets: true}),
	connPlay("one way", func() (a, b *pipe.Conn, err error) { b, a, err = pipe.OneWay(); return }, connRules{oneWay: true}),
}

type connRules struct{ packets, oneWay bool }

type connRole struct {
	*pipe.Conn
	connRules
}

func connPlay(name string, fresh func() (a, b *pipe.Conn, err error), rules connRules) play {
	return play{
		name: name,
		cast: func(byte) (role, []*os.File, func(), error) {
			a, b, err := fresh()
			if err != nil {
				return nil, nil, nil, err
			}
			files, err := b.PassFiles()
			return connRole{a, rules}, files, func() { b.Close() }, err
		},
		far: func(files []*os.File) (role, error) {
			c := new(pipe.Conn)
			return connRole{c, rules}, c.TakeFiles(files)
		},
		model: func(byte, bool) func(bool, byte, uint16) (string, bool) {
			m := &connModel{connRules: rules}
			return m.do
		},
	}
}

// mostInFlight is below what any of the descriptors holds for one direction, and
// mostMessages what small ones may cost it.
const (
	mostInFlight = 16 << 10
	mostMessages = 12
	connOps      = 8
)

func connLength(arg uint16) int {
	if arg%8 == 0 {
		return int(arg>>3) % 3000
	}
	return int(arg>>3) % 40
}

func (c connRole) do(op byte, arg uint16, late bool) string {
	ctx, cancel := in(late)
	defer cancel()
	msg := fill(connLength(arg), arg)
	switch op % connOps {
	case 0, 1:
		return said(c.Send(ctx, msg))
	case 2:
		buf := make([]byte, arg%3100)
		n, err := c.Recv(ctx, buf)
		return said(err, sum(buf[:n]))
	case 3:
		b, err := c.RecvAlloc(ctx, 3000)
		return said(err, sum(b))
	case 4:
		buf := make([]byte, 1+arg%64)
		n, err := c.Read(buf)
		return said(err, sum(buf[:n]))
	case 5:
		there, err := c.Poll(ctx)
		return said(err, there)
	case 6:
		files := make([]*os.File, arg%4)
		for i := range files {
			files[i] = os.Stderr
		}
		return said(c.SendFiles(ctx, msg, files...))
	}
	if arg%2 == 0 {
		if arg%64 != 0 {
			return "not asked for"
		}
		return said(c.CloseWrite())
	}
	buf := make([]byte, 3100)
	n, files, err := c.RecvFiles(ctx, buf, 9)
	for _, f := range files {
		f.Close()
	}
	return said(err, sum(buf[:n]), len(files))
}

// connMessage is one on its way; body shrinks as it is read as a stream.
type connMessage struct {
	body  []byte
	files int
}

type connModel struct {
	connRules
	to    [2][]connMessage // in flight to the near member and to the far one
	ended [2]bool
}

func (m *connModel) do(far bool, op byte, arg uint16) (string, bool) {
	me, other := 0, 1
	if far {
		me, other = 1, 0
	}
	op %= connOps
	sends := op == 0 || op == 1 || op == 6 || op == 7 && arg%2 == 0
	if m.oneWay && (sends == far || op >= 6) {
		return "", false
	}
	if sends {
		files := 0
		if op == 6 {
			files = int(arg % 4)
		}
		return m.send(other, op, arg, files)
	}
	q := &m.to[me]
	if op == 4 {
		if !m.ended[me] && !slices.ContainsFunc(*q, func(msg connMessage) bool { return len(msg.body) > 0 }) {
			return "", false // it would wait, and has no context
		}
		for len(*q) > 0 && len((*q)[0].body) == 0 { // Read skips empty ones
			*q = (*q)[1:]
		}
	}
	none := []any{sum(nil)}
	if op == 7 {
		none = append(none, 0)
	}
	switch {
	case op == 5 && len(*q) == 0 && !m.ended[me]:
		return fails("canceled", false), true
	case op == 5:
		return ok(true), false
	case len(*q) == 0 && m.ended[me]:
		return fails("EOF", none...), false
	case len(*q) == 0:
		return fails("canceled", none...), true
	case op == 2 && len((*q)[0].body) > int(arg%3100):
		m.touch(&(*q)[0])
		return fails("short", none...), false
	case op == 4:
		head := &(*q)[0]
		m.touch(head)
		n := min(len(head.body), 1+int(arg%64))
		s := ok(sum(head.body[:n]))
		if head.body = head.body[n:]; len(head.body) == 0 {
			*q = (*q)[1:]
		}
		return s, false
	}
	head := (*q)[0]
	*q = (*q)[1:]
	if op == 7 {
		return ok(sum(head.body), head.files), false
	}
	return ok(sum(head.body)), false
}

// touch is what a call does to a message that did not ask for descriptors and
// leaves some of it: of a packet, they are gone.
func (m *connModel) touch(msg *connMessage) {
	if m.packets {
		msg.files = 0
	}
}

func (m *connModel) send(to int, op byte, arg uint16, files int) (string, bool) {
	if op == 7 {
		if arg%64 != 0 || m.ended[to] { // seldom, as it is the end
			return "", false
		}
		m.ended[to] = true
		return ok(), false
	}
	flying := connLength(arg)
	for _, msg := range m.to[to] {
		flying += len(msg.body)
	}
	if m.ended[to] || flying > mostInFlight || len(m.to[to]) >= mostMessages {
		return "", false
	}
	m.to[to] = append(m.to[to], connMessage{fill(connLength(arg), arg), files})
	return ok(), false
}
