package shm_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"testing"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

// denied finds that it can neither open nor unlink the object of another user.
var denied = proc.Register("shm-denied", func(_ context.Context, name string) error {
	for _, attr := range []*shm.Attr{nil, {Owners: []int{0}}} {
		_, rw := shm.Open(name, attr)
		_, ro := shm.OpenReadOnly(name, attr)
		if err := errors.Join(wants(rw, unix.EACCES, fs.ErrPermission), wants(ro, unix.EACCES)); err != nil {
			return err
		}
	}
	if names, err := shm.Sweep(name); len(names) != 0 || err != nil {
		return errorf("swept another's: %v, %v", names, err)
	}
	return wants(shm.Unlink(name), fs.ErrPermission)
})

// Case 14 is the unlinking, 15 the opening.
func TestCase015AnothersObject(t *testing.T) {
	sys := asNobody(t)
	name, o := named(t, 4096, nil)
	before := stat(t, name)
	o.Close() // so that only the owner keeps it from being swept
	inChild(t, denied, name, sys)
	if now := stat(t, name); now.Ino != before.Ino {
		t.Error("another object")
	}
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
}

func TestCase260SecondName(t *testing.T) {
	name, o := named(t, 4096, nil)
	other := newName(t)
	if err := os.Link("/dev/shm/"+name, "/dev/shm/"+other); err != nil {
		t.Fatal(err)
	}
	_, opened := shm.Open(name, nil)
	_, opened2 := shm.OpenReadOnly(other, nil)
	_, taken := shm.Create(other, 1, &shm.Attr{Truncate: true})
	for _, err := range []error{opened, opened2, taken} {
		if err := wants(err, shm.ErrOwner, fs.ErrPermission); err != nil {
			t.Error(err)
		}
	}
	o.Close()
	if names := sortedSweep(t, other); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	// The name itself is still the owner's to remove.
	if err := errors.Join(shm.Unlink(other), shm.Unlink(name)); err != nil {
		t.Error(err)
	}
}

// A stranger who locks an object for good can't keep its owner from anything but
// opening it, and that not for long.
func TestLockedByAStranger(t *testing.T) {
	name, o := named(t, 1, nil)
	o.Close()
	f, err := os.Open("/dev/shm/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := onFD(t, f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX) }); err != nil {
		t.Fatal(err)
	}
	if err := wants(second(shm.Open(name, nil)), unix.EBUSY); err != nil {
		t.Error(err)
	}
	if names := sortedSweep(t, name); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
	next, err := shm.Create(name, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
}

// squat makes a world-writable object, as the user that it runs as.
var squat = proc.Register("shm-squat", func(_ context.Context, name string) error {
	unix.Umask(0)
	o, err := shm.Create(name, 4096, &shm.Attr{Mode: 0o666})
	if err != nil {
		return err
	}
	return o.Close()
})

func TestCase261Squatted(t *testing.T) {
	name := newName(t)
	inChild(t, squat, name, asNobody(t))
	for call, err := range map[string]error{
		"Open":         second(shm.Open(name, nil)),
		"OpenReadOnly": second(shm.OpenReadOnly(name, nil)),
		"one more":     second(shm.Open(name, &shm.Attr{Owners: []int{1, 2}})),
		"Truncate":     second(shm.Create(name, 1, &shm.Attr{Truncate: true})),
		"Unlink":       shm.Unlink(name),
	} {
		if err := wants(err, shm.ErrOwner, fs.ErrPermission); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	if names := sortedSweep(t, name); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	if st := stat(t, name); st.Size != 4096 || st.Uid != nobody {
		t.Errorf("%+v", st)
	}
	allowed := &shm.Attr{Owners: []int{nobody}}
	o, err := shm.Open(name, allowed)
	if err != nil {
		t.Fatalf("allowed: %v", err)
	}
	o.Close()
	// Allowed, but not to let in everybody.
	allowed.Mode = 0o600
	if err := wants(second(shm.Open(name, allowed)), shm.ErrOwner); err != nil {
		t.Error(err)
	}
}

// The name goes back and forth between two objects. What is opened is one of
// them, with its own size and bytes, never a mixture, and never what was planted
// between.
func TestCase262Swapped(t *testing.T) {
	name, a := named(t, 4096, nil)
	otherName, b := named(t, 8192, nil)
	mapAll(t, a, shm.ReadWrite).Bytes()[0] = 1
	mapAll(t, b, shm.ReadWrite).Bytes()[0] = 2
	link := newName(t)
	if err := os.Symlink(target(t), "/dev/shm/"+link); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		const dir = "/dev/shm/"
		for i := 0; !stop.Load(); i++ {
			with := []string{otherName, link}[i%2]
			unix.Renameat2(unix.AT_FDCWD, dir+name, unix.AT_FDCWD, dir+with, unix.RENAME_EXCHANGE)
		}
	}()
	var opened [3]int
	for range rounds(2000) {
		o, err := shm.Open(name, nil)
		if err != nil {
			if err := oneOf(err, unix.ELOOP, unix.EBUSY); err != nil {
				t.Fatal(err)
			}
			opened[0]++
			continue
		}
		m, err := o.Map(0, 0, shm.ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		which := int(m.Bytes()[0])
		if len(m.Bytes()) != 4096*which {
			t.Fatalf("%d bytes, and it is object %d", len(m.Bytes()), which)
		}
		opened[which]++
		m.Close()
		o.Close()
	}
	stop.Store(true)
	<-done
	t.Logf("%d refused, %d and %d opened", opened[0], opened[1], opened[2])
}

// rounds is how often a loop goes round: fewer times with -short, where the
// race detector makes each of them slow as well.
func rounds(n int) int {
	if testing.Short() || raceEnabled {
		return n / 10
	}
	return n
}

// unlinks removes what it may not open, as another user: its own, but not ours.
var unlinks = proc.Register("shm-unlinks", func(_ context.Context, name string) error {
	own, err := shm.Create(name+"-own", 4096, &shm.Attr{Mode: 0o200})
	if err != nil {
		return err
	}
	defer own.Close()
	return errors.Join(
		wants(second(shm.OpenReadOnly(name+"-own", nil)), unix.EACCES),
		shm.Unlink(name+"-own"),
		wants(second(shm.OpenReadOnly(name+"-own", nil)), os.ErrNotExist),
		wants(shm.Unlink(name), shm.ErrOwner),
		says(shm.Unlink(name+"-fifo"), unix.EINVAL, "a FIFO"),
	)
})

func TestUnlinkUnseen(t *testing.T) {
	name, _ := named(t, 4096, &shm.Attr{Mode: 0o600})
	fifo := "/dev/shm/" + name + "-fifo"
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(fifo)
	inChild(t, unlinks, name, asNobody(t))
	if st := stat(t, name); st.Size != 4096 {
		t.Errorf("%+v", st)
	}
}
