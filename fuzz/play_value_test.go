package fuzz_test

import (
	"os"
	"slices"
	"testing"

	"github.com/rawipc/rawipc/shm"
)

// FuzzModelValue plays on Value, of one word and of several, and Array.
func FuzzModelValue(f *testing.F) { playAll(f, valuePlays) }

var valuePlays = []play{
	valuePlay("small value", func(arg uint16) int32 { return int32(arg) - 1000 }, func(x *int32, arg uint16) { *x += int32(arg) }),
	valuePlay("value", func(arg uint16) couple { return couple{A: int64(arg), B: [3]int32{int32(arg), 1, -int32(arg)}} },
		func(x *couple, arg uint16) { x.A *= int64(arg); x.B[1]++ }),
	{"array", castArray, farArray, modelArray},
}

type valueRole[T any] struct {
	*shm.Value[T]
	from   func(uint16) T
	change func(*T, uint16)
}

func valuePlay[T comparable](name string, from func(uint16) T, change func(*T, uint16)) play {
	return play{
		name: name,
		cast: func(byte) (role, []*os.File, func(), error) {
			v, err := shm.NewValue(from(7))
			if err != nil {
				return nil, nil, nil, err
			}
			files, err := v.PassFiles()
			return valueRole[T]{v, from, change}, files, func() {}, err
		},
		far: func(files []*os.File) (role, error) {
			v := new(shm.Value[T])
			return valueRole[T]{v, from, change}, v.TakeFiles(files)
		},
		model: func(byte, bool) func(bool, byte, uint16) (string, bool) {
			now := from(7)
			return func(_ bool, op byte, arg uint16) (string, bool) {
				old := now
				switch op % 7 {
				case 0:
					return ok(now), false
				case 1:
					now = from(arg)
					return ok(), false
				case 2:
					now = from(arg)
					return ok(old), false
				case 3, 4: // a free value is had even if the context has ended
					change(&now, arg)
					return ok(old), op%7 == 4
				case 5:
					return fails("planned"), false
				}
				return ok("panic"), false
			}
		},
	}
}

func (v valueRole[T]) do(op byte, arg uint16, late bool) (answer string) {
	switch op % 7 {
	case 0:
		return ok(v.Load())
	case 1:
		return said(v.Store(v.from(arg)))
	case 2:
		old, err := v.Swap(v.from(arg))
		return said(err, old)
	case 3, 4:
		ctx, cancel := in(late)
		defer cancel()
		var old T
		err := v.UpdateContext(ctx, func(x *T) error {
			old = *x
			v.change(x, arg)
			return nil
		})
		return said(err, old)
	case 5:
		return said(v.Update(func(x *T) error { *x = v.from(arg); return errPlanned }))
	}
	defer func() { answer = ok(recover()) }()
	v.Update(func(x *T) error { *x = v.from(arg); panic("panic") })
	return "no panic"
}

type arrayRole struct{ *shm.Array[int16] }

func sizeOfArray(size byte) int { return 1 + int(size%9) }

func castArray(size byte) (role, []*os.File, func(), error) {
	a, err := shm.NewArray(make([]int16, sizeOfArray(size)))
	if err != nil {
		return nil, nil, nil, err
	}
	files, err := a.PassFiles()
	return arrayRole{a}, files, func() {}, err
}

func farArray(files []*os.File) (role, error) {
	a := new(shm.Array[int16])
	return arrayRole{a}, a.TakeFiles(files)
}

func (a arrayRole) do(op byte, arg uint16, late bool) (answer string) {
	i := int(arg) % a.Len()
	change := func(xs []int16) error {
		xs[i] += int16(arg)
		slices.Reverse(xs)
		return nil
	}
	half := func(xs []int16) error { xs[i]--; return errPlanned }
	switch op % 8 {
	case 0:
		x, err := a.Load(i)
		return said(err, x)
	case 1:
		return said(a.Store(i, int16(arg)))
	case 2, 3:
		ctx, cancel := in(late)
		defer cancel()
		return said(a.UpdateContext(ctx, change))
	case 4:
		return said(a.Update(half))
	case 5:
		return ok(a.Slice(), a.Len())
	case 6:
		called := false
		err := a.Recover(func(xs []int16) error {
			called = true
			if arg%3 == 0 {
				return errPlanned
			}
			clear(xs)
			return nil
		})
		return said(err, called)
	}
	defer func() { answer = ok(recover()) }()
	err := a.Update(func(xs []int16) error { xs[i]++; panic("panic") })
	panic(said(err))
}

func modelArray(size byte, _ bool) func(bool, byte, uint16) (string, bool) {
	xs, broken := make([]int16, sizeOfArray(size)), false
	return func(_ bool, op byte, arg uint16) (string, bool) {
		i := int(arg) % len(xs)
		if broken && op%8 < 5 {
			if op%8 == 0 {
				return fails("owner dead", 0), false
			}
			return fails("owner dead"), op%8 == 3
		}
		switch op % 8 {
		case 0:
			return ok(xs[i]), false
		case 1:
			xs[i] = int16(arg)
			return ok(), false
		case 2, 3:
			xs[i] += int16(arg)
			slices.Reverse(xs)
			return ok(), op%8 == 3
		case 4: // what it had changed stays
			xs[i]--
			return fails("planned"), false
		case 5:
			return ok(xs, len(xs)), false
		case 6:
			switch {
			case !broken:
				return ok(false), false
			case arg%3 == 0:
				return fails("planned", true), false
			}
			broken = false
			clear(xs)
			return ok(true), false
		}
		if broken {
			return ok(fails("owner dead")), false
		}
		xs[i]++
		broken = true
		return ok("panic"), false
	}
}
