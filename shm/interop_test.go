package shm_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestInteropC(t *testing.T) {
	gcc := fuzz.Tool(t, "gcc")
	bin := filepath.Join(t.TempDir(), "peer")
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Werror", "-o", bin, "testdata/peer.c", "-lrt").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	testInterop(t, "/", func(arg ...string) *exec.Cmd { return exec.Command(bin, arg...) })
}

func TestInteropPython(t *testing.T) {
	python := fuzz.Tool(t, "python3")
	testInterop(t, "", func(arg ...string) *exec.Cmd {
		return exec.Command(python, append([]string{"-S", "testdata/peer.py"}, arg...)...)
	})
}

// testInterop shares objects with another language, in both directions: the
// same names, the same bytes, the same sizes.
func testInterop(t *testing.T, slash string, peer func(arg ...string) *exec.Cmd) {
	run := func(want string, arg ...string) {
		t.Helper()
		cmd := peer(arg...)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %v: %s", arg, err, exit.Stderr)
		}
		if err != nil || string(out) != want+"\n" {
			t.Fatalf("%v: %q, %v, want %q", arg, out, err, want)
		}
	}

	// Ours, edited by them, and removed by them.
	const size = 5000
	name, o := named(t, size, nil)
	m := mapAll(t, o, shm.ReadWrite)
	copy(m.Bytes(), "from go")
	run(fmt.Sprint("ok ", size), "edit", slash+name, "from go", "and back")
	if got := string(m.Bytes()[:8]); got != "and back" {
		t.Errorf("%q", got)
	}
	stat(t, name) // still there after they closed it
	run("ok", "unlink", slash+name)
	if err := wants(shm.Unlink(name), fs.ErrNotExist); err != nil {
		t.Error(err)
	}

	// Theirs, edited by us, swept by nobody, though they take no lock.
	name = newName(t)
	cmd := peer("make", slash+name, "9000", "from them")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ok\n" {
		t.Errorf("%q, %v", line, err)
	}
	if names := sortedSweep(t, name); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	theirs, err := shm.Open("/"+name, &shm.Attr{Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	m = mapAll(t, theirs, shm.ReadWrite)
	if got := string(m.Bytes()[:9]); len(m.Bytes()) != 9000 || got != "from them" {
		t.Errorf("%d bytes, %q", len(m.Bytes()), got)
	}
	if _, err := m.WriteAt([]byte("from us!!"), 0); err != nil {
		t.Error(err)
	}
	run("ok 9000", "edit", slash+name, "from us!!", "bye")
	if got := string(m.Bytes()[:3]); got != "bye" {
		t.Errorf("%q", got)
	}
	if err := wants(second(shm.Create(name, 1, nil)), unix.EEXIST); err != nil {
		t.Error(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if names := sortedSweep(t, name); len(names) != 0 {
		t.Errorf("swept %v", names)
	}
	if err := shm.Unlink(name); err != nil {
		t.Error(err)
	}
}
