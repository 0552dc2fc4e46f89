package fuzz_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// ringPage is how much of a ring's object lies before the records.
var ringPage = os.Getpagesize()

// stateAt is where a ring's positions lie: see ringState in package shm.
const stateAt = 512

// FuzzRingRecords has a peer write anything over the positions and the records
// of a ring that a reader and a writer use. Both go on or get ErrCorrupt; what
// is read is never longer than the ring.
func FuzzRingRecords(f *testing.F) {
	edit := func(at uint32, v uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, at), v)
	}
	f.Add([]byte("some message"), []byte{})
	f.Add([]byte("m"), edit(stateAt+128, 1<<63))                                 // tail far ahead
	f.Add([]byte("m"), edit(stateAt+128, 7))                                     // tail not on a record
	f.Add([]byte("m"), edit(stateAt+128, 15))                                    // nor there
	f.Add([]byte("m"), edit(stateAt+256, 1<<40))                                 // head ahead of tail
	f.Add([]byte("m"), edit(uint32(ringPage), 1<<62))                            // a length out of this world
	f.Add([]byte("m"), edit(uint32(ringPage), 9))                                // a length one too long
	f.Add([]byte("m"), append(edit(stateAt, 1), edit(stateAt+8, ^uint64(0))...)) // closed, asleep
	f.Add([]byte("m"), edit(stateAt+384, 0x3030303030303030))                    // the writer is somebody dead
	f.Add([]byte("m"), edit(stateAt+400, 0x3030303030303030))                    // the reader
	f.Fuzz(func(t *testing.T, msg, edits []byte) {
		w, r, err := shm.NewRing(1)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		defer r.Close()
		mem := rawBytes(t, w)
		for round := range 2 { // the second round meets ends that are attached
			for range 3 {
				if err := w.Send(soon(t), msg); err != nil {
					typed(t, err)
				}
			}
			for e := edits; len(e) >= 12; e = e[12:] {
				at := int(binary.LittleEndian.Uint32(e)) % (len(mem) - 8)
				if at >= stateAt || round == 1 { // the header is checked only once
					binary.LittleEndian.PutUint64(mem[at&^7:], binary.LittleEndian.Uint64(e[4:]))
				}
			}
			drain(t, r)
			typed(t, w.Send(soon(t), msg))
		}
	})
}

// soon is a context that ends before a fuzz run notices.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// drain receives until there is nothing more, an end, or an error.
func drain(t *testing.T, r *shm.RingReader) {
	buf := make([]byte, r.Cap())
	for range 10 {
		n, err := r.Recv(soon(t), buf)
		if n > r.MaxMessage() {
			t.Errorf("a message of %d bytes from a ring of %d", n, r.Cap())
		}
		if err != nil {
			typed(t, err)
			return
		}
	}
}

// typed accepts the errors that a ring may give.
func typed(t *testing.T, err error) {
	t.Helper()
	for _, want := range []error{shm.ErrCorrupt, shm.ErrTooLarge, shm.ErrPeerDead, context.DeadlineExceeded, io.EOF, os.ErrClosed, unix.EBUSY} {
		if errors.Is(err, want) {
			return
		}
	}
	if err != nil {
		t.Errorf("%v", err)
	}
}

// rawBytes is the whole object behind a ring, as a peer sees it.
func rawBytes(t *testing.T, h interface {
	PassFiles() ([]*os.File, error)
}) []byte {
	t.Helper()
	files, err := h.PassFiles()
	if err != nil {
		t.Fatal(err)
	}
	c, err := files[0].SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var mem []byte
	if cerr := c.Control(func(fd uintptr) {
		var st unix.Stat_t
		if err = unix.Fstat(int(fd), &st); err == nil {
			mem, err = unix.Mmap(int(fd), 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		}
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}
