package proc

import "reflect"

// FindHandle returns the place of the first handle in t, such as "T.Log[]", or
// "" if there is none. It looks everywhere, also where handles can't travel, but
// not behind interfaces. It is for packages that pass values without descriptors
// and would rather refuse a handle than lose it. It does not block.
func FindHandle(t reflect.Type) string {
	return findHandle(t, t.String(), make(map[reflect.Type]bool))
}

func findHandle(t reflect.Type, path string, seen map[reflect.Type]bool) string {
	if seen[t] {
		return ""
	}
	seen[t] = true
	if isPointee(t) || isHandle(t) {
		return path
	}
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if found := findHandle(f.Type, path+"."+f.Name, seen); found != "" {
				return found
			}
		}
	case reflect.Map:
		if found := findHandle(t.Key(), path+"[key]", seen); found != "" {
			return found
		}
		return findHandle(t.Elem(), path+"[]", seen)
	case reflect.Array, reflect.Slice, reflect.Pointer:
		if t.Kind() != reflect.Pointer {
			path += "[]"
		}
		return findHandle(t.Elem(), path, seen)
	}
	return ""
}
