package proc

import "reflect"

// inspector looks through an argument, before it is encoded, for what its type
// could not tell: a value that contains itself (gob would recurse until the
// stack is full, which is fatal), or a handle, func or chan in an interface.
type inspector struct {
	open map[ref]bool // pointers that enclose the value being looked at
}

type ref struct {
	p uintptr
	n int // a slice's length: s and s[:1] start at the same place
	t reflect.Type
}

func (in *inspector) look(v reflect.Value, path string, boxed bool) error {
	if isPointee(v.Type()) || isHandle(v.Type()) {
		if boxed {
			return pathError(path, "is a handle (%v) in an interface: use its concrete type", v.Type())
		}
		return nil
	}
	if encodesItself(v.Type()) {
		return nil
	}
	switch v.Kind() {
	case reflect.Func, reflect.Chan:
		return pathError(path, "is a %v in an interface: it cannot travel", v.Kind())
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return in.look(v.Elem(), path, true)
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return in.enter(v, path, func() error { return in.look(v.Elem(), path, boxed) })
	case reflect.Slice:
		if flat(v.Type().Elem()) {
			return nil
		}
		return in.enter(v, path, func() error { return in.elems(v, path, boxed) })
	case reflect.Array:
		if flat(v.Type().Elem()) {
			return nil
		}
		return in.elems(v, path, boxed)
	case reflect.Map:
		return in.enter(v, path, func() error {
			for it := v.MapRange(); it.Next(); {
				if err := in.look(it.Key(), path+"[key]", boxed); err != nil {
					return err
				}
				if err := in.look(it.Value(), path+"[]", boxed); err != nil {
					return err
				}
			}
			return nil
		})
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				if err := in.look(v.Field(i), path+"."+f.Name, boxed); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (in *inspector) elems(v reflect.Value, path string, boxed bool) error {
	for i := range v.Len() {
		if err := in.look(v.Index(i), path+"[]", boxed); err != nil {
			return err
		}
	}
	return nil
}

// enter calls f with v marked as open, unless it is open already.
func (in *inspector) enter(v reflect.Value, path string, f func() error) error {
	k := ref{p: v.Pointer(), t: v.Type()}
	if v.Kind() == reflect.Slice {
		k.n = v.Len()
	}
	if in.open[k] && (v.Kind() != reflect.Slice || k.n > 0) {
		return pathError(path, "(%v) contains itself: it cannot travel", v.Type())
	}
	in.open[k] = true
	defer delete(in.open, k)
	return f()
}

// flat reports whether values of type t lead nowhere.
func flat(t reflect.Type) bool {
	k := t.Kind()
	return k <= reflect.Complex128 && k != reflect.Invalid || k == reflect.String
}
