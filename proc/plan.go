package proc

import (
	"encoding"
	"encoding/gob"
	"fmt"
	"net"
	"os"
	"reflect"
)

// handle is what an object that travels as descriptors has. It is tested on
// values, so no package has to import this one.
//
// PassFiles lends files that stay open until Start returns. TakeFiles, in the
// child, is called once on a zero value and owns the files that it is given.
type handle interface {
	PassFiles() ([]*os.File, error)
	TakeFiles([]*os.File) error
}

var (
	handleType   = reflect.TypeFor[handle]()
	fileType     = reflect.TypeFor[*os.File]()
	unixConnType = reflect.TypeFor[*net.UnixConn]()
	gobType      = reflect.TypeFor[gob.GobEncoder]()
	binaryType   = reflect.TypeFor[encoding.BinaryMarshaler]()
)

type planKind uint8

const (
	planGob     planKind = iota // no handle inside: gob carries it
	planHandle                  // T, where *T is a handle
	planPointee                 // *T, a handle
	planPointer
	planSlice
	planArray
	planStruct
)

// A plan says how values of one type travel. Gob carries what holds no handle;
// the way down to the handles is walked by us, so that nil handles, shared ones
// and recursive types need nothing from gob. Sender and receiver walk the same
// plan in the same order.
type plan struct {
	kind   planKind
	typ    reflect.Type
	elem   *plan
	fields []planField
	// A struct's fields without handles go as one gob message of type rest;
	// restAt are their indices. rest is nil if there are none, and typ itself
	// if there are no others.
	rest   reflect.Type
	restAt []int
	// At the root: the type can form a cycle of pointers, or hides values in
	// interfaces, so values have to be looked at before gob sees them.
	inspect bool
}

type planField struct {
	at   int
	name string
	plan *plan
}

// newPlan checks that t can travel and makes its plan; t is a box.
func newPlan(t reflect.Type) (*plan, error) {
	c := checker{seen: make(map[visit]bool), open: make(map[reflect.Type]bool)}
	v := t.Field(0).Type
	if err := c.check(v, v.String(), ""); err != nil {
		return nil, err
	}
	p := makePlan(t, make(map[reflect.Type]*plan))
	p.inspect = c.inspect
	return p, nil
}

func makePlan(t reflect.Type, made map[reflect.Type]*plan) *plan {
	if p := made[t]; p != nil {
		return p // recursion ends here
	}
	p := &plan{typ: t}
	made[t] = p
	switch {
	case isPointee(t):
		p.kind = planPointee
	case isHandle(t):
		p.kind = planHandle
	case !holds(t, make(map[reflect.Type]bool)):
		p.kind = planGob
	case t.Kind() == reflect.Pointer:
		p.kind, p.elem = planPointer, makePlan(t.Elem(), made)
	case t.Kind() == reflect.Slice:
		p.kind, p.elem = planSlice, makePlan(t.Elem(), made)
	case t.Kind() == reflect.Array:
		p.kind, p.elem = planArray, makePlan(t.Elem(), made)
	case t.Kind() == reflect.Struct:
		p.kind = planStruct
	}
	if p.kind == planStruct || len(made) == 1 { // the root is a box in any case
		p.kind = planStruct
		p.split(made)
	}
	return p
}

// split sorts a struct's fields into those that gob carries and those that lead
// to handles.
func (p *plan) split(made map[reflect.Type]*plan) {
	var rest []reflect.StructField
	for i := range p.typ.NumField() {
		f := p.typ.Field(i)
		if !f.IsExported() || f.Type == reflect.TypeFor[struct{}]() {
			continue
		}
		fp := makePlan(f.Type, made)
		if fp.kind == planGob {
			rest = append(rest, reflect.StructField{Name: f.Name, Type: f.Type})
			p.restAt = append(p.restAt, i)
			continue
		}
		p.fields = append(p.fields, planField{i, f.Name, fp})
	}
	switch {
	case rest == nil:
	case p.fields == nil:
		p.rest = p.typ
	default:
		p.rest = reflect.StructOf(rest)
	}
}

// isPointee reports whether t is a pointer that is a handle.
func isPointee(t reflect.Type) bool {
	if t == fileType || t == unixConnType {
		return true
	}
	return t.Kind() == reflect.Pointer && t.Elem().Kind() != reflect.Interface &&
		t.Elem().Kind() != reflect.Pointer && t.Implements(handleType)
}

// isHandle reports whether t is a value whose address is a handle.
func isHandle(t reflect.Type) bool {
	return t.Kind() != reflect.Interface && t.Kind() != reflect.Pointer &&
		reflect.PointerTo(t).Implements(handleType)
}

// holds reports whether handles can be reached from t where handles may stand.
func holds(t reflect.Type, seen map[reflect.Type]bool) bool {
	if isPointee(t) || isHandle(t) {
		return true
	}
	if seen[t] || encodesItself(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holds(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && holds(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// encodesItself reports whether gob leaves the encoding to the type's methods.
func encodesItself(t reflect.Type) bool {
	for _, t := range []reflect.Type{t, reflect.PointerTo(t)} {
		if t.Implements(gobType) || t.Implements(binaryType) {
			return t.Kind() != reflect.Interface
		}
	}
	return false
}

func pathError(path, format string, a ...any) error {
	return fmt.Errorf("%s %s", path, fmt.Sprintf(format, a...))
}
