package pool

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/shm"
)

// form is how a type travels: what is not one of these by a codec.
type form struct {
	text, memory bool // memory: without pointers, as it is, as both sides are the same program
	items        bool // a slice of such things, bytes or those of a chunk, each of
	size         uintptr
}

func formOf[T any]() form {
	t := reflect.TypeFor[T]()
	return form{text: t == reflect.TypeFor[string](), memory: futex.CheckType(t) == nil, items: t == reflect.TypeFor[[]byte](), size: 1}
}

// formOfAll is that of []T.
func formOfAll[T any]() form {
	return form{items: formOf[T]().memory, size: reflect.TypeFor[T]().Size()}
}

// encode returns *v as bytes, which are its own memory if that is possible.
func encode[T any](f form, c shm.Codec, v *T) ([]byte, error) {
	switch {
	case f.text:
		return bytesOf(*any(v).(*string)), nil
	case f.memory || f.items:
		return memoryOf(f, v), nil
	}
	return moved(c, *v)
}

// moved is a function of its own so that only here v is moved to the heap.
func moved[T any](c shm.Codec, v T) ([]byte, error) { return marshal(c, &v) }

// marshal and unmarshal are c's for what v points to, as far as they go: they may
// panic, and gob has no message of a nil pointer, for which no bytes stand.
func marshal(c shm.Codec, v any) (b []byte, err error) {
	defer caught(&err)
	if unsaid(c, v) {
		return nil, nil
	}
	return c.Marshal(v)
}

func unmarshal(c shm.Codec, b []byte, v any) (err error) {
	defer caught(&err)
	if len(b) == 0 && unsaid(c, v) {
		return nil
	}
	return c.Unmarshal(b, v)
}

// unsaid reports whether v points to a nil pointer, and c is gob: other codecs may
// have a message of it.
func unsaid(c shm.Codec, v any) bool {
	p := reflect.ValueOf(v).Elem()
	return c == gob && p.Kind() == reflect.Pointer && p.IsNil()
}

// caught makes an error of a panic: of a function, or of a codec or a GobEncode,
// which may run in a goroutine of ours, where nobody else could recover it.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{v, debug.Stack()}
	}
}

// get receives a message's payload as a T. What has no codec is copied once, from
// the ring to where it belongs; a slice into the memory that *to has. lost is an
// error of the ring, err one of the encoding.
func get[T any](ctx context.Context, r *shm.RingReader, m head, f form, c shm.Codec, to *T) (lost, err error) {
	switch {
	case f.text:
		b, lost := take(ctx, r, m, nil)
		*any(to).(*string) = textOf(b)
		return lost, nil
	case f.items:
		b, lost := take(ctx, r, m, allOf(f, to))
		n := int(m.items) // is but claimed, and says nothing of a []byte
		if f.size > 0 {
			n = len(b) / int(f.size)
		}
		if n < 0 || n*int(f.size) != len(b) || m.items > 0 && m.items != uint64(n) {
			return lost, fmt.Errorf("%d bytes for %d items of %d", len(b), m.items, f.size)
		} else if lost == nil {
			setItems(f, to, b, n)
		}
		return lost, nil
	case f.memory:
		all := memoryOf(f, to)
		b, lost := take(ctx, r, m, all[:0:len(all)])
		if lost == nil && len(b) != len(all) {
			err = fmt.Errorf("%d bytes, want %d", len(b), len(all))
		}
		return lost, err
	default:
		return getNew(ctx, r, m, c, to)
	}
}

// getNew decodes into a new T: gob leaves alone what was 0 on the other side.
func getNew[T any](ctx context.Context, r *shm.RingReader, m head, c shm.Codec, to *T) (lost, err error) {
	b, lost := take(ctx, r, m, nil)
	if lost != nil {
		return lost, nil
	}
	var v T
	if err = unmarshal(c, b, &v); err == nil {
		*to = v
	}
	return nil, err
}
