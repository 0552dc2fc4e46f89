package fuzz

import (
	"encoding/json"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// message is what tester and helper tell each other: one JSON object a packet
// on a SOCK_SEQPACKET pair. The segment's descriptor rides with "segment".
type message struct {
	Do     string // the order, or what is being reported
	Op     string `json:",omitempty"`
	Size   int    `json:",omitempty"`
	Cast   int    `json:",omitempty"`
	Peer   int    `json:",omitempty"`
	Died   bool   `json:",omitempty"`
	Failed string `json:",omitempty"`

	Tid        int        `json:",omitempty"`
	Addr       uint64     `json:",omitempty"` // where the segment is mapped
	Begin, End uint64     `json:",omitempty"` // the helper's step markers
	Casts      []castInfo `json:",omitempty"`
}

type castInfo struct {
	Name  string
	Peers []peerInfo
}

type peerInfo struct {
	Name   string
	When   When
	Inside bool
	Dies   bool
}

const maxMessage = 16 << 10

func sendMessage(fd int, m message, file *os.File) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	for {
		err = unix.Sendmsg(fd, data, rights, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}

// recvMessage waits for the next message; io.EOF says that the peer is gone.
func recvMessage(fd int) (m message, file *os.File, err error) {
	buf := make([]byte, maxMessage)
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn := 0, 0
	for {
		n, oobn, _, _, err = unix.Recvmsg(fd, buf, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case err == unix.ECONNRESET || err == nil && n == 0:
		return m, nil, io.EOF
	case err != nil:
		return m, nil, os.NewSyscallError("recvmsg", err)
	}
	if oobn > 0 {
		if cmsgs, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(cmsgs) == 1 {
			if fds, err := unix.ParseUnixRights(&cmsgs[0]); err == nil && len(fds) == 1 {
				file = os.NewFile(uintptr(fds[0]), "memfd:fuzz")
			}
		}
	}
	return m, file, json.Unmarshal(buf[:n], &m)
}

// readable waits until fd has a message or has hung up, at most for d.
func readable(fd int, d time.Duration) bool {
	ts := unix.NsecToTimespec(int64(max(d, 0)))
	n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, &ts, nil)
	return err == nil && n > 0
}
