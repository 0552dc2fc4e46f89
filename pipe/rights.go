package pipe

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A batch is what came with one recvmsg.
type batch struct {
	end  uint64 // position in the stream behind the bytes it came with
	fds  []int
	lost bool // some found no room
}

// maxHeld is how many descriptors a receiver holds: those of the current
// message and of the next, which may come with the end of the current. A peer
// that sends more breaks the rules.
const maxHeld = 2 * MaxFiles

// arrived keeps what is in a control buffer, for the message that its bytes
// belong to. The read ended in that message: on a stream the kernel
// never reads on past bytes that descriptors came with.
func (in *receiver) arrived(control []byte, flags int) (stamped bool) {
	fds, others, stamped := parseControl(control)
	closeAll(others)
	b := batch{end: in.total, fds: fds, lost: flags&unix.MSG_CTRUNC != 0}
	if len(fds) == 0 && !b.lost {
		return stamped
	}
	held := 0
	for _, o := range in.batches {
		held += len(o.fds)
	}
	if held+len(fds) > maxHeld {
		closeAll(fds)
		b.fds, b.lost = nil, true
	}
	if k := len(in.batches); k > 0 && b.lost && len(b.fds) == 0 && in.batches[k-1].lost && len(in.batches[k-1].fds) == 0 {
		in.batches[k-1].end = b.end // a hostile peer gets no memory for its trouble
		return stamped
	}
	in.batches = append(in.batches, b)
	return stamped
}

// parseControl returns the descriptors in a control buffer, those that nobody
// here asked for (the pidfd that SO_PASSPIDFD adds), and whether there is a time
// stamp.
func parseControl(control []byte) (fds, others []int, stamped bool) {
	for len(control) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		control = rest
		if h.Level != unix.SOL_SOCKET {
			continue
		}
		switch h.Type {
		case unix.SCM_RIGHTS:
			for ; len(data) >= 4; data = data[4:] {
				fds = append(fds, int(int32(binary.NativeEndian.Uint32(data))))
			}
		case scmPidfd:
			if len(data) >= 4 {
				others = append(others, int(int32(binary.NativeEndian.Uint32(data))))
			}
		case unix.SCM_TIMESTAMP:
			stamped = true
		}
	}
	return fds, others, stamped
}

// scmPidfd is what SO_PASSPIDFD adds to each message.
const scmPidfd = 4

// frameEnd is the position behind the message that was received last.
func (in *receiver) frameEnd() uint64 { return in.total - uint64(in.w-in.r) }

// takeFiles returns the descriptors of the message that was received just now.
func (in *receiver) takeFiles(max int) ([]*os.File, error) {
	var fds []int
	lost := false
	for end := in.frameEnd(); len(in.batches) > 0 && in.batches[0].end <= end; in.batches = in.batches[1:] {
		fds = append(fds, in.batches[0].fds...)
		lost = lost || in.batches[0].lost
	}
	if len(in.batches) == 0 {
		in.batches = nil
	}
	switch {
	case lost:
		closeAll(fds)
		return nil, fmt.Errorf("%w: no room in the process's table (RLIMIT_NOFILE), or far too many: %w", ErrFiles, os.NewSyscallError("recvmsg", unix.EMFILE))
	case len(fds) > max:
		closeAll(fds)
		return nil, &TooManyFilesError{Files: len(fds), Max: max}
	case len(fds) == 0:
		return nil, nil
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "received")
	}
	return files, nil
}

// dropFiles closes the descriptors of a message that went to a caller who
// didn't ask for any.
func (in *receiver) dropFiles() {
	for end := in.frameEnd(); len(in.batches) > 0 && in.batches[0].end <= end; in.batches = in.batches[1:] {
		closeAll(in.batches[0].fds)
	}
}

// dropAll closes what nobody can receive any more.
func (in *receiver) dropAll() {
	for _, b := range in.batches {
		closeAll(b.fds)
	}
	in.batches = nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
