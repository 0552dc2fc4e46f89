package proc

import (
	"fmt"
	"net"
	"os"
	"reflect"
)

// visit is a type in one context: the same struct may be fine in an exported
// field and refused in a map.
type visit struct {
	t     reflect.Type
	where string
}

// checker looks through an argument type for what cannot travel.
type checker struct {
	seen    map[visit]bool
	open    map[reflect.Type]bool // types that enclose the one being checked
	inspect bool
}

// check returns an error that names the path to what cannot travel. where says
// in what place, out of reach for handles, t stands; it is empty if handles may
// stand here.
func (c *checker) check(t reflect.Type, path, where string) error {
	if c.open[t] && where != inUnexported {
		c.inspect = true // a value of such a type can contain itself
	}
	v := visit{t, where}
	if c.seen[v] {
		return nil
	}
	c.seen[v] = true
	if !c.open[t] {
		c.open[t] = true
		defer delete(c.open, t)
	}
	switch {
	case isPointee(t) || isHandle(t):
		if where != "" {
			return pathError(path, "(%v) is a handle in %s: handles travel only in exported fields, arrays, slices and behind pointers", t, where)
		}
		return c.embeds(t, path)
	case t == reflect.TypeFor[os.File]() || t == reflect.TypeFor[net.UnixConn]():
		return pathError(path, "is a %v: pass a pointer to it", t)
	case encodesItself(t):
		return nil
	}
	switch t.Kind() {
	case reflect.Func, reflect.Chan:
		if where != "" {
			return pathError(path, "(%v) is a %v in %s: it cannot travel", t, t.Kind(), where)
		}
		return pathError(path, "(%v) is a %v: it cannot travel%s", t, t.Kind(), instead[t.Kind()])
	case reflect.UnsafePointer:
		if where == "" {
			return pathError(path, "is an unsafe.Pointer: it cannot travel")
		}
	case reflect.Interface:
		if t.Implements(handleType) {
			return pathError(path, "(%v) is a handle in an interface: use its concrete type", t)
		}
		c.inspect = c.inspect || where == "" || where == inMap
	case reflect.Pointer:
		return c.check(t.Elem(), path, where)
	case reflect.Slice, reflect.Array:
		return c.check(t.Elem(), path+"[]", where)
	case reflect.Map:
		if where == "" {
			where = inMap
		}
		if err := c.check(t.Key(), path+"[key]", where); err != nil {
			return err
		}
		return c.check(t.Elem(), path+"[]", where)
	case reflect.Struct:
		err := c.fields(t, path, where)
		if p := reflect.PointerTo(t); err != nil && where == "" && (p.Implements(filerType) || p.Implements(dupFilerType)) {
			err = fmt.Errorf("%w; pass what its method File returns, and make a %v of it in the child (shm.FromFile, net.FileConn or the like)", err, t)
		}
		return err
	}
	return nil
}

// What is no handle but is made of a descriptor, as shm.Object and net.TCPConn are.
var (
	filerType    = reflect.TypeFor[interface{ File() *os.File }]()
	dupFilerType = reflect.TypeFor[interface{ File() (*os.File, error) }]()
)

// instead is what to use where something cannot travel.
var instead = map[reflect.Kind]string{
	reflect.Func: "; Register the function, and pass it its arguments",
	reflect.Chan: "; use a queue of package shm, or a pipe.Conn",
}

const (
	inMap        = "a map"
	inUnexported = "an unexported field"
)

func (c *checker) fields(t reflect.Type, path, where string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		w := where
		if !f.IsExported() {
			w = inUnexported
		}
		if err := c.check(f.Type, path+"."+f.Name, w); err != nil {
			return err
		}
	}
	return nil
}

// embeds refuses a struct that has a handle's methods only because a handle is
// embedded in it: its other fields would be lost on the way.
func (c *checker) embeds(t reflect.Type, path string) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.IsExported() && (isPointee(f.Type) || isHandle(f.Type)) {
			return pathError(path+"."+f.Name, "is an embedded handle: give the field a name")
		}
	}
	return nil
}
