package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// The child finds what it needs by descriptor number. envMark says that they are
// there and how many; everything else stands in the request.
const (
	fdRequest = 3 + iota // sealed memfd: a request
	fdReport             // memfd: an error's text, then the text of a crash
	fdHello              // pipe: helloReady, or helloError and a text
	fdFiles              // the files of the handles, in order
)

const (
	envMark    = "RAWIPC_PROC"
	helloReady = 'K'
	helloTerm  = 'T' // after helloReady: SIGTERM may come
	helloExec  = 'X' // the program is about to be loaded; the end means that it was
	helloErrno = 'N' // and a uvarint: why it was not
	helloError = 'E'
	magic      = "rawipc/proc request 2\n"
)

var errRequest = errors.New("malformed request")

// formatMark returns the value of envMark for a child with n descriptors from
// fdRequest on.
func formatMark(n int) string { return "1:" + strconv.Itoa(n) }

func parseMark(s string) (n int, err error) {
	if len(s) > 2 && s[:2] == "1:" {
		n, err = strconv.Atoi(s[2:])
	}
	if err != nil || n < fdFiles-fdRequest || s != formatMark(n) {
		return 0, fmt.Errorf("malformed environment variable %s=%q", envMark, s)
	}
	return n, nil
}

// request is what the child reads: sections, each a uvarint of its length and
// its bytes. Both ends are the same binary, so it has no other versions.
type request struct {
	fn       string // empty: shape is a program
	name     string // the process's
	limits   []byte
	parent   int // pid, or 0 if it means nothing to the child
	deathSig syscall.Signal
	extra    int // how many of the last files are Cmd.Files
	shape    []byte
	gob      []byte
	names    []string
	files    []*os.File
}

func (r *request) marshal() []byte {
	var numbers []byte
	for _, n := range []int{r.parent, int(r.deathSig), r.extra} {
		numbers = binary.AppendUvarint(numbers, uint64(n))
	}
	b := make([]byte, 0, len(magic)+len(r.fn)+len(r.name)+len(r.shape)+len(r.gob)+128)
	b = append(b, magic...)
	section := func(s []byte) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for _, s := range [][]byte{[]byte(r.fn), []byte(r.name), r.limits, numbers, r.shape, r.gob} {
		section(s)
	}
	for _, name := range r.names {
		section([]byte(name))
	}
	return b
}

// parseRequest reads what marshal wrote; files is the number of names.
func parseRequest(b []byte, files int) (*request, error) {
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return nil, errRequest
	}
	b = b[len(magic):]
	section := func() []byte {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			b = nil
			return nil
		}
		s := b[size:][:n:n]
		b = b[size:][n:]
		return s
	}
	r := &request{fn: string(section()), name: string(section()), limits: section()}
	numbers := section()
	number := func() int {
		n, size := binary.Uvarint(numbers)
		if size <= 0 || n > 1<<31-1 {
			b = nil
			return 0
		}
		numbers = numbers[size:]
		return int(n)
	}
	r.parent, r.deathSig, r.extra = number(), syscall.Signal(number()), number()
	r.shape, r.gob = section(), section()
	for range files {
		if b == nil {
			return nil, errRequest
		}
		r.names = append(r.names, string(section()))
	}
	if b == nil || len(b) != 0 || r.extra > files {
		return nil, errRequest
	}
	return r, nil
}

// readRequest reads the sealed memfd fd.
func readRequest(fd, files int) (*request, error) {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&requestSeals != requestSeals {
		return nil, fmt.Errorf("descriptor %d is not a request: %s is set, but no Start of this package set it", fd, envMark)
	}
	size, err := fileSize(fd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := preadFull(fd, b)
	if err != nil {
		return nil, err
	}
	return parseRequest(b[:n], files)
}
