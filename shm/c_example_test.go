package shm_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"structs"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

const slots = 64

type sample struct {
	_      structs.HostLayout
	Number int64 // -1: the last
	Value  float64
}

// table is what a Go and a C program share: a struct, and a ring without locks
// for one that puts in and one that takes out. testdata/example.c has the same
// in C. The two counts stand in cache lines of their own, since each is written
// by one side only:
//
//	  0  double  scale        written by Go before the start
//	  8  char    unit[24]     ends with a zero byte
//	 32  double  sum          written by C
//	 64  u64     head         samples taken: C writes it, with release
//	128  u64     tail         samples put in: Go writes it, with release
//	192  sample  slots[64]    sample n lies in slot n % 64
type table struct {
	_     structs.HostLayout
	Scale float64
	Unit  [24]byte
	Sum   float64
	_     [24]byte
	Head  atomic.Uint64
	_     [56]byte
	Tail  atomic.Uint64
	_     [56]byte
	Slots [slots]sample
}

// put waits, without sleeping, until there is room.
func (t *table) put(s sample) {
	tail := t.Tail.Load()
	for tail-t.Head.Load() == slots {
		runtime.Gosched()
	}
	t.Slots[tail%slots] = s
	t.Tail.Store(tail + 1) // after the slot: C sees the sample whole
}

// addUp does in Go what testdata/example.c does.
var addUp = proc.Register("addUp", func(_ context.Context, f *os.File) error {
	o, err := shm.FromFile(f, nil)
	if err != nil {
		return err
	}
	defer o.Close()
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	defer m.Close()
	t, err := shm.At[table](m, 0)
	if err != nil {
		return err
	}
	for head := uint64(0); ; head++ {
		for t.Tail.Load() == head {
			runtime.Gosched()
		}
		s := t.Slots[head%slots]
		t.Head.Store(head + 1)
		if s.Number == -1 {
			return nil
		}
		t.Sum += t.Scale * s.Value
	}
})

// build compiles the C side.
func build(compiler, dir string) (program string, err error) {
	program = filepath.Join(dir, "example")
	out, err := exec.Command(compiler, "-O2", "-Wall", "-Werror", "-o", program, "testdata/example.c").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
}

// exchange gives 1,000 samples to another process, and prints what it made of
// them. The process is the program at path, or without one a function.
func exchange(ctx context.Context, program string) error {
	o, err := shm.CreateAnon("table", int64(unsafe.Sizeof(table{})), nil)
	if err != nil {
		return err
	}
	defer o.Close()
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	defer m.Close()
	t, err := shm.At[table](m, 0)
	if err != nil {
		return err
	}
	t.Scale = 0.5
	copy(t.Unit[:], "volt")

	var p *proc.Process
	if program == "" {
		p, err = addUp.Start(ctx, o.File())
	} else {
		p, err = proc.Start(ctx, &proc.Cmd{Path: program, Files: map[string]*os.File{"TABLE": o.File()}})
	}
	if err != nil {
		return err
	}
	for i := range int64(1000) {
		t.put(sample{Number: i, Value: float64(i)})
	}
	t.put(sample{Number: -1})
	if _, err := p.Wait(ctx); err != nil {
		return err
	}
	fmt.Printf("%.1f %s\n", t.Sum, t.Unit[:4])
	return nil
}

// A program in C and this one share a struct and a ring. The C side is
// testdata/example.c; where there is no C compiler a function in Go takes
// its part.
func ExampleObject_c() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	program, err := build("cc", dir)
	if err != nil {
		program = ""
	}
	if err := exchange(context.Background(), program); err != nil {
		fmt.Println(err)
	}
	// Output: 249750.0 volt
}

// With a compiler the C side compiles, and the offsets are those of the comment.
func TestExampleC(t *testing.T) {
	if _, err := build(fuzz.Tool(t, "gcc"), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	var x table
	for _, row := range []struct {
		name      string
		got, want uintptr
	}{
		{"unit", unsafe.Offsetof(x.Unit), 8},
		{"sum", unsafe.Offsetof(x.Sum), 32},
		{"head", unsafe.Offsetof(x.Head), 64},
		{"tail", unsafe.Offsetof(x.Tail), 128},
		{"slots", unsafe.Offsetof(x.Slots), 192},
		{"size", unsafe.Sizeof(x), 192 + 16*slots},
	} {
		if row.got != row.want {
			t.Errorf("%s: %d, want %d", row.name, row.got, row.want)
		}
	}
}
