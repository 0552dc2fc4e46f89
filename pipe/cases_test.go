package pipe_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// cases are the numbered cases of reliability that this package answers for:
// the tests that have them, or why there is none. 185 to 203 are those of
// package mq; 204 and on are of package shm.
//
// Where the tests ask for something else than the case's first wording: 162:
// a packet is never cut short. 175: 254 descriptors are refused before the system
// call. 174: a message without descriptors is no error, the caller sees that
// there are none. 171: the only words a caller has are Listen's and Dial's.
var cases = []struct {
	number int
	tests  string
	none   string
}{
	{number: 154, tests: "TestCase154_CloseOnExecAndPacketFlag"},
	{number: 155, tests: "TestCase155_WrongDirection"},
	{number: 156, tests: "TestCase156_BrokenPipe"},
	{number: 158, tests: "TestCase158_DescriptorLimit"},
	{number: 159, tests: "TestCase159_FullDeadlineResume"},
	{number: 161, tests: "TestCase161_SetSize"},
	{number: 162, tests: "TestCase162_167_ShortBuffer"},
	{number: 163, tests: "TestCase163_PipesShrink"},
	{number: 166, tests: "TestCase166_AbsurdLengths FuzzRecv"},
	{number: 167, tests: "TestCase162_167_ShortBuffer"},
	{number: 168, tests: "TestCase168_Close"},
	{number: 169, tests: "TestCase169_Poll TestCase169_Select"},
	{number: 170, tests: "TestCase170_Signals"},
	{number: 171, tests: "TestListenNames TestTakeFiles"},
	{number: 173, tests: "TestCase173_LargeDescriptorNumber"},
	{number: 174, tests: "TestCase174_NoneOrWrongFiles"},
	{number: 175, tests: "TestCase175_ManyFiles"},
	{number: 177, tests: "TestCase177_AttachedDescriptors TestFilesLeaveNothing"},
	{number: 178, tests: "TestCase178_NoRoomForFiles"},
	{number: 179, tests: "TestCase179_TooManyInFlight"},
	{number: 180, tests: "TestCase180_ReceiverRefusesFiles"},
	{number: 181, tests: "TestCase181_SocketThroughItself"},
	{number: 182, tests: "TestCase182_ClosedAfterSending"},
	{number: 183, tests: "TestCase183_Peer"},
	{number: 184, tests: "TestCase184_Concurrent"},
	{number: 269, tests: "TestCase269_Strangers"},
}

// Each case has its tests, or a reason, and each test with a number its case.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	here := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		must(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				here[fn.Name.Name] = true
			}
		}
	}
	listed := map[string]bool{}
	last := 0
	for _, c := range cases {
		if c.number <= last {
			t.Errorf("case %d stands behind %d", c.number, last)
		}
		last = c.number
		if (c.tests == "") == (c.none == "") {
			t.Errorf("case %d needs tests or a reason", c.number)
		}
		for _, name := range strings.Fields(c.tests) {
			listed[name] = true
			if !here[name] {
				t.Errorf("case %d: there is no %s", c.number, name)
			}
		}
	}
	for name := range here {
		if strings.HasPrefix(name, "TestCase1") && !listed[name] || strings.HasPrefix(name, "TestCase2") && !listed[name] {
			t.Errorf("%s is in no case", name)
		}
	}
}

// pipesShrink runs as a user whose pipes the kernel makes smaller from some
// number on.
func pipesShrink() error {
	if err := unix.Setuid(65534); err != nil {
		return err
	}
	msg := bytes.Repeat([]byte("m"), 100_000)
	var held []*pipe.Conn
	small := 0
	for range 1500 {
		r, w, err := pipe.OneWay()
		if err != nil {
			return err
		}
		held = append(held, r, w)
		rc, err := w.SyscallConn()
		if err != nil {
			return err
		}
		size := 0
		rc.Control(func(fd uintptr) { size, err = unix.FcntlInt(fd, unix.F_GETPIPE_SZ, 0) })
		if err != nil {
			return err
		}
		if size == 65536 {
			continue
		}
		small++
		sent := make(chan error, 1)
		go func() { sent <- w.Send(bg, msg) }()
		got, err := r.RecvAlloc(bg, len(msg))
		if err != nil || !bytes.Equal(got, msg) {
			return fmt.Errorf("a pipe of %d bytes: %d bytes, %w", size, len(got), err)
		}
		if err := <-sent; err != nil {
			return err
		}
		if small == 20 {
			_, err := pipe.SetSize(w, 1<<20)
			if err == nil || !strings.Contains(err.Error(), "fs.pipe-user-pages-soft (now ") {
				return fmt.Errorf("SetSize: %w", err)
			}
			fmt.Println("small")
			break
		}
	}
	for _, c := range held {
		c.Close()
	}
	return nil
}

func TestCase163_PipesShrink(t *testing.T) {
	if unix.Getuid() != 0 {
		t.Skip("needs another user to become")
	}
	out, err := helper(t, "pipes-shrink").Output()
	if err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if !bytes.Contains(out, []byte("small")) {
		t.Skip("1,500 pipes didn't reach this user's limit (fs.pipe-user-pages-soft, RLIMIT_NOFILE)")
	}
}
