package proc

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// payload is an encoded argument: what the child needs to build it again.
type payload struct {
	fn    string // empty: prog is what runs
	prog  *program
	shape []byte   // the walk's own marks: nil or not, lengths, which handle
	gob   []byte   // everything that holds no handle, one message a struct
	names []string // of the files, parallel to fds
	fds   []int    // duplicates that close closes
}

func (p *payload) close() {
	for _, fd := range p.fds {
		unix.Close(fd)
	}
	p.fds = nil
}

// Marks of a pointer or handle in payload.shape. A mark from markShared on names
// a handle that was sent before, counted from 0.
const (
	markNil = iota
	markNew
	markShared
)

type encoder struct {
	payload
	buf  bytes.Buffer
	gob  *gob.Encoder
	sent map[ref]uint64 // handles by address and type
	n    uint64         // handles sent so far
}

// encode walks v, a box, collects the files of its handles and encodes the rest.
// The caller closes the payload.
func (p *plan) encode(v reflect.Value) (*payload, error) {
	e := &encoder{sent: make(map[ref]uint64)}
	path := v.Field(0).Type().String()
	if p.inspect {
		in := inspector{open: make(map[ref]bool)}
		if err := in.look(v.Field(0), path, false); err != nil {
			return nil, err
		}
	}
	if err := e.structure(p, v, ""); err != nil {
		e.close()
		return nil, err
	}
	e.payload.gob = e.buf.Bytes()
	return &e.payload, nil
}

func (e *encoder) value(p *plan, v reflect.Value, path string) error {
	switch p.kind {
	case planPointee:
		if v.IsNil() {
			e.mark(markNil)
			return nil
		}
		return e.handle(v, path)
	case planHandle:
		// A value is an object of its own wherever it stands.
		e.mark(markNew)
		e.n++
		return e.files(v.Addr(), path)
	case planPointer:
		if v.IsNil() {
			e.mark(markNil)
			return nil
		}
		e.mark(markNew)
		return e.value(p.elem, v.Elem(), path)
	case planSlice:
		if v.IsNil() {
			e.mark(0)
			return nil
		}
		e.mark(uint64(v.Len()) + 1)
		fallthrough
	case planArray:
		if p.kind == planArray {
			e.mark(uint64(v.Len())) // even an empty array costs a byte: see decode
		}
		for i := range v.Len() {
			if err := e.value(p.elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	case planStruct:
		return e.structure(p, v, path)
	}
	// A pointer, slice or array of what holds no handle is planGob as a whole
	// and stands in some struct's rest.
	panic(fmt.Sprintf("proc: inconsistent plan for %v", p.typ))
}

func (e *encoder) structure(p *plan, v reflect.Value, path string) error {
	if p.rest != nil {
		rest := v
		if p.rest != p.typ {
			rest = reflect.New(p.rest).Elem()
			for i, at := range p.restAt {
				rest.Field(i).Set(v.Field(at))
			}
		}
		if e.gob == nil {
			e.gob = gob.NewEncoder(&e.buf)
		}
		if err := e.gob.EncodeValue(rest); err != nil {
			return fmt.Errorf("argument: %w%s", err, lockHint(err))
		}
	}
	for _, f := range p.fields {
		if err := e.value(f.plan, v.Field(f.at), path+"."+f.name); err != nil {
			return err
		}
	}
	return nil
}

// handle sends the object that v points to, or a reference if it was sent.
func (e *encoder) handle(v reflect.Value, path string) error {
	k := ref{p: v.Pointer(), t: v.Type()}
	if i, ok := e.sent[k]; ok {
		e.mark(markShared + i)
		return nil
	}
	e.sent[k] = e.n
	e.n++
	e.mark(markNew)
	return e.files(v, path)
}

// files takes a duplicate of every file of a handle; v is the pointer to it.
func (e *encoder) files(v reflect.Value, path string) error {
	switch h := v.Interface().(type) {
	case *os.File:
		return e.file(h, h.Name(), path)
	case *net.UnixConn:
		return e.file(h, "unix", path)
	case handle:
		fs, err := h.PassFiles()
		if err != nil {
			return fmt.Errorf("argument%s: %w", boxPath(path), err)
		}
		e.mark(uint64(len(fs)))
		for _, f := range fs {
			if f == nil {
				return fmt.Errorf("argument%s: its PassFiles gave a nil file: %w", boxPath(path), os.ErrInvalid)
			}
			if err := e.file(f, f.Name(), path); err != nil {
				return err
			}
		}
		return nil
	}
	panic(fmt.Sprintf("proc: inconsistent plan for %v", v.Type()))
}

func (e *encoder) file(c syscall.Conn, name, path string) error {
	fd, err := dupConn(c)
	if err != nil {
		return fmt.Errorf("argument%s: %w", boxPath(path), err)
	}
	e.fds = append(e.fds, fd)
	e.names = append(e.names, name)
	return nil
}

func (e *encoder) mark(n uint64) { e.shape = binary.AppendUvarint(e.shape, n) }

// boxPath cuts the box's own field off a path: ".V.Log" is the user's ".Log".
func boxPath(path string) string { return path[len(".V"):] }

// lockHint is for who passes a lock itself, which has no exported fields: gob
// would at best make a copy, which is another lock.
func lockHint(err error) string {
	if strings.Contains(err.Error(), "has no exported fields") {
		return " (a lock travels in a handle, such as *shm.Shared, as all memory does that is to stay shared)"
	}
	return ""
}
