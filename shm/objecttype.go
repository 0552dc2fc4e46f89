package shm

import (
	"encoding"
	"encoding/gob"
	"fmt"
	"os"
	"reflect"
	"slices"
)

// This file refuses what an ObjectQueue can't carry. A handle's GobEncode
// writes nothing of it, since package proc passes its files beside the value; a
// queue passes no files, so that the receiver would get a handle to nothing.

// fits returns an error that names the place of what in t can't travel: a handle,
// and where it is gob that encodes, which leaves them out without a word or fails
// at the first Send, a function, a channel or an unsafe.Pointer.
func fits(t reflect.Type, codec string) error {
	if path := HandleIn(t); path != "" {
		return fmt.Errorf("shm: ObjectQueue of %s: %s is a handle, and a queue carries no descriptors: "+
			"pass it to the process in its arguments, or send its PassFiles with pipe.Conn.SendFiles", t, path)
	}
	if codec != "" {
		return nil // it may know what to do
	}
	if stuck := StuckIn(t); stuck != "" {
		return fmt.Errorf("shm: ObjectQueue of %s: %s: it cannot travel", t, stuck)
	}
	return nil
}

// StuckIn says what in t package gob can't carry, or leaves out without a word
// though it stands in an exported field: a function, a channel or an
// unsafe.Pointer, such as "T.Log[] (func()) is a func"; "" if there is none that t
// shows. It looks where gob would. It is for those who pass values by gob, too. It
// does not block.
func StuckIn(t reflect.Type) string {
	var stuck reflect.Type
	path := placeIn(t, t.String(), nil, func(t reflect.Type) (it, leaf bool) {
		k := t.Kind()
		if it = k == reflect.Func || k == reflect.Chan || k == reflect.UnsafePointer; it {
			stuck = t
		}
		return it, encodesItself(t)
	})
	if path == "" {
		return ""
	}
	return fmt.Sprintf("%s (%s) is a %s", path, stuck, stuck.Kind())
}

// encodesItself reports whether gob has a t encode itself.
func encodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[gob.GobEncoder]()) || p.Implements(reflect.TypeFor[encoding.BinaryMarshaler]())
}

var (
	handleType = reflect.TypeFor[interface{ PassFiles() ([]*os.File, error) }]()
	fileType   = reflect.TypeFor[os.File]()
)

// HandleIn returns the place of the first handle in t, such as "T.Log[]", or ""
// if there is none. It looks where a codec would, and so not behind interfaces.
// It is for those who pass values without descriptors, too. It does not block.
func HandleIn(t reflect.Type) string {
	return placeIn(t, t.String(), nil, func(t reflect.Type) (it, leaf bool) {
		return t == fileType || t.Implements(handleType) || reflect.PointerTo(t).Implements(handleType), false
	})
}

// placeIn returns the place of the first type in t of which is says that it is
// it. What is a leaf is looked at no further, and is not it.
func placeIn(t reflect.Type, path string, above []reflect.Type, is func(reflect.Type) (it, leaf bool)) string {
	if slices.Contains(above, t) {
		return "" // it contains itself: seen
	}
	above = append(above, t)
	switch it, leaf := is(t); {
	case leaf:
		return ""
	case it:
		return path
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() { // a codec sees no other
				if found := placeIn(f.Type, path+"."+f.Name, above, is); found != "" {
					return found
				}
			}
		}
	case reflect.Map:
		if found := placeIn(t.Key(), path+"[key]", above, is); found != "" {
			return found
		}
		return placeIn(t.Elem(), path+"[]", above, is)
	case reflect.Array, reflect.Slice:
		return placeIn(t.Elem(), path+"[]", above, is)
	case reflect.Pointer:
		return placeIn(t.Elem(), path, above, is)
	}
	return ""
}
