package main

import (
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"sync"
)

// stdPaths are the standard library's own ways, besides unix-socket and
// tcp-loopback.
var stdPaths = []*path{
	{name: "os.Pipe", impl: "os", c: "C pipe", python: "Python Pipe", make: filesLinks},
	{name: "net/rpc", impl: "net", calls: true, c: "C stream", python: "Python Pool", make: rpcLinks},
	{name: "chan", impl: "go", calls: true, make: func() (*link, *link, error) { return &link{Kind: "chan"}, nil, nil }},
}

func filesLinks() (a, b *link, err error) {
	a, b = &link{Kind: "files"}, &link{Kind: "files"}
	if b.FileIn, a.FileOut, err = os.Pipe(); err == nil {
		a.FileIn, b.FileOut, err = os.Pipe()
	}
	return links(a, b, err)
}

type filesEnd struct{ l *link }

func (e filesEnd) send(msg []byte) error { _, err := e.l.FileOut.Write(msg); return err }
func (e filesEnd) recv(buf []byte) error { _, err := io.ReadFull(e.l.FileIn, buf); return err }

func rpcLinks() (*link, *link, error) {
	a, b, err := netLinks("tcp", "127.0.0.1:0")
	if err == nil {
		a.Kind, b.Kind = "rpc", "rpc-server"
	}
	return a, b, err
}

// rpcEnd is a whole call, as poolEnd.
type rpcEnd struct {
	c     *rpc.Client
	reply []byte
}

func newRPCEnd(c net.Conn) end { return &rpcEnd{c: rpc.NewClient(c)} }

func (e *rpcEnd) send(msg []byte) error {
	e.reply = e.reply[:0]
	return e.c.Call("Echo.Echo", msg, &e.reply)
}

func (e *rpcEnd) recv(buf []byte) error { return short(len(e.reply), len(buf)) }

// Echo answers calls on goroutines of net/rpc's own; the loop of this side only
// counts them.
type Echo struct {
	mu     sync.Mutex
	turn   sync.Cond
	served int
}

// Echo is the method that is called.
func (e *Echo) Echo(msg []byte, reply *[]byte) error {
	*reply = msg
	e.mu.Lock()
	e.served++
	e.mu.Unlock()
	e.turn.Signal()
	return nil
}

func newRPCServer(c net.Conn) (end, error) {
	e := new(Echo)
	e.turn.L = &e.mu
	s := rpc.NewServer()
	if err := s.Register(e); err != nil {
		return nil, err
	}
	go s.ServeConn(c) // until the connection ends, as the process does
	return e, nil
}

// await waits for n calls without being woken by each.
func (e *Echo) await(n int) {
	e.mu.Lock()
	for e.served < n {
		e.turn.Wait()
	}
	e.served -= n
	e.mu.Unlock()
}

func (e *Echo) send([]byte) error { return nil }
func (e *Echo) recv([]byte) error { e.await(1); return nil }

// chanEnd is a goroutine of the same process at the other end of two channels:
// what it costs to leave out the second process. Slices go by reference.
type chanEnd struct {
	there, back chan []byte
	got         []byte
}

func newChanEnd() end {
	e := &chanEnd{there: make(chan []byte), back: make(chan []byte)}
	go func() {
		for msg := range e.there { // as long as the process
			e.back <- msg
		}
	}()
	return e
}

func (e *chanEnd) send(msg []byte) error { e.there <- msg; e.got = <-e.back; return nil }
func (e *chanEnd) recv(buf []byte) error { return short(len(e.got), len(buf)) }

// netConn makes the link's file a connection again.
func (l *link) netConn() (net.Conn, error) {
	c, err := net.FileConn(l.FileOut)
	if err != nil {
		return nil, fmt.Errorf("bench: a connection of a file: %w", err)
	}
	l.FileOut.Close()
	return c, nil
}
