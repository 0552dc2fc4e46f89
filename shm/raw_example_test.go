package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

var shout = proc.Register("shout", func(_ context.Context, name string) error {
	o, err := shm.Open(name, nil)
	if err != nil {
		return err
	}
	defer o.Close()
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.WriteAt([]byte("HELLO"), 0)
	return err
})

// Two processes meet at a name. A program in C finds the same bytes by
// shm_open(name, O_RDWR, 0), one in Python by SharedMemory(name).
func ExampleCreate() {
	ctx := context.Background()
	shm.Sweep("rawipc-example.") // what earlier runs left, if they were killed
	name := fmt.Sprintf("rawipc-example.%d", os.Getpid())
	o, err := shm.Create(name, 4096, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer shm.Unlink(name)
	defer o.Close()
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	copy(m.Bytes(), "hello, world")

	p, err := shout.Start(ctx, name)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := p.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s\n", m.Bytes()[:12])
	// Output: HELLO, world
}

// The names that a program's dead processes left behind are removed when it
// starts again.
func ExampleSweep() {
	prefix := fmt.Sprintf("rawipc-sweep.%d.", os.Getpid()) // a real one has no pid
	o, err := shm.Create(prefix+"a", 4096, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	names, _ := shm.Sweep(prefix)
	fmt.Println("while it is open:", len(names))
	o.Close() // or die
	names, _ = shm.Sweep(prefix)
	fmt.Println("afterwards:", len(names))
	_, err = shm.Open(prefix+"a", nil)
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// while it is open: 0
	// afterwards: 1
	// true
}

var readOnly = proc.Register("read-only", func(_ context.Context, f *os.File) error {
	o, err := shm.FromFile(f, nil)
	if err != nil {
		return err
	}
	defer o.Close()
	_, err = o.Map(0, 0, shm.ReadWrite)
	fmt.Println("for writing:", errors.Is(err, fs.ErrPermission))
	m, err := o.Map(0, 0, shm.ReadOnly)
	if err != nil {
		return err
	}
	defer m.Close()
	fmt.Printf("for reading: %s\n", m.Bytes()[:5])
	return nil
})

// Memory without a name is passed as a descriptor. This one the other process
// can only read.
func ExampleCreateAnon() {
	ctx := context.Background()
	o, err := shm.CreateAnon("example", 4096, &shm.Attr{ReadOnlyPeers: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer o.Close()
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	copy(m.Bytes(), "hello")
	p, err := readOnly.StartCmd(ctx, &proc.Cmd{Stdout: os.Stdout}, o.File())
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := p.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// for writing: true
	// for reading: hello
}

// An object that grows, and a mapping that follows it.
func ExampleObject_Grow() {
	o, err := shm.CreateAnon("example", 4096, &shm.Attr{Growable: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer o.Close()
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	if err := o.Grow(1 << 20); err != nil { // by any process
		fmt.Println(err)
		return
	}
	fmt.Println(o.Size(), len(m.Bytes()))
	if err := m.Remap(0); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(m.Bytes()))
	// Output:
	// 1048576 4096
	// 1048576
}
