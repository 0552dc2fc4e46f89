package pool

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"reflect"

	"github.com/rawipc/rawipc/futex"
)

// codec turns values of T, alone or in chunks, into bytes and back. decode
// must not keep the bytes.
type codec[T any] struct {
	append    func(buf []byte, v T) ([]byte, error)
	decode    func(data []byte) (T, error)
	appendAll func(buf []byte, vs []T) ([]byte, error)
	decodeAll func(data []byte) ([]T, error)
}

// codecFor chooses: bytes and strings as they are, types without pointers as
// they lie in memory (both sides are the same program), all else by gob.
func codecFor[T any]() codec[T] {
	c := codec[T]{append: gobAppend[T], decode: gobDecode[T], appendAll: gobAppend[[]T], decodeAll: gobDecode[[]T]}
	switch {
	case reflect.TypeFor[T]() == reflect.TypeFor[[]byte]():
		c.append = func(buf []byte, v T) ([]byte, error) { return append(buf, any(v).([]byte)...), nil }
		c.decode = func(data []byte) (T, error) { return any(bytes.Clone(data)).(T), nil }
	case reflect.TypeFor[T]() == reflect.TypeFor[string]():
		c.append = func(buf []byte, v T) ([]byte, error) { return append(buf, any(v).(string)...), nil }
		c.decode = func(data []byte) (T, error) { return any(string(data)).(T), nil }
	case futex.CheckType(reflect.TypeFor[T]()) == nil:
		c.append = func(buf []byte, v T) ([]byte, error) { return append(buf, memoryOf(&v)...), nil }
		c.decode = func(data []byte) (v T, err error) {
			if to := memoryOf(&v); copy(to, data) != len(to) || len(data) != len(to) {
				err = fmt.Errorf("pool: %d bytes for a %T of %d", len(data), v, len(to))
			}
			return v, err
		}
		c.appendAll = func(buf []byte, vs []T) ([]byte, error) { return append(buf, memoryOfAll(vs)...), nil }
		c.decodeAll = func(data []byte) ([]T, error) {
			size := int(reflect.TypeFor[T]().Size())
			if size == 0 || len(data)%size != 0 {
				return gobDecode[[]T](data)
			}
			vs := make([]T, len(data)/size)
			copy(memoryOfAll(vs), data)
			return vs, nil
		}
		if reflect.TypeFor[T]().Size() == 0 {
			c.appendAll = gobAppend[[]T]
		}
	}
	return c
}

func gobAppend[T any](buf []byte, v T) ([]byte, error) {
	b := bytes.NewBuffer(buf)
	err := gob.NewEncoder(b).Encode(&v)
	return b.Bytes(), err
}

func gobDecode[T any](data []byte) (v T, err error) {
	err = gob.NewDecoder(bytes.NewReader(data)).Decode(&v)
	return v, err
}
