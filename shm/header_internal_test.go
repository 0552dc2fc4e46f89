package shm

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

// aligned is memory for a header that is where a mapping's would be.
func aligned(t testing.TB, size int) []byte {
	t.Helper()
	o, err := CreateAnon("header", int64(size), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Map(0, 0, ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(); o.Close() })
	return m.Bytes()
}

var testSpec = spec{kind: kindArray, data: 512, fixed: 64, elem: 8, layout: "int64"}

func testHeader(t testing.TB) *header {
	t.Helper()
	h := new(header)
	if err := h.describe(testSpec, 512+64+80, 10); err != nil {
		t.Fatal(err)
	}
	h.ready = 1
	return h
}

// What is written is what is read, and is found to be right.
func TestHeaderRoundTrip(t *testing.T) {
	h, mem := testHeader(t), aligned(t, 4096)
	if err := h.write(mem); err != nil {
		t.Fatal(err)
	}
	var got header
	if err := got.read(mem); err != nil || got != *h {
		t.Errorf("%+v, %v; want %+v", got, err, *h)
	}
	if n, err := got.check(testSpec, 512+64+80, true); n != 10 || err != nil {
		t.Errorf("%d elements, %v", n, err)
	}
	if n, err := got.check(testSpec, 4096, false); n != 10 || err != nil {
		t.Errorf("in more room: %d elements, %v", n, err)
	}
}

// Whatever is wrong with a header is found, and the message says what.
func TestCase263_Header(t *testing.T) {
	const exactly = 512 + 64 + 80
	none := spec{kind: kindArray, data: 512, fixed: 64, elem: 0, layout: "int64"}
	for _, c := range []struct {
		name, want string
		change     func(h *header)
		spec       spec
		room       int
		exact      bool
		err        error
	}{
		{"blank", "never begun", func(h *header) { *h = header{} }, testSpec, exactly, true, ErrCorrupt},
		{"magic", `magic "raWipc\x00", want "rawipc\x00"`, func(h *header) { h.magic[2] = 'W' }, testSpec, exactly, true, ErrCorrupt},
		{"version", "version 2, want 1", func(h *header) { h.magic[7] = 2 }, testSpec, exactly, true, ErrCorrupt},
		{"order", "byte order 0x4030201, want 0x1020304", func(h *header) { h.order = 0x04030201 }, testSpec, exactly, true, ErrCorrupt},
		{"word", "words of 4 bytes, want 8", func(h *header) { h.word = 12 - wordSize }, testSpec, exactly, true, ErrCorrupt},
		{"ready", "never finished", func(h *header) { h.ready = 0 }, testSpec, exactly, true, ErrCorrupt},
		{"more than ready", "never finished", func(h *header) { h.ready = 2 }, testSpec, exactly, true, ErrCorrupt},
		{"kind", "kind Ring, want Array", func(h *header) { h.kind = kindRing }, testSpec, exactly, true, ErrCorrupt},
		{"no kind", "kind number 0, want Array", func(h *header) { h.kind = 0 }, testSpec, exactly, true, ErrCorrupt},
		{"strange kind", "kind number 4294967295, want", func(h *header) { h.kind = math.MaxUint32 }, testSpec, exactly, true, ErrCorrupt},
		{"layout", `its layout is "int64", want "uint64"`, func(h *header) {}, spec{kindArray, 512, 64, 8, "uint64"}, exactly, true, ErrCorrupt},
		{"layout's length", `want "uint64"`, func(h *header) { h.textLen = math.MaxUint64 }, spec{kindArray, 512, 64, 8, "uint64"}, exactly, true, ErrCorrupt},
		{"data", "data at 0, want 512", func(h *header) { h.data = 0 }, testSpec, exactly, true, ErrCorrupt},
		{"data in the header", "data at 511, want 512", func(h *header) { h.data = 511 }, testSpec, exactly, true, ErrCorrupt},
		{"data outside", "data at 18446744073709551615", func(h *header) { h.data = math.MaxUint64 }, testSpec, exactly, true, ErrCorrupt},
		{"size over the file's", "size 657 in 656 bytes", func(h *header) { h.size++ }, testSpec, exactly, true, ErrCorrupt},
		{"size over the room", "size 656 in 655 bytes", func(h *header) {}, testSpec, exactly - 1, false, ErrCorrupt},
		{"size under the file's", "size 656 in 657 bytes", func(h *header) {}, testSpec, exactly + 1, true, ErrCorrupt},
		{"size under the least", "size 575, want 576 at least", func(h *header) { h.size = 575 }, testSpec, exactly, false, ErrCorrupt},
		{"no size", "size 0, want 576 at least", func(h *header) { h.size = 0 }, testSpec, exactly, false, ErrCorrupt},
		{"count", "11 elements of 8 bytes in 656", func(h *header) { h.count = 11 }, testSpec, exactly, true, ErrCorrupt},
		{"a smaller count", "size 656 with 9 elements of 8 bytes, want 648", func(h *header) { h.count = 9 }, testSpec, exactly, true, ErrCorrupt},
		{"count that overflows", "2305843009213693952 elements", func(h *header) { h.count = 1 << 61 }, testSpec, exactly, true, ErrCorrupt},
		{"count of nothing", "18446744073709551615 elements of 0 bytes", func(h *header) { h.size, h.count = 576, math.MaxUint64 }, none, 576, true, ErrCorrupt},
		{"namespace", "another PID namespace: 7, this process is in", func(h *header) { h.namespace = 7 }, testSpec, exactly, true, ErrNamespace},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := testHeader(t)
			c.change(h)
			n, err := h.check(c.spec, c.room, c.exact)
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d, %v, want %q", n, err, c.want)
			}
		})
	}
	var h header
	if err := h.read(make([]byte, headerSize-1)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("less than a header: %v", err)
	}
	mem := aligned(t, 4096)
	if err := h.read(mem[2:]); err == nil {
		t.Error("a header at an odd place was read")
	}
	if err := h.write(mem[2:]); err == nil {
		t.Error("a header at an odd place was written")
	}
}

// Without /proc nobody can tell where he is, and nothing is made or opened.
func TestHeaderNoProc(t *testing.T) {
	old := namespaceFile
	defer func() { namespaceFile = old }()
	namespaceFile = filepath.Join(t.TempDir(), "none")
	h := testHeaderBefore(t, old)
	if _, err := h.check(testSpec, 656, true); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("check: %v", err)
	}
	if _, err := NewValue(1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("NewValue: %v", err)
	}
}

func testHeaderBefore(t *testing.T, file string) *header {
	now := namespaceFile
	namespaceFile = file
	defer func() { namespaceFile = now }()
	return testHeader(t)
}

func TestSpecSize(t *testing.T) {
	for _, c := range []struct {
		elem, count, want int
	}{
		{8, 0, 576}, {8, 10, 656}, {0, math.MaxInt, 576}, {8, -1, 0}, {8, math.MaxInt / 8, 0}, {1, math.MaxInt - 576, math.MaxInt}, {1, math.MaxInt - 575, 0},
	} {
		s := testSpec
		s.elem = c.elem
		size, err := s.size(c.count)
		if size != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%d × %d: %d, %v; want %d", c.count, c.elem, size, err, c.want)
		}
	}
}

// Both layouts are named, where they part if they are long.
func TestMisfit(t *testing.T) {
	long := strings.Repeat("int32 ", 100)
	for _, c := range []struct {
		theirs  string
		theyLen uint64
		ours    string
		want    string
	}{
		{"int32", 5, "int64", `its layout is "int32", want "int64" (they part at byte 3)`},
		{"", 0, "int64", `its layout is "", want "int64" (they part at byte 0)`},
		{"int32", 5, "int32@", `its layout is "int32", want "int32@" (they part at byte 5)`},
		{"\x00\xff", 2, "int", `its layout is "\x00\xff", want "int" (they part at byte 0)`},
		{long[:440], 600, long[:300] + "int64", `(they part at byte 303)`},
		{long[:440], 600, "int64", `its layout is "int32 int32`},
		{long[:440], math.MaxUint64, long, `(they part at byte 440)`},
	} {
		got := misfit([]byte(c.theirs), c.theyLen, c.ours)
		if !strings.Contains(got, c.want) || len(got) > 700 {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
	if got := misfit([]byte(long[:440]), 600, long[:300]+"int64"); !strings.Contains(got, `…"`) || !strings.Contains(got, `int64"`) {
		t.Errorf("not where they part: %s", got)
	}
}

func TestPadding(t *testing.T) {
	type holes struct {
		A int8
		B int32
		C [2]struct {
			D int16
			E int8
		}
	}
	var h holes
	b := make([]byte, SharedSize[holes]()-sharedData)
	for i := range b {
		b[i] = 0xff
	}
	v := &Value[holes]{}
	if _, err := v.prepare(); err != nil {
		t.Fatal(err)
	}
	clearSpans(b, v.gaps)
	want := []byte{255, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 0, 255, 255, 255, 0}
	if string(b) != string(want) {
		t.Errorf("% x\nwant % x", b, want)
	}
	_ = h
	huge := &Value[[maxGaps + 1]struct {
		A int8
		B int16
	}]{}
	if _, err := huge.prepare(); err != nil || huge.gaps != nil {
		t.Errorf("%d gaps, %v", len(huge.gaps), err)
	}
}

// FuzzHeader gives what a peer may have written to all that reads it.
func FuzzHeader(f *testing.F) {
	h := testHeader(f)
	mem := aligned(f, 4096)
	if err := h.write(mem); err != nil {
		f.Fatal(err)
	}
	f.Add(mem[:headerSize], uint32(656), true)
	f.Add(mem[:headerSize], uint32(4096), false)
	f.Add(make([]byte, headerSize), uint32(0), false)
	f.Add([]byte("rawipc\x00\x01"), uint32(9), true)
	specs := []spec{
		testSpec,
		{kind: kindShared, data: headerSize, fixed: 8, layout: "int64"},
		{kind: kindValue, data: headerSize, fixed: 192, layout: "struct{int32@0 int8@4}8"},
		{kind: kindArray, data: headerSize, fixed: 64, layout: "struct{}0"},
		{kind: kindQueue, data: headerSize, fixed: queueStateSize, elem: 24, layout: "struct{int64@0 [3]int32@8}24" + stateLayout},
		{kind: kindMessages, data: headerSize, fixed: queueStateSize, elem: 1, layout: messageLayout},
		{kind: kindObjects, data: headerSize, fixed: queueStateSize, elem: 1, layout: messageLayout + codecLayout + "json"},
		ringSpec(os.Getpagesize(), 1<<16),
	}
	for _, s := range specs {
		var other header
		size, err := s.size(3)
		if err == nil {
			err = other.describe(s, size, 3)
		}
		if err == nil {
			err = other.write(mem)
		}
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(mem[:headerSize]), uint32(size), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, room uint32, exact bool) {
		var got header
		full := [headerSize]byte{}
		copy(full[:], b)
		got.parse(&full)
		for _, ready := range []uint32{0, 1, 1 << 24} {
			got.ready = ready
			for _, s := range specs {
				n, err := got.check(s, int(room), exact)
				if err != nil {
					if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNamespace) {
						t.Fatal(err)
					}
					continue
				}
				size, err := s.size(n)
				if err != nil || ready != 1 || uint64(size) != got.size || size > int(room) || exact && size != int(room) {
					t.Fatalf("%d elements, %d bytes, %v, in %d bytes: %+v", n, size, err, room, got)
				}
			}
		}
	})
}

// What different processes write lies on lines of its own.
func TestStateLayout(t *testing.T) {
	var v valueState
	var a arrayState
	if s, at := unsafe.Sizeof(v), unsafe.Offsetof(v.mu); s != valueSlots-valueData || at != lineSize || valueSlots%lineSize != 0 {
		t.Errorf("a value's state: %d bytes, its lock at %d, copies at %d", s, at, valueSlots)
	}
	if s := unsafe.Sizeof(a); s != arrayElems-arrayData || arrayElems%lineSize != 0 {
		t.Errorf("an array's state: %d bytes, elements at %d", s, arrayElems)
	}
}
