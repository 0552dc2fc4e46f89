package fuzz

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// helperEnv marks a helper process; its control socket is descriptor 3.
const (
	helperEnv = "RAWIPC_FUZZ_HELPER"
	helperFD  = 3
)

// canHelp says that TestMain called Dispatch, so that a re-executed test
// binary becomes a helper rather than a second run of the tests.
var canHelp bool

// Dispatch makes a helper process of this one, if KillEach, PauseEach or FailEach
// started it as such, and then does not return; else it returns at once. [Main] calls
// it; a TestMain of another kind must call it first.
func Dispatch() {
	if os.Getenv(helperEnv) == "" {
		canHelp = true
		return
	}
	role := os.Getenv(helperEnv)
	os.Unsetenv(helperEnv)
	unix.CloseOnExec(helperFD)
	if role == refusing {
		beRefuser()
	}
	// The first thread stays with this loop: it leads the process, and its
	// state must not depend on a tracer.
	runtime.LockOSThread()
	h := &helper{jobs: make(chan func())}
	go h.stage()
	h.report(message{Do: "hello", Begin: entry(stepBegin), End: entry(stepEnd)})
	for {
		m, file, err := recvMessage(helperFD)
		if err != nil {
			os.Exit(0) // the tester is done with us, or dead
		}
		h.obey(m, file)
	}
}

// helper is the whole of a helper process: any part of any round.
type helper struct {
	jobs  chan func()
	parts sync.WaitGroup // what runs beside the loop; joined by close
	seg   *Segment
	op    Op
	cue   *Cue
}

// stage runs what the victim does on one thread, which the tester may trace.
func (h *helper) stage() {
	runtime.LockOSThread()
	for job := range h.jobs {
		job()
	}
}

func (h *helper) onStage(job func()) {
	h.parts.Add(1)
	h.jobs <- func() {
		defer h.parts.Done()
		job()
	}
}

func (h *helper) report(m message) {
	if err := sendMessage(helperFD, m, nil); err != nil {
		os.Exit(0)
	}
}

// finish reports the end of a part.
func (h *helper) finish(m message, err error) {
	if err != nil {
		m.Failed = err.Error()
		if m.Failed == "" {
			m.Failed = "an error without text"
		}
	}
	h.report(m)
}

func (h *helper) obey(m message, file *os.File) {
	switch m.Do {
	case "segment":
		h.finish(h.open(m, file))
	case "init":
		h.parts.Go(func() { h.finish(m, call(h.op.Init)) })
	case "check":
		h.parts.Go(func() {
			h.finish(m, call(func() error {
				if h.op.Check == nil {
					return nil
				}
				return h.op.Check(m.Died)
			}))
		})
	case "prepare":
		debug.SetGCPercent(-1) // the collector's threads are no part of the operation
		h.onStage(func() {
			growStack()
			m.Tid = unix.Gettid()
			h.finish(m, call(h.op.Prepare))
		})
	case "do":
		h.onStage(func() { h.finish(m, call(h.step)) })
	case "peer":
		p, cue := h.op.Casts[m.Cast].Peers[m.Peer], *h.cue
		cue.ready = func() { h.report(message{Do: "ready", Peer: m.Peer}) }
		h.parts.Go(func() { h.finish(m, call(func() error { return p.Run(&cue) })) })
	case "blocked":
		select {
		case <-h.cue.blocked: // it has slept before
		default:
			close(h.cue.blocked)
		}
	case "over":
		close(h.cue.over)
	case "close":
		h.finish(m, h.close())
	}
}

func (h *helper) open(m message, file *os.File) (message, error) {
	sc := scenarios[m.Op]
	if sc == nil || file == nil {
		return m, fmt.Errorf("fuzz: scenario %q is not registered in the helper, or came without a segment", m.Op)
	}
	mem, err := unix.Mmap(int(file.Fd()), 0, m.Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return m, os.NewSyscallError("mmap", err)
	}
	h.seg = &Segment{Mem: mem, File: file}
	h.cue = &Cue{blocked: make(chan struct{}), over: make(chan struct{})}
	err = call(func() error { h.op = sc.build(h.seg); return nil })
	if err == nil && h.op.Do == nil {
		err = fmt.Errorf("fuzz: scenario %q has no Do", m.Op)
	}
	m.Addr = uint64(reflect.ValueOf(mem).Pointer())
	for _, c := range h.op.Casts {
		info := castInfo{Name: c.Name}
		for _, p := range c.Peers {
			info.Peers = append(info.Peers, peerInfo{p.Name, p.When, p.Inside, p.Dies})
		}
		m.Casts = append(m.Casts, info)
	}
	return m, err
}

func (h *helper) close() error {
	h.parts.Wait()
	err := call(h.op.Close)
	if e := unix.Munmap(h.seg.Mem); err == nil {
		err = os.NewSyscallError("munmap", e)
	}
	h.seg.File.Close()
	h.seg, h.op, h.cue = nil, Op{}, nil
	debug.SetGCPercent(100)
	return err
}

// step runs Do between the two markers.
func (h *helper) step() error {
	defer stepEnd()
	stepBegin()
	return h.op.Do()
}

// call runs one function of an Op and makes an error of its panic.
func call(f func() error) (err error) {
	if f == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return f()
}

// growStack spares Do the growth of its stack, and the points which that adds
// in some runs and not in others.
//
//go:noinline
func growStack() {
	var room [64 << 10]byte
	markers.Add(uint32(room[len(os.Args)]))
}

// The markers are functions of their own so that their first instructions are
// addresses that the tracer can know.
var markers atomic.Uint32

//go:noinline
func stepBegin() { markers.Add(1) }

//go:noinline
func stepEnd() { markers.Add(2) }

func entry(f func()) uint64 { return uint64(reflect.ValueOf(f).Pointer()) }
