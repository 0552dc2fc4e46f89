package mq_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/mq"
	"golang.org/x/sys/unix"
)

// compilePeer returns the path of the C program.
func compilePeer(t testing.TB) string {
	t.Helper()
	gcc := fuzz.Tool(t, "gcc")
	bin := filepath.Join(t.TempDir(), "peer")
	if out, err := exec.Command(gcc, "-O2", "-Wall", "-Werror", "-o", bin, "testdata/peer.c", "-lrt").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return bin
}

// peer starts the C program, which is killed at the end of the test at the latest.
func peer(t testing.TB, bin string, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(bin, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewReader(out)
}

func line(t testing.TB, r *bufio.Reader) (text string) {
	t.Helper()
	within(t, "the C program", func() { text, _ = r.ReadString('\n') })
	return strings.TrimSuffix(text, "\n")
}

func ok(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	within(t, "the C program", func() {
		if err := cmd.Wait(); err != nil {
			t.Errorf("the C program: %v", err)
		}
	})
}

// A queue is the same for C, whoever made it, in both directions, asleep and
// not.
func TestInteroperation(t *testing.T) {
	bin := compilePeer(t)
	for _, maker := range []string{"Go", "C"} {
		t.Run("created by "+maker, func(t *testing.T) {
			name := freshName()
			t.Cleanup(func() { mq.Unlink(name) })
			var q *mq.Queue
			var err error
			if maker == "Go" {
				q, err = mq.Create(name, small(3))
			} else {
				cmd, _ := peer(t, bin, "create", name, "3", "64")
				ok(t, cmd)
				q, err = mq.Open(name, os.O_RDWR)
			}
			must(t, err)
			defer q.Close()
			if st, err := q.Stat(); err != nil || st != (mq.Stat{MaxMessages: 3, MessageSize: 64}) {
				t.Errorf("%+v, %v", st, err)
			}
			// Six messages for three places: C has to wait in mq_send.
			cmd, _ := peer(t, bin, "send", name, "0:a", "7:b", "32767:c", "7:d", "0:", "0:f")
			asleep(t, cmd.Process.Pid, cmd.Process.Pid, unix.SYS_MQ_TIMEDSEND)
			buf := make([]byte, 64)
			for _, want := range []string{"32767:c", "7:b", "7:d", "0:a", "0:", "0:f"} {
				var got string
				within(t, "Recv", func() {
					n, prio, err := q.Recv(bg, buf)
					must(t, err)
					got = fmt.Sprintf("%d:%s", prio, buf[:n])
				})
				if got != want {
					t.Errorf("from C: %s, want %s", got, want)
				}
			}
			ok(t, cmd)
			// And C in mq_receive, then us without room.
			cmd, out := peer(t, bin, "recv", name, "6")
			asleep(t, cmd.Process.Pid, cmd.Process.Pid, unix.SYS_MQ_TIMEDRECEIVE)
			for i := range 6 {
				within(t, "Send", func() { must(t, q.Send(bg, bytes.Repeat([]byte{'x'}, i*12), uint(i))) })
				if got, want := line(t, out), fmt.Sprintf("%d:%s", i, strings.Repeat("x", i*12)); got != want {
					t.Errorf("to C: %s, want %s", got, want)
				}
			}
			ok(t, cmd)
			for i := range 3 {
				must(t, q.Send(bg, []byte{'0' + byte(i)}, 5))
			}
			sent := make(chan error, 1)
			go func() { sent <- q.Send(bg, []byte("3"), 9) }()
			blocked()
			cmd, out = peer(t, bin, "recv", name, "4")
			seen := map[string]int{}
			for range 4 {
				seen[line(t, out)]++
			}
			if len(seen) != 4 || seen["9:3"] != 1 {
				t.Errorf("to C: %v", seen)
			}
			must(t, result(t, "Send", sent))
			ok(t, cmd)
		})
	}
}

// C's registration and ours exclude each other, and each hears the other's
// messages.
func TestCase199_BesideC(t *testing.T) {
	bin := compilePeer(t)
	q, name := fresh(t, small(2))
	cmd, out := peer(t, bin, "notify", name)
	if got := line(t, out); got != "registered" {
		t.Fatalf("C says %q", got)
	}
	wantErr(t, "beside C", q.Notify(bg), unix.EBUSY)
	must(t, q.Send(bg, nil, 0))
	if got := line(t, out); got != "notified" {
		t.Fatalf("C says %q", got)
	}
	ok(t, cmd)
	_, _, err := q.Recv(bg, make([]byte, 64))
	must(t, err)
	done := notified(t, bg, q)
	ctx, cancel := context.WithTimeout(bg, hang)
	defer cancel()
	if out, err := exec.CommandContext(ctx, bin, "notify", name).CombinedOutput(); err == nil || !strings.Contains(string(out), "busy") {
		t.Errorf("C beside us: %q, %v", out, err)
	}
	cmd, _ = peer(t, bin, "send", name, "1:m")
	ok(t, cmd)
	must(t, result(t, "Notify", done))
}
