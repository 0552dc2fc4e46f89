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
		return "", fmt.Errorf("shm: %w; an ObjectQueue carries values of any type", err)
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

// misfit names both layouts: that of an object, of which theirs is the
// beginning, and ours. Of long ones it shows where they part.
func misfit(theirs []byte, theirLen uint64, ours string) string {
	const before, most = 40, 160
	same := 0
	for same < len(theirs) && same < len(ours) && theirs[same] == ours[same] {
		same++
	}
	from := max(same-before, 0)
	if len(ours) <= most && theirLen <= most {
		from = 0
	}
	show := func(s string, all uint64) string {
		part := s[min(from, len(s)):min(from+most, len(s))]
		left, right := "", ""
		if from > 0 {
			left = "…"
		}
		if uint64(from+len(part)) < all {
			right = "…"
		}
		return fmt.Sprintf("%s%q%s", left, part, right)
	}
	return fmt.Sprintf("its layout is %s, want %s (they part at byte %d)",
		show(string(theirs), theirLen), show(ours, uint64(len(ours))), same)
}

// copied describes T as layoutOf does, for objects that copy their values:
// locks are not for copying.
func copied(t reflect.Type) (string, error) {
	layout, err := layoutOf(t)
	if err == nil {
		err = checkCopied(t, t.String())
	}
	return layout, err
}

// roomFor is size, or -1 for a type that copied refuses.
func roomFor[T any](size int) int {
	if _, err := copied(reflect.TypeFor[T]()); err != nil {
		return -1
	}
	return size
}

func checkCopied(t reflect.Type, path string) error {
	if pkg := t.PkgPath(); pkg != "" && pkg == futexPath && t.Kind() == reflect.Struct {
		return fmt.Errorf("shm: %s is a %s, which can't be copied: make it a Shared", path, t)
	}
	switch t.Kind() {
	case reflect.Array:
		return checkCopied(t.Elem(), path+"[]")
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if err := checkCopied(f.Type, path+"."+f.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

var futexPath = reflect.TypeFor[futex.Mutex]().PkgPath()

// A span is a piece of a value's bytes.
type span struct{ from, to uintptr }

// maxGaps bounds what padding returns: beyond it, clearing costs more than
// it can be worth.
const maxGaps = 4096

// padding returns which bytes of a t belong to no field. Go copies them like
// others, and with them whatever this process had there before.
func padding(t reflect.Type) []span {
	var gaps []span
	addPadding(&gaps, t, 0)
	if len(gaps) > maxGaps {
		return nil
	}
	return gaps
}

func addPadding(gaps *[]span, t reflect.Type, at uintptr) {
	switch t.Kind() {
	case reflect.Array:
		if t.Len() > 0 && len(padding(t.Elem())) > 0 {
			for i := range min(t.Len(), maxGaps+1) {
				addPadding(gaps, t.Elem(), at+uintptr(i)*t.Elem().Size())
			}
		}
	case reflect.Struct:
		end := at
		for i := range t.NumField() {
			f := t.Field(i)
			if at+f.Offset > end {
				*gaps = append(*gaps, span{end, at + f.Offset})
			}
			addPadding(gaps, f.Type, at+f.Offset)
			end = at + f.Offset + f.Type.Size()
		}
		if at+t.Size() > end {
			*gaps = append(*gaps, span{end, at + t.Size()})
		}
	}
}

// fitsAt says why no t can be at an offset of so many bytes, of which the first is
// at the beginning of a page.
func fitsAt(t reflect.Type, off, have int) error {
	if err := futex.CheckType(t); err != nil {
		return fmt.Errorf("shm: %w", err)
	}
	if size := int(t.Size()); off < 0 || size > have || off > have-size {
		return fmt.Errorf("shm: %v (%d bytes) at offset %d of %d bytes: %w", t, size, off, have, unix.EINVAL)
	}
	if off%t.Align() != 0 {
		return fmt.Errorf("shm: %v at offset %d, want a multiple of %d: %w", t, off, t.Align(), unix.EINVAL)
	}
	return nil
}

func sizeError[T any](n, off, have int) error {
	return fmt.Errorf("shm: %d × %v at offset %d of %d bytes: %w", n, reflect.TypeFor[T](), off, have, unix.EINVAL)
}
