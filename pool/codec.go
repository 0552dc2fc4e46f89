package pool

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"reflect"
	"sync"

	"github.com/rawipc/rawipc/futex"
)

// A Codec turns values into bytes and back, for types that can't travel as they
// are.
type Codec interface {
	// Marshal returns v as bytes, Unmarshal puts those into what v points to.
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

var codecs sync.Map // string: Codec

// RegisterCodec makes c known under a name, for Config.Codec. It belongs into
// the initialisation of a package, as workers need it, too. It panics if the
// name is taken or empty.
func RegisterCodec(name string, c Codec) {
	if _, taken := codecs.LoadOrStore(name, c); taken || name == "" {
		panic(fmt.Sprintf("pool: RegisterCodec(%q): the name is taken or empty", name))
	}
}

func codecNamed(name string) (Codec, error) {
	if name == "" {
		return gobCodec{}, nil
	}
	if c, ok := codecs.Load(name); ok {
		return c.(Codec), nil
	}
	return nil, fmt.Errorf("pool: no codec %q is registered", name)
}

type gobCodec struct{}

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

// form is how a type travels.
type form int

const (
	formCodec  form = iota
	formMemory      // types without pointers, as they lie in memory: both sides are the same program
	formBytes
	formString
)

func formOf[T any]() form {
	switch t := reflect.TypeFor[T](); {
	case t == reflect.TypeFor[[]byte]():
		return formBytes
	case t == reflect.TypeFor[string]():
		return formString
	case futex.CheckType(t) == nil:
		return formMemory
	}
	return formCodec
}

// encode returns v as bytes: its own, or in buf.
func encode[T any](f form, c Codec, buf []byte, v T) ([]byte, error) {
	switch f {
	case formBytes:
		return any(v).([]byte), nil
	case formString:
		return append(buf, any(v).(string)...), nil
	case formMemory:
		return append(buf, memoryOf(&v)...), nil
	}
	return marshal(c, v)
}

// marshal is a function of its own so that only here v is moved to the heap.
func marshal[T any](c Codec, v T) ([]byte, error) { return c.Marshal(&v) }

// decode makes *to of data. A []byte is data itself.
func decode[T any](f form, c Codec, data []byte, to *T) error {
	switch f {
	case formBytes:
		*any(to).(*[]byte) = data
	case formString:
		*any(to).(*string) = string(data)
	case formMemory:
		if copyPieces(memoryOf(to), data) != len(data) || len(data) != len(memoryOf(to)) {
			return fmt.Errorf("pool: %d bytes for a %T of %d", len(data), to, len(memoryOf(to)))
		}
	default:
		return c.Unmarshal(data, to)
	}
	return nil
}

// encodeAll, decodeAll and decodeItems are for chunks.
func encodeAll[T any](f form, c Codec, vs []T) ([]byte, error) {
	if f == formMemory {
		return memoryOfAll(vs), nil
	}
	return marshal(c, vs)
}

func decodeAll[T any](f form, c Codec, data []byte, to []T) error {
	if f == formMemory {
		if m := memoryOfAll(to); copyPieces(m, data) != len(data) || len(data) != len(m) {
			return fmt.Errorf("pool: %d bytes for %d items of %d bytes together", len(data), len(to), len(m))
		}
		return nil
	}
	got, err := decodeItems[T](f, c, data, len(to))
	copy(to, got)
	return err
}

// decodeItems is decodeAll into new memory, which it takes for what is there
// and not for a number of items that is only claimed.
func decodeItems[T any](f form, c Codec, data []byte, items int) ([]T, error) {
	var got []T
	if f == formMemory {
		var one T
		size := len(memoryOf(&one))
		if items < 0 || size == 0 && len(data) > 0 || size > 0 && (len(data)%size != 0 || items != len(data)/size) {
			return nil, fmt.Errorf("pool: %d bytes for %d items of %d bytes", len(data), items, size)
		}
		got = make([]T, items)
		copyPieces(memoryOfAll(got), data)
		return got, nil
	}
	if err := c.Unmarshal(data, &got); err != nil {
		return nil, err
	}
	if len(got) != items {
		return nil, fmt.Errorf("pool: %d items, want %d", len(got), items)
	}
	return got, nil
}

// copyPieces copies like copy: Go's copy of much at once goes past the cache.
func copyPieces(dst, src []byte) int {
	n := min(len(dst), len(src))
	for at := 0; at < n; at += 64 << 10 {
		copy(dst[at:min(at+64<<10, n)], src[at:n])
	}
	return n
}
