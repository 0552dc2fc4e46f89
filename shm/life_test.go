package shm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// empty expects none of its parent's objects: not among its descriptors, its
// mappings, its arguments or its environment, nor through the parent's map_files.
var empty = proc.Register("shm-empty", func(_ context.Context, words string) error {
	name, parent, stranger := strings.Cut(words, " ")
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return err
	}
	var errs []error
	for _, fd := range fds {
		if link, _ := os.Readlink(fd); strings.Contains(link, name) || strings.Contains(link, "memfd:shm-secret") {
			errs = append(errs, errorf("%s is %s", fd, link))
		}
	}
	for _, file := range []string{"maps", "cmdline", "environ"} {
		text, err := os.ReadFile("/proc/self/" + file)
		if err != nil || strings.Contains(string(text), name) || strings.Contains(string(text), "shm-secret") {
			errs = append(errs, errorf("%s: %v, or has it", file, err))
		}
	}
	if stranger {
		for _, dir := range []string{"map_files", "fd"} {
			if entries, err := os.ReadDir("/proc/" + parent + "/" + dir); !errors.Is(err, os.ErrPermission) {
				errs = append(errs, errorf("another user's %s: %v, %v", dir, entries, err))
			}
		}
	}
	return errors.Join(errs...)
})

func TestCase270NothingInChildren(t *testing.T) {
	name, o := named(t, 4096, nil)
	secret, err := shm.CreateAnon("shm-secret", 4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	mapAll(t, o, shm.ReadWrite)
	mapAll(t, secret, shm.ReadWrite)
	inChild(t, empty, name, nil)
	t.Run("as nobody", func(t *testing.T) { inChild(t, empty, fmt.Sprint(name, " ", os.Getpid()), asNobody(t)) })
}

func TestCase016NotInExec(t *testing.T) {
	name, o := named(t, 4096, nil)
	ro, err := shm.OpenReadOnly(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	mapAll(t, o, shm.ReadWrite)
	// A foreign program, started with nothing closed by us.
	out, err := exec.Command("/bin/sh", "-c", "ls -l /proc/self/fd").Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("ls: %q, %v", out, err)
	}
	if strings.Contains(string(out), name) {
		t.Errorf("the descriptor is there:\n%s", out)
	}
}

func TestCase017NamedMappingOutlives(t *testing.T) {
	name, o := named(t, 4096, nil)
	m := mapAll(t, o, shm.ReadWrite)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	m.Bytes()[4095] = 7
	for call, err := range map[string]error{
		"Close": o.Close(), "Map": second(o.Map(0, 0, shm.ReadOnly)), "Grow": o.Grow(8192),
	} {
		if err := wants(err, os.ErrClosed); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	// Whoever has it mapped uses it: the lock goes with the last mapping.
	if names := sortedSweep(t, name); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	// And without a user the bytes stay, until the name goes.
	again, err := shm.Open(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m := mapAll(t, again, shm.ReadOnly); m.Bytes()[4095] != 7 {
		t.Error("the bytes went with the last user")
	} else if err := errors.Join(m.Close(), again.Close()); err != nil {
		t.Error(err)
	}
	if names := sortedSweep(t, name); !slices.Equal(names, []string{name}) {
		t.Errorf("swept %v", names)
	}
}

var edit = proc.Register("shm-edit", func(_ context.Context, name string) error {
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
	if got := string(m.Bytes()[:5]); got != "hello" {
		return errorf("%q", got)
	}
	_, err = m.WriteAt([]byte("HELLO"), 0)
	return err
})

func TestCase026AcrossProcesses(t *testing.T) {
	name, o := named(t, 4096, nil)
	m := mapAll(t, o, shm.ReadWrite)
	copy(m.Bytes(), "hello")
	inChild(t, edit, name, nil)
	if got := string(m.Bytes()[:5]); got != "HELLO" {
		t.Errorf("%q", got)
	}
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
}

// use opens or creates an object, says so on standard output, and waits to be
// killed. "map NAME" keeps only the mapping.
var use = proc.Register("shm-use", func(ctx context.Context, words string) error {
	how, name, _ := strings.Cut(words, " ")
	var o *shm.Object
	var err error
	if how == "create" {
		o, err = shm.Create(name, 4096, nil)
	} else {
		o, err = shm.Open(name, nil)
	}
	if err != nil {
		return err
	}
	if how == "map" {
		m, err := o.Map(0, 0, shm.ReadOnly)
		if err != nil {
			return err
		}
		o.Close()
		defer m.Close()
	}
	fmt.Println("ready")
	<-ctx.Done()
	return o.Close()
})

// users starts one more user.
func startUser(t *testing.T, words string) *proc.Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := use.StartCmd(t.Context(), &proc.Cmd{Stdout: w}, words)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	r.SetReadDeadline(time.Now().Add(hang))
	if n, err := r.Read(make([]byte, 16)); n == 0 {
		_, ended := p.Wait(t.Context())
		t.Fatalf("%s: %v, %v", words, err, ended)
	}
	return p
}

func kill(t *testing.T, p *proc.Process) {
	t.Helper()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait(t.Context())
}

// An object is swept when the last of its users is dead, be that who created
// it, who opened it or who only has it mapped, and not before.
func TestCase030UsersKilled(t *testing.T) {
	name := newName(t)
	var users []*proc.Process
	for _, how := range []string{"create ", "open ", "map "} {
		users = append(users, startUser(t, how+name))
	}
	for _, p := range users {
		if names := sortedSweep(t, name); len(names) != 0 {
			t.Errorf("swept %v while %d is using it", names, p.Pid())
		}
		kill(t, p)
	}
	if names := sortedSweep(t, "/"+name); !slices.Equal(names, []string{name}) {
		t.Errorf("swept %v", names)
	}
	gone(t, name)
}
