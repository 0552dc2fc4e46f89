package fuzz

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A refuser is the tester's end of a helper process that answers, as the
// listener of a seccomp filter, the system calls of one thread of the tester.
// It must be another process: whoever waits for an answer may hold what a
// listener of the same Go runtime needs to give it.
type refuser struct {
	proc  *os.Process
	fd    int
	spare []uint32
}

// refusing is the value of helperEnv that makes a process the helper's end.
const refusing = "refuser"

// order goes with the listener's descriptor; refusal is the answer, after the
// operation.
type refusalOrder struct {
	N     int
	Errno syscall.Errno
	Tid   int
	Entry uint64 // of stepBegin, as it is in the tester
	Spare []uint32
}

type refusal struct {
	Hit  bool
	Seen int // calls that counted
	Nr   uint32
}

func newRefuser(spare []string) (*refuser, error) {
	nrs, err := spared(spare)
	if err != nil {
		return nil, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	child := os.NewFile(uintptr(fds[1]), "control")
	defer child.Close()
	p, err := os.StartProcess("/proc/self/exe", os.Args[:1], &os.ProcAttr{
		Env:   append(os.Environ(), helperEnv+"="+refusing),
		Files: []*os.File{nil, os.Stderr, os.Stderr, child},
	})
	if err != nil {
		unix.Close(fds[0])
		return nil, err
	}
	return &refuser{proc: p, fd: fds[0], spare: nrs}, nil
}

func (r *refuser) close() {
	unix.Close(r.fd)
	r.proc.Wait()
}

// run runs op on a thread of its own, whose n-th system call fails.
func (r *refuser) run(n int, errno syscall.Errno, op func() error) (did refusal, result, lost error) {
	done := make(chan struct{})
	var escaped any
	var stand func()
	stand = func() {
		runtime.LockOSThread() // never unlocked: the filter ends with the thread
		if unix.Gettid() == unix.Getpid() {
			// The first thread never ends. Keep it until another was found.
			defer runtime.UnlockOSThread()
			go stand()
			<-done
			return
		}
		defer close(done)
		growStack()
		if lost = r.bind(n, errno); lost != nil {
			return
		}
		defer func() { escaped = recover() }()
		result = op()
	}
	go stand()
	<-done
	if escaped != nil {
		panic(escaped)
	}
	if lost != nil {
		return did, nil, lost
	}
	if _, err := unix.Write(r.fd, []byte{0}); err != nil {
		return did, nil, fmt.Errorf("fuzz: the refuser: %w", os.NewSyscallError("write", err))
	}
	buf := make([]byte, maxMessage)
	k, err := readRetry(r.fd, buf)
	if err == nil {
		err = json.Unmarshal(buf[:k], &did)
	}
	if err != nil {
		return did, nil, fmt.Errorf("fuzz: the refuser: %w", err)
	}
	return did, result, nil
}

func readRetry(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == nil && n == 0:
			err = errors.New("it is gone")
		}
		return n, err
	}
}

// bind puts the calling thread under the filter, and waits until the helper
// listens.
func (r *refuser) bind(n int, errno syscall.Errno) error {
	data, err := json.Marshal(refusalOrder{N: n, Errno: errno, Tid: unix.Gettid(), Entry: entry(stepBegin), Spare: r.spare})
	if err != nil {
		return err
	}
	return bindThread(r.fd, data, listenProgram(uint32(r.fd)))
}

// listenProgram hands over every call but the runtime's commonest, so that no
// goroutine waits for the helper with the scheduler's locks held before that
// listens, and those that call it.
func listenProgram(control uint32) []unix.SockFilter {
	const user = unix.SECCOMP_RET_USER_NOTIF
	var rules []rule
	for _, nr := range []uint32{unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_SCHED_YIELD,
		unix.SYS_TGKILL, unix.SYS_NANOSLEEP, unix.SYS_GETPID, unix.SYS_EXIT, unix.SYS_EXIT_GROUP} {
		rules = append(rules, rule{nr: nr, arg: -1})
	}
	rules = append(rules,
		rule{nr: unix.SYS_FUTEX, arg: 1, mask: privateFutex, value: privateFutex},
		rule{nr: unix.SYS_SENDMSG, arg: 0, mask: ^uint32(0), value: control},
		rule{nr: unix.SYS_READ, arg: 0, mask: ^uint32(0), value: control})
	p := program(rules)
	for i := range p {
		if p[i].Code == unix.BPF_RET|unix.BPF_K {
			p[i].K = unix.SECCOMP_RET_ALLOW
		}
	}
	p[len(p)-1].K = user
	return p
}

// bound is a thread of the tester that the helper answers for.
type bound struct {
	refusalOrder
	listener int
	did      refusal
}

// beRefuser is the helper's end, until the tester hangs up. A thread is served
// until it is no more, which is later than its operation's end.
func beRefuser() {
	var threads []*bound
	for {
		fds := []unix.PollFd{{Fd: helperFD, Events: unix.POLLIN}}
		for _, b := range threads {
			fds = append(fds, unix.PollFd{Fd: int32(b.listener), Events: unix.POLLIN})
		}
		if _, err := unix.Poll(fds, -1); err != nil {
			continue
		}
		for i, b := range threads {
			if e := fds[1+i].Revents; e&unix.POLLIN != 0 {
				b.answer()
			} else if e != 0 {
				unix.Close(b.listener)
				b.listener = -1
			}
		}
		if fds[0].Revents != 0 {
			if b := takeOrder(threads); b != nil {
				threads = append(threads, b)
			}
		}
		threads = slices.DeleteFunc(threads, func(b *bound) bool { return b.listener < 0 && b != threads[len(threads)-1] })
	}
}

// takeOrder takes the next thread, or tells what became of the last one.
func takeOrder(threads []*bound) *bound {
	buf := make([]byte, maxMessage)
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(helperFD, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err == unix.EINTR {
		return nil
	}
	if err != nil || n == 0 {
		os.Exit(0)
	}
	if oobn == 0 {
		data, _ := json.Marshal(threads[len(threads)-1].did)
		unix.Write(helperFD, data)
		return nil
	}
	b := new(bound)
	if err := json.Unmarshal(buf[:n], &b.refusalOrder); err != nil {
		os.Exit(1)
	}
	cmsgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(cmsgs) != 1 {
		os.Exit(1)
	}
	fds, err := unix.ParseUnixRights(&cmsgs[0])
	if err != nil || len(fds) != 1 {
		os.Exit(1)
	}
	b.listener = fds[0]
	unix.Write(helperFD, []byte{0}) // armed
	return b
}

// answer lets a call through, or refuses it if it is the one.
func (b *bound) answer() {
	call, ok := nextCall(b.listener)
	if !ok {
		return
	}
	var errno syscall.Errno
	nr, slide := call.number(), b.Entry-entry(stepBegin)
	if int(call.pid) == b.Tid && counts(call.ip-slide) && !slices.Contains(b.Spare, nr) && !b.testLog(call) {
		if b.did.Seen++; b.did.Seen == b.N {
			b.did.Hit, b.did.Nr, errno = true, nr, b.Errno
		}
	}
	call.reply(b.listener, errno)
}

// futexWakes is, beside the numbers of system calls, that of the futex(2) that wakes.
const futexWakes = 1 << 31

// number is the call's, or futexWakes.
func (c notified) number() uint32 {
	if c.nr == unix.SYS_FUTEX {
		switch c.args[1] & 127 { // beyond are options
		case 1, 5, 10: // wake, wake-op, wake-bitset
			return futexWakes
		}
	}
	return uint32(c.nr)
}

// testLog reports whether a call writes what go test wants to know of opened files
// and such: package os does so within its own calls, now and then.
func (b *bound) testLog(call notified) bool {
	if call.nr != unix.SYS_WRITE {
		return false
	}
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", b.Tid, call.args[0]))
	return err == nil && filepath.Base(name) == "testlog.txt"
}

// counts reports whether a system call made at pc is the program's: package
// runtime has its own instructions for what it does for itself.
func counts(pc uint64) bool {
	f := runtime.FuncForPC(uintptr(pc))
	return f != nil && strings.HasPrefix(f.Name(), "internal/runtime/syscall")
}

// canListen says why the kernel gives no listener, if it gives none.
func canListen() error {
	avail, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err == nil && !strings.Contains(string(avail), "user_notif") {
		err = errors.New("seccomp has no user_notif")
	}
	return err
}
