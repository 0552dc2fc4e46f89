package shm

import (
	"fmt"
	"os"
	"reflect"
	"slices"
)

// This file refuses what an ObjectQueue can't carry. A handle's GobEncode
// writes nothing of it, since package proc passes its files beside the value; a
// queue passes no files, so that the receiver would get a handle to nothing.

// fits returns an error that names the place of a handle in t.
func fits(t reflect.Type) error {
	if path := HandleIn(t); path != "" {
		return fmt.Errorf("shm: ObjectQueue of %s: %s is a handle, and a queue carries no descriptors: "+
			"pass it to the process in its arguments, or send its PassFiles with pipe.Conn.SendFiles", t, path)
	}
	return nil
}

var (
	handleType = reflect.TypeFor[interface{ PassFiles() ([]*os.File, error) }]()
	fileType   = reflect.TypeFor[os.File]()
)

// HandleIn returns the place of the first handle in t, such as "T.Log[]", or ""
// if there is none. It looks where a codec would, and so not behind interfaces.
// It is for those who pass values without descriptors, too. It does not block.
func HandleIn(t reflect.Type) string { return handleIn(t, t.String(), nil) }

func handleIn(t reflect.Type, path string, above []reflect.Type) string {
	if slices.Contains(above, t) {
		return "" // it contains itself: seen
	}
	above = append(above, t)
	if t == fileType || t.Implements(handleType) || reflect.PointerTo(t).Implements(handleType) {
		return path
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() { // a codec sees no other
				if found := handleIn(f.Type, path+"."+f.Name, above); found != "" {
					return found
				}
			}
		}
	case reflect.Map:
		if found := handleIn(t.Key(), path+"[key]", above); found != "" {
			return found
		}
		return handleIn(t.Elem(), path+"[]", above)
	case reflect.Array, reflect.Slice:
		return handleIn(t.Elem(), path+"[]", above)
	case reflect.Pointer:
		return handleIn(t.Elem(), path, above)
	}
	return ""
}
