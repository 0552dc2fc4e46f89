package futex

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// identityBase is where identities are locked, far behind any file's end.
const identityBase = 1 << 62

// fileJudge knows the living by a byte that each has locked. One process has
// one lock a file, however often it attaches: a second one would be a stranger
// to the first.
type fileJudge struct {
	key  fileKey
	file *os.File
	id   uint32
	refs int // guarded by fileJudges
}

type fileKey struct{ dev, ino uint64 }

var fileJudges = struct {
	sync.Mutex
	at map[fileKey]*fileJudge
}{at: make(map[fileKey]*fileJudge)}

func judgeByFile(f *os.File) (judge, uint32, error) {
	// A description of our own: a lock on one that another process has too
	// would outlive us.
	var own *os.File
	err := onFd(f, func(fd int) (err error) {
		own, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("futex: Attach: %w", err)
	}
	var st unix.Stat_t
	if err := onFd(own, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		own.Close()
		return nil, 0, os.NewSyscallError("fstat", err)
	}
	key := fileKey{uint64(st.Dev), st.Ino}
	fileJudges.Lock()
	defer fileJudges.Unlock()
	if j := fileJudges.at[key]; j != nil {
		own.Close()
		j.refs++
		return j, j.id, nil
	}
	j := &fileJudge{key: key, file: own, refs: 1}
	for {
		if j.id = rand.Uint32(); j.id == 0 {
			continue
		}
		l := unix.Flock_t{Type: unix.F_WRLCK, Start: identityBase + int64(j.id), Len: 1}
		err := onFd(own, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &l) })
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			own.Close()
			return nil, 0, os.NewSyscallError("fcntl", err)
		}
	}
	fileJudges.at[key] = j
	return j, j.id, nil
}

func (j *fileJudge) dead(id uint32) bool {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: identityBase + int64(id), Len: 1}
	err := onFd(j.file, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &l) })
	return err == nil && l.Type == unix.F_UNLCK
}

func (j *fileJudge) close() {
	fileJudges.Lock()
	defer fileJudges.Unlock()
	if j.refs--; j.refs == 0 {
		delete(fileJudges.at, j.key)
		j.file.Close()
	}
}

// onFd runs a system call on a descriptor, again after a signal.
func onFd(f *os.File, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := c.Control(func(fd uintptr) {
		for {
			if err = call(int(fd)); err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return os.ErrClosed // the poller has a private error for it
	}
	return err
}

// pidJudge knows a process by its pid (22 bits) and the low bits of its start
// time (10), so that a pid that is used again is somebody else, mostly.
type pidJudge struct{}

const startBits = 10

func judgeByPid() (judge, uint32, error) {
	pid := os.Getpid()
	start, _, err := processStart(pid)
	if err != nil {
		return nil, 0, fmt.Errorf("futex: Attach: %w", err)
	}
	return pidJudge{}, pidIdentity(pid, start), nil
}

func pidIdentity(pid int, start uint64) uint32 {
	return uint32(pid)<<startBits | uint32(start)&(1<<startBits-1)
}

func (pidJudge) close() {}

func (pidJudge) dead(id uint32) bool {
	pid := int(id >> startBits)
	start, over, err := processStart(pid)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return true
	}
	if err != nil {
		return false
	}
	return pidIdentity(pid, start) != id || over
}

// processStart reads a process's start time, in clock ticks since boot, and
// whether it is over, from /proc/PID/stat: whether it is a zombie and has no
// thread but the first, which is one before the others where they live on.
func processStart(pid int) (start uint64, over bool, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	// The second field is the program's name in parentheses, and may contain
	// anything.
	rest := data[bytes.LastIndexByte(data, ')')+1:]
	f := bytes.Fields(rest)
	if len(f) < 20 {
		return 0, false, fmt.Errorf("/proc/%d/stat: %q", pid, data)
	}
	start, err = strconv.ParseUint(string(f[19]), 10, 64)
	threads, terr := strconv.Atoi(string(f[17]))
	return start, (f[0][0] == 'Z' || f[0][0] == 'X') && threads <= 1, errors.Join(err, terr)
}
