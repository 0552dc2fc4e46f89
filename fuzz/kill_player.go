package fuzz

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// player is the tester's end of one helper process.
type player struct {
	proc       *os.Process
	fd         int
	inbox      []message
	gone       bool // hung up, or killed
	begin, end uint64
	tid        int    // the victim's thread
	addr       uint64 // the segment in its memory
	size       int
}

var errLate = errors.New("no answer in time")

// bootTime bounds what is no part of the protocol under test: the start of a
// helper and its bookkeeping.
const bootTime = 20 * time.Second

// startPlayer starts a helper. It dies with the calling thread.
func startPlayer() (*player, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	child := os.NewFile(uintptr(fds[1]), "control")
	defer child.Close()
	proc, err := os.StartProcess("/proc/self/exe", os.Args[:1], &os.ProcAttr{
		Env: append(os.Environ(), helperEnv+"=1", "GOMAXPROCS=4", "GOTRACEBACK=all",
			"GODEBUG="+os.Getenv("GODEBUG")+",asyncpreemptoff=1",
			"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0"),
		Files: []*os.File{nil, os.Stderr, os.Stderr, child},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		unix.Close(fds[0])
		return nil, err
	}
	p := &player{proc: proc, fd: fds[0]}
	m, err := p.await(time.Now().Add(bootTime), "hello", -1)
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("fuzz: the helper does not answer: %w", err)
	}
	p.begin, p.end = m.Begin, m.End
	return p, nil
}

func (p *player) pid() int { return p.proc.Pid }

func (p *player) send(m message, file *os.File) {
	if err := sendMessage(p.fd, m, file); err != nil {
		p.gone = true
	}
}

// ask sends an order and returns the answer to it.
func (p *player) ask(m message, until time.Time) (message, error) {
	p.send(m, nil)
	return p.await(until, m.Do, -1)
}

// take returns the first message of that kind from the inbox.
func (p *player) take(do string, peer int) (message, bool) {
	for i, m := range p.inbox {
		if m.Do == do && (peer < 0 || m.Peer == peer) {
			p.inbox = slices.Delete(p.inbox, i, i+1)
			return m, true
		}
	}
	return message{}, false
}

// pump moves what has come, or comes within d, into the inbox.
func (p *player) pump(d time.Duration) {
	for !p.gone && readable(p.fd, d) {
		m, _, err := recvMessage(p.fd)
		if err != nil {
			p.gone = true
			return
		}
		p.inbox = append(p.inbox, m)
		d = 0
	}
}

func (p *player) await(until time.Time, do string, peer int) (message, error) {
	for {
		if m, ok := p.take(do, peer); ok {
			return m, failure(m)
		}
		left := time.Until(until)
		if p.gone {
			return message{}, fmt.Errorf("helper process %d ended", p.pid())
		}
		if left <= 0 {
			return message{}, errLate
		}
		p.pump(left)
	}
}

func failure(m message) error {
	if m.Failed == "" {
		return nil
	}
	return errors.New(m.Failed)
}

// kill ends the helper and reaps it.
func (p *player) kill() {
	p.gone = true
	p.proc.Kill()
	p.proc.Wait()
	unix.Close(p.fd)
}

// leave lets the helper end by itself. An error is what the race detector
// makes of its exit status, for one.
func (p *player) leave() error {
	unix.Shutdown(p.fd, unix.SHUT_RDWR)
	timer := time.AfterFunc(bootTime, func() { p.proc.Kill() })
	state, err := p.proc.Wait()
	timer.Stop()
	unix.Close(p.fd)
	p.gone = true
	if err == nil && !state.Success() {
		err = fmt.Errorf("fuzz: a helper process ended with %v", state)
	}
	return err
}

// crew starts helpers ahead of need, from a thread of its own: they die with
// that thread, and must not inherit the affinity of the tracer's.
type crew struct {
	ready chan *player
	quit  chan struct{}
	done  chan struct{}
	err   error // set before ready is closed
}

func newCrew() *crew {
	c := &crew{ready: make(chan *player, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with us
		defer close(c.done)
		defer close(c.ready)
		for {
			p, err := startPlayer()
			if err != nil {
				c.err = err
				return
			}
			select {
			case c.ready <- p:
			case <-c.quit:
				p.leave()
				return
			}
		}
	}()
	return c
}

func (c *crew) hire() (*player, error) {
	p, ok := <-c.ready
	if !ok {
		return nil, c.err
	}
	return p, nil
}

// dismiss ends the spare helpers; those who were hired must be gone before.
func (c *crew) dismiss() {
	close(c.quit)
	for p := range c.ready {
		p.leave()
	}
	<-c.done
}
