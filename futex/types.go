package futex

import (
	"fmt"
	"reflect"
	"sync"
)

// This file says which types may live in shared memory.

var checked sync.Map // reflect.Type → error or nil

// CheckType reports whether values of type t can live in memory that several
// processes map. They can if there is no pointer in them: no pointer, string,
// slice, map, channel, function, interface or uintptr, at any depth. The error
// names the path of the first field that is one. Answers are kept, so that it
// is cheap to ask again.
func CheckType(t reflect.Type) error {
	if v, ok := checked.Load(t); ok {
		err, _ := v.(error)
		return err
	}
	err := checkType(t, t.String())
	checked.Store(t, err)
	return err
}

func checkType(t reflect.Type, path string) error {
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if err := checkType(f.Type, path+"."+f.Name); err != nil {
				return err
			}
		}
		return nil
	case reflect.Array:
		return checkType(t.Elem(), path+"[]")
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return nil
	}
	instead := ""
	if k := t.Kind(); k == reflect.String || k == reflect.Slice {
		instead = ": use an array"
	}
	return fmt.Errorf("%s is a %s (%s), which means nothing in another process%s", path, t.Kind(), t, instead)
}

// robustTypes are those that want their memory declared with [Attach].
var robustTypes = map[reflect.Type]bool{
	reflect.TypeFor[Mutex]():       true, // not to work, but for Detach to know who waits
	reflect.TypeFor[RobustMutex](): true,
	reflect.TypeFor[Liveness]():    true,
	reflect.TypeFor[Semaphore]():   true,
	reflect.TypeFor[Event]():       true,

	reflect.TypeFor[RWMutex]():        true,
	reflect.TypeFor[RecursiveMutex](): true,
	reflect.TypeFor[Cond]():           true,
	reflect.TypeFor[Barrier]():        true,
	reflect.TypeFor[Once]():           true,
}

// NeedsAttach reports whether a type of this package that wants its memory
// declared with [Attach] is t or a part of it.
func NeedsAttach(t reflect.Type) bool {
	switch {
	case robustTypes[t]:
		return true
	case t.Kind() == reflect.Array:
		return NeedsAttach(t.Elem())
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			if NeedsAttach(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}
