package proc

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
)

// This file builds an argument in the child; encode.go took it apart.

var errShape = errors.New("argument does not match the type registered here")

type decoder struct {
	shape  []byte
	gob    *gob.Decoder
	gobLen int
	files  []*os.File
	taken  []reflect.Value // handles so far, as pointers
}

// decode builds the argument of r in v, a zero box, along the walk that encode
// made.
func (p *plan) decode(r *request, v reflect.Value) error {
	d := &decoder{
		shape:  r.shape,
		gob:    gob.NewDecoder(bytes.NewReader(r.gob)),
		gobLen: len(r.gob),
		files:  r.files,
	}
	if err := d.structure(p, v, ""); err != nil {
		return err
	}
	if len(d.shape) != 0 || len(d.files) != 0 {
		return errShape
	}
	return nil
}

func (d *decoder) value(p *plan, v reflect.Value, path string) error {
	if p.kind == planStruct {
		return d.structure(p, v, path)
	}
	n, err := d.mark()
	if err != nil {
		return err
	}
	switch p.kind {
	case planPointee:
		return d.pointee(v, n, path)
	case planHandle:
		if n != markNew {
			return errShape
		}
		d.taken = append(d.taken, v.Addr())
		return d.take(v.Addr().Interface().(handle), path)
	case planPointer:
		if n == markNil {
			return nil
		}
		v.Set(reflect.New(p.typ.Elem()))
		return d.value(p.elem, v.Elem(), path)
	case planSlice:
		if n == 0 {
			return nil
		}
		// Each element takes at least a byte, so a length that lies is refused
		// before memory is allocated for it. The elements never move: handles
		// among them may hold their own address.
		n--
		if n > uint64(len(d.shape)+d.gobLen) {
			return errShape
		}
		v.Set(reflect.MakeSlice(p.typ, int(n), int(n)))
		return d.elems(p, v, path)
	case planArray:
		if n != uint64(v.Len()) {
			return errShape
		}
		return d.elems(p, v, path)
	}
	panic(fmt.Sprintf("proc: inconsistent plan for %v", p.typ))
}

func (d *decoder) elems(p *plan, v reflect.Value, path string) error {
	for i := range v.Len() {
		if err := d.value(p.elem, v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) structure(p *plan, v reflect.Value, path string) error {
	if p.rest != nil {
		rest := v.Addr()
		if p.rest != p.typ {
			rest = reflect.New(p.rest)
		}
		if err := d.gob.DecodeValue(rest); err != nil {
			return fmt.Errorf("argument: %w", err)
		}
		for i, at := range p.restAt {
			v.Field(at).Set(rest.Elem().Field(i))
		}
	}
	for _, f := range p.fields {
		if err := d.value(f.plan, v.Field(f.at), path+"."+f.name); err != nil {
			return err
		}
	}
	return nil
}

// pointee sets v, a pointer to a handle, as the mark n says.
func (d *decoder) pointee(v reflect.Value, n uint64, path string) error {
	switch {
	case n == markNil:
		return nil
	case n >= markShared:
		n -= markShared
		if n >= uint64(len(d.taken)) || d.taken[n].Type() != v.Type() {
			return errShape
		}
		v.Set(d.taken[n])
		return nil
	}
	switch v.Type() {
	case fileType, unixConnType:
		fs, err := d.next(1)
		if err != nil {
			return err
		}
		if v.Type() == fileType {
			v.Set(reflect.ValueOf(fs[0]))
			break
		}
		c, err := unixConn(fs[0])
		if err != nil {
			return fmt.Errorf("argument%s: %w", boxPath(path), err)
		}
		v.Set(reflect.ValueOf(c))
	default:
		v.Set(reflect.New(v.Type().Elem()))
		d.taken = append(d.taken, v)
		return d.take(v.Interface().(handle), path)
	}
	d.taken = append(d.taken, v)
	return nil
}

func (d *decoder) take(h handle, path string) error {
	n, err := d.mark()
	if err != nil {
		return err
	}
	fs, err := d.next(n)
	if err != nil {
		return err
	}
	if err := h.TakeFiles(fs); err != nil {
		return fmt.Errorf("argument%s: %w", boxPath(path), err)
	}
	return nil
}

func (d *decoder) mark() (uint64, error) {
	n, size := binary.Uvarint(d.shape)
	if size <= 0 {
		return 0, errShape
	}
	d.shape = d.shape[size:]
	return n, nil
}

func (d *decoder) next(n uint64) ([]*os.File, error) {
	if n > uint64(len(d.files)) {
		return nil, errShape
	}
	fs := d.files[:n:n]
	d.files = d.files[n:]
	return fs, nil
}

// unixConn makes f a connection; f is closed, the connection has a duplicate.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("a %T came instead of a *net.UnixConn", c)
	}
	return u, nil
}
