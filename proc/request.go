package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"

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
	helloError = 'E'
	magic      = "rawipc/proc request 1\n"
)

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
	fn    string
	stale []byte // numbers of descriptors to close, each a uvarint
	shape []byte
	gob   []byte
	names []string
	files []*os.File
}

func (p *payload) marshal() []byte {
	b := make([]byte, 0, len(magic)+len(p.fn)+len(p.shape)+len(p.gob)+64)
	b = append(b, magic...)
	section := func(s []byte) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	section([]byte(p.fn))
	var stale []byte
	for _, fd := range inherited() {
		stale = binary.AppendUvarint(stale, uint64(fd))
	}
	section(stale)
	section(p.shape)
	section(p.gob)
	for _, name := range p.names {
		section([]byte(name))
	}
	return b
}

// parseRequest reads what marshal wrote; files is the number of names.
func parseRequest(b []byte, files int) (*request, error) {
	bad := errors.New("malformed request")
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return nil, bad
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
	r := &request{fn: string(section()), stale: section(), shape: section(), gob: section()}
	for range files {
		if b == nil {
			return nil, bad
		}
		r.names = append(r.names, string(section()))
	}
	if b == nil || len(b) != 0 {
		return nil, bad
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

// closeStale closes the descriptors that came here only because our parent had
// inherited them; those below end are ours.
func (r *request) closeStale(end int) {
	for b := r.stale; len(b) > 0; {
		fd, size := binary.Uvarint(b)
		if size <= 0 {
			return
		}
		b = b[size:]
		if fd >= uint64(end) && fd <= 1<<31-1 && inheritable(int(fd)) {
			unix.Close(int(fd))
		}
	}
}
