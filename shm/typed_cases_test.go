package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// gate is what the users of a named semaphore share.
type gate struct {
	Sem     futex.Semaphore
	Waiting atomic.Int32
}

var waitAtGate = proc.Register("waitAtGate", func(ctx context.Context, name string) error {
	g, err := shm.OpenShared[gate](name, nil)
	if err != nil {
		return err
	}
	defer g.Close()
	g.Ptr().Waiting.Add(1)
	return g.Ptr().Sem.Acquire(ctx)
})

func newGate(t *testing.T, name string) *shm.Shared[gate] {
	t.Helper()
	g, err := shm.CreateShared(name, func(g *gate) error { return g.Sem.Init(0, 0) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A named semaphore is unlinked while processes wait: they finish on the old
// one, and the name is free for a new one.
func TestCase120_UnlinkWithWaiters(t *testing.T) {
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	defer cancel()
	name := freshName(t)
	old := newGate(t, name)
	defer old.Close()
	var waiters []*proc.Process
	for range 2 {
		p, err := waitAtGate.Start(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		waiters = append(waiters, p)
	}
	for old.Ptr().Waiting.Load() < 2 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if err := shm.Unlink(name); err != nil {
		t.Fatal(err)
	}
	if _, err := shm.OpenShared[gate](name, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Unlink: %v", err)
	}
	fresh := newGate(t, name)
	defer fresh.Close()
	if err := fresh.Ptr().Sem.Release(); err != nil {
		t.Error(err)
	}
	for _, p := range waiters {
		if !p.Alive() {
			t.Error("a token of the new semaphore ended a wait for the old one")
		}
	}
	old.Ptr().Sem.Release()
	old.Ptr().Sem.Release()
	for _, p := range waiters {
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
	}
	if n := fresh.Ptr().Sem.Value(); n != 1 {
		t.Errorf("%d tokens in the new semaphore, want 1", n)
	}
}

// One name opened twice leads to one state, and each handle has its own end.
func TestCase121_OpenedTwice(t *testing.T) {
	name := freshName(t)
	defer unix.Umask(unix.Umask(0))
	g, err := shm.CreateShared(name, func(g *gate) error { return g.Sem.Init(3, 0) }, &shm.Attr{Mode: 0o640})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if st := stat(t, name); filed(&st) != 0o640 {
		t.Errorf("mode %#o", st.Mode)
	}
	twin, err := shm.OpenShared[gate](name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := twin.Ptr().Sem.Value(); n != 3 {
		t.Errorf("%d tokens at first, want 3", n)
	}
	g.Ptr().Sem.Release()
	if n := twin.Ptr().Sem.Value(); n != 4 {
		t.Errorf("%d tokens, want 4", n)
	}
	if err := twin.Close(); err != nil {
		t.Error(err)
	}
	if n := g.Ptr().Sem.Value(); n != 4 || !g.Ptr().Sem.TryAcquire() {
		t.Errorf("%d tokens are left by the other handle, want 4", n)
	}
}

// openings are the ways to open a name as something typed.
var openings = map[string]func(name string) error{
	"OpenShared": func(name string) error { return closing(shm.OpenShared[int64](name, nil)) },
	"OpenValue":  func(name string) error { return closing(shm.OpenValue[int64](name, nil)) },
	"OpenArray":  func(name string) error { return closing(shm.OpenArray[int64](name, nil)) },
}

func closing(c interface{ Close() error }, err error) error {
	if err == nil {
		c.Close()
	}
	return err
}

// each opens a name in every way, and expects an error within a second.
func each(t *testing.T, name string, want ...error) {
	t.Helper()
	for way, open := range openings {
		start := time.Now()
		err := open(name)
		ok := false
		for _, w := range want {
			ok = ok || errors.Is(err, w)
		}
		if !ok {
			t.Errorf("%s: %v, want %v", way, err, want)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s took %v", way, d)
		}
	}
}

func TestCase259_TypedSymlink(t *testing.T) {
	name, target := freshName(t), filepath.Join(t.TempDir(), "target")
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := "/dev/shm/" + name
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	each(t, name, unix.ELOOP)
	if _, err := shm.CreateValue(name, 1, nil); !errors.Is(err, unix.EEXIST) {
		t.Errorf("CreateValue: %v", err)
	}
	if b, _ := os.ReadFile(target); string(b) != "mine" {
		t.Errorf("the target holds %q", b)
	}
}

func TestCase260_TypedPlanted(t *testing.T) {
	path := func(name string) string { return "/dev/shm/" + name }
	fifo, dir, link := freshName(t), freshName(t), freshName(t)
	if err := unix.Mkfifo(path(fifo), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path(fifo))
	if err := os.Mkdir(path(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path(dir))
	v, err := shm.CreateValue(link, int64(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := os.Link(path(link), path(link)+"-2"); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path(link) + "-2")
	each(t, fifo, unix.EINVAL)
	each(t, dir, unix.EINVAL, unix.EISDIR)
	each(t, link, shm.ErrOwner)
	for _, name := range []string{fifo, dir} {
		if _, err := shm.CreateArray(name, []int{1}, nil); !errors.Is(err, unix.EEXIST) {
			t.Errorf("CreateArray: %v", err)
		}
	}
}

func TestCase261_TypedForeign(t *testing.T) {
	name := freshName(t)
	v, err := shm.CreateValue(name, int64(1), &shm.Attr{Mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	path := "/dev/shm/" + name
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := shm.OpenValue[int64](name, &shm.Attr{Mode: 0o600}); !errors.Is(err, shm.ErrOwner) {
		t.Errorf("anybody may write: %v", err)
	}
	if os.Geteuid() == nobody { // and the file would be ours
		t.Skip("runs as the user it gives files to")
	}
	if err := os.Chown(path, nobody, -1); err != nil {
		t.Skip(err)
	}
	defer os.Chown(path, os.Geteuid(), -1)
	each(t, name, shm.ErrOwner)
	w, err := shm.OpenValue[int64](name, &shm.Attr{Owners: []int{nobody}})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}

// The name goes to another object between opening and use: the object that was
// opened is used.
func TestCase262_TypedSwapped(t *testing.T) {
	name := freshName(t)
	v, err := shm.CreateValue(name, int64(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w, err := shm.OpenValue[int64](name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := shm.Unlink(name); err != nil {
		t.Fatal(err)
	}
	other, err := shm.CreateValue(name, int64(5), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var child shm.Value[int64]
	if err := child.TakeFiles(dupAll(t, w)); err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	shm.Add(v, 1)
	if w.Load() != 2 || child.Load() != 2 || other.Load() != 5 {
		t.Errorf("%d, %d and %d, want 2, 2 and 5", w.Load(), child.Load(), other.Load())
	}
}

// lookAround says what a child finds in itself of objects that it was not
// given.
var lookAround = proc.Register("lookAround", func(_ context.Context, v *shm.Value[int64]) error {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, f := range files {
		if to, _ := os.Readlink("/proc/self/fd/" + f.Name()); strings.Contains(to, "secret") {
			return fmt.Errorf("descriptor %s is %s", f.Name(), to)
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	text := strings.Join(append(os.Environ(), os.Args...), "\n") + string(maps)
	if strings.Contains(text, "secret") {
		return fmt.Errorf("a secret in %s", text)
	}
	return v.Store(7)
})

// A child has what it was given, and nothing else of its parent's.
func TestCase270_NothingElse(t *testing.T) {
	ctx, cancel := context.WithTimeout(bg, 30*time.Second)
	defer cancel()
	type secret struct{ Key [4]int64 }
	given, kept := newValue(t, int64(1)), newValue(t, secret{[4]int64{1, 2, 3, 4}})
	named, err := shm.CreateArray(freshName(t)+"-secret", []int64{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		f, _ := named.PassFiles()
		shm.Unlink(filepath.Base(f[0].Name()))
		named.Close()
	}()
	p, err := lookAround.Start(ctx, given)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(ctx); err != nil {
		t.Error(err)
	}
	if given.Load() != 7 || kept.Load().Key[0] != 1 {
		t.Error("the child did not reach what it was given")
	}
}
