package pipe_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// buildC builds one of the programs in testdata.
func buildC(t testing.TB, name string) string {
	t.Helper()
	gcc := fuzz.Tool(t, "gcc")
	bin := filepath.Join(t.TempDir(), name)
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Werror", "-o", bin, "testdata/"+name+".c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return bin
}

// Descriptors and messages, to and from programs that don't know this package.
func TestOtherLanguages(t *testing.T) {
	for _, lang := range []struct {
		name string
		argv func(t *testing.T) []string
	}{
		{"C", func(t *testing.T) []string { return []string{buildC(t, "peer_rights")} }},
		{"Python", func(t *testing.T) []string {
			return []string{fuzz.Tool(t, "python3"), "testdata/peer_rights.py"}
		}},
	} {
		t.Run(lang.name, func(t *testing.T) {
			argv := lang.argv(t)
			for _, k := range kinds[:2] {
				before := filesOpen(t)
				mine, theirs, err := k.open()
				must(t, err)
				files, err := theirs.PassFiles()
				must(t, err)
				// Before the program starts: it would have to wait, and the
				// descriptor that it gets doesn't block.
				lent := tagged(t, 10, 2)
				must(t, mine.SendFiles(bg, []byte("files:"), lent...))
				closeFiles(lent)
				cmd := exec.Command(argv[0], append(argv[1:], k.name)...)
				cmd.ExtraFiles, cmd.Stderr = files, os.Stderr
				must(t, cmd.Start())
				defer cmd.Wait() // does nothing if it has been waited for
				must(t, theirs.Close())
				buf := make([]byte, 100)
				var n int
				within(t, "RecvFiles", func() { n, files, err = mine.RecvFiles(bg, buf, 2) })
				if err != nil || string(buf[:n]) != "files: 10 11" || len(files) != 2 {
					t.Fatalf("%s: %q, %d files, %v", k.name, buf[:n], len(files), err)
				}
				wantTags(t, files[:1], 11, 1)
				wantTags(t, files[1:], 10, 1)
				must(t, cmd.Wait())
				must(t, mine.Close())
				if n := filesOpen(t); n > before {
					t.Errorf("%d descriptors, before %d", n, before)
				}
			}
		})
	}
}

// Half a control message is refused by the kernel, and nothing is sent; the
// Conn goes on.
func TestHalfAControlMessage(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		files := tagged(t, 0, 2)
		defer closeFiles(files)
		before := filesOpen(t)
		rights := unix.UnixRights(rawFD(t, files[0]), rawFD(t, files[1]))
		for n := unix.SizeofCmsghdr; n < unix.CmsgLen(8); n++ { // the header promises more
			err := unix.Sendmsg(rawFD(t, s), []byte("x"), rights[:n], nil, 0)
			wantErr(t, "half a control message", err, unix.EINVAL)
		}
		must(t, s.SendFiles(bg, []byte("whole"), files...))
		n, got, err := r.RecvFiles(bg, make([]byte, 9), 2)
		if n != 5 || err != nil {
			t.Fatal(n, err)
		}
		wantTags(t, got, 0, 2)
		if n := filesOpen(t); n > before {
			t.Errorf("%d descriptors, before %d", n, before)
		}
	}, "Pair", "PacketPair")
}
