package shm_test

import (
	"fmt"
	"testing"

	"github.com/rawipc/rawipc/shm"
)

// The whole life of a named object, its first page touched, and of an anonymous
// one.
func BenchmarkLife(b *testing.B) {
	name := newName(b)
	for _, c := range []struct {
		path   string
		create func() (*shm.Object, error)
		unlink func() error
	}{
		{"named", func() (*shm.Object, error) { return shm.Create(name, 4096, nil) }, func() error { return shm.Unlink(name) }},
		{"anonymous", func() (*shm.Object, error) { return shm.CreateAnon("bench", 4096, nil) }, func() error { return nil }},
	} {
		b.Run("path="+c.path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				o, err := c.create()
				if err != nil {
					b.Fatal(err)
				}
				m, err := o.Map(0, 0, shm.ReadWrite)
				if err != nil {
					b.Fatal(err)
				}
				m.Bytes()[0] = 1
				m.Close()
				o.Close()
				if err := c.unlink(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Copies that survive a peer's truncation, beside those that don't, and beside
// the kernel's own (pread, pwrite), which survive it too.
func BenchmarkCopy(b *testing.B) {
	const most = 1 << 20
	o := object(b, most)
	m := mapAll(b, o, shm.ReadWrite)
	buf := make([]byte, most)
	for _, size := range []int{64, 4 << 10, most} {
		p, mem := buf[:size], m.Bytes()
		for _, c := range []struct {
			path string
			do   func()
		}{
			{"copy-out", func() { copy(p, mem) }},
			{"ReadAt", func() { m.ReadAt(p, 0) }},
			{"pread", func() { o.File().ReadAt(p, 0) }},
			{"copy-in", func() { copy(mem, p) }},
			{"WriteAt", func() { m.WriteAt(p, 0) }},
			{"pwrite", func() { o.File().WriteAt(p, 0) }},
		} {
			b.Run(fmt.Sprintf("path=%s/size=%d", c.path, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					c.do()
				}
			})
		}
	}
}
