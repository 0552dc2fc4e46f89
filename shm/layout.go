package shm

import (
	"fmt"
	"hash/fnv"
	"reflect"
	"strings"

	"github.com/rawipc/rawipc/futex"

	"golang.org/x/sys/unix"
)

// layoutOf describes T as both sides must see it: kind, size and offset of
// each field, as text. Names don't count, so that a renamed type still fits.
func layoutOf(t reflect.Type) (string, error) {
	if err := futex.CheckType(t); err != nil {
		return "", fmt.Errorf("shm: %w", err)
	}
	var b strings.Builder
	writeLayout(&b, t)
	return b.String(), nil
}

func writeLayout(b *strings.Builder, t reflect.Type) {
	switch t.Kind() {
	case reflect.Struct:
		b.WriteString("struct{")
		for i := range t.NumField() {
			if i > 0 {
				b.WriteByte(' ')
			}
			writeLayout(b, t.Field(i).Type)
			fmt.Fprintf(b, "@%d", t.Field(i).Offset)
		}
		fmt.Fprintf(b, "}%d", t.Size())
	case reflect.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		writeLayout(b, t.Elem())
	case reflect.Int, reflect.Uint:
		fmt.Fprintf(b, "%s%d", t.Kind(), t.Bits()) // their size is the machine's
	default:
		b.WriteString(t.Kind().String())
	}
}

// fingerprint is what the header keeps of a layout, beside its beginning.
func fingerprint(layout string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(layout))
	return h.Sum64()
}

func sizeError[T any](n, off, have int) error {
	return fmt.Errorf("shm: %d × %v at offset %d of %d bytes: %w", n, reflect.TypeFor[T](), off, have, unix.EINVAL)
}
