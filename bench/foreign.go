package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A foreign runner is a program of bench/peer, which starts both processes
// itself and takes its commands as lines of text.
type foreign struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
	pids   []int
	ended  chan struct{} // closed when the program is gone
	err    error         // how it ended
}

// newForeign starts args with the path's kind and the CPUs behind them.
func newForeign(ctx context.Context, args []string, kind string, pl placement) (_ runner, err error) {
	args = append(args[:len(args):len(args)], kind, cpuText(pl.a), cpuText(pl.b))
	f := &foreign{cmd: exec.CommandContext(ctx, args[0], args[1:]...), ended: make(chan struct{})}
	// Its two processes end together: by the end of its input, or as a group.
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	f.cmd.Cancel = func() error { return syscall.Kill(-f.cmd.Process.Pid, syscall.SIGKILL) }
	f.cmd.WaitDelay = time.Second
	f.cmd.Stderr = &f.stderr
	if f.stdin, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	r, w := io.Pipe() // so that Wait may come at any time
	f.cmd.Stdout = w
	f.out = bufio.NewReaderSize(r, 64<<10)
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		f.err = f.cmd.Wait()
		w.CloseWithError(io.EOF)
		close(f.ended)
	}()
	line, err := f.line()
	if err == nil {
		for _, s := range strings.Fields(strings.TrimPrefix(line, "ready ")) {
			pid, err := strconv.Atoi(s)
			if err != nil {
				f.close()
				return nil, fmt.Errorf("bench: a peer said %q", line)
			}
			f.pids = append(f.pids, pid)
		}
		return f, nil
	}
	f.close()
	return nil, err
}

func cpuText(cpus []int) string {
	if len(cpus) == 0 {
		return "-1"
	}
	return strconv.Itoa(cpus[0])
}

// line is the next line of output; its absence has a reason.
func (f *foreign) line() (string, error) {
	line, err := f.out.ReadString('\n')
	if err == nil {
		return strings.TrimSuffix(line, "\n"), nil
	}
	f.stdin.Close()
	<-f.ended
	text := strings.TrimSpace(f.stderr.String())
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:] // the last line of a traceback says what it is
	}
	return "", fmt.Errorf("bench: %s ended (%v): %s", f.cmd.Path, f.err, text)
}

func (f *foreign) loop(size, n int, opA, _ string) (t tally, h hist, err error) {
	if _, err := fmt.Fprintf(f.stdin, "%s %d %d\n", opA, size, n); err != nil {
		if _, why := f.line(); why != nil {
			err = why
		}
		return t, h, err
	}
	line, err := f.line()
	if err != nil {
		return t, h, err
	}
	t.msgs = n
	t.elapsed, t.cpu, h, err = parseAnswer(line)
	return t, h, err
}

var errAnswer = errors.New("bench: a peer's answer is not two numbers and a histogram")

// parseAnswer reads nanoseconds, those of CPU time, and bucket:count.
func parseAnswer(line string) (elapsed time.Duration, cpu int64, h hist, err error) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0, 0, h, errAnswer
	}
	ns, err1 := strconv.ParseInt(fields[0], 10, 64)
	cpu, err2 := strconv.ParseInt(fields[1], 10, 64)
	if err1 != nil || err2 != nil || ns <= 0 {
		return 0, 0, h, errAnswer
	}
	h.merge(hist{})
	for _, field := range fields[2:] {
		b, c, _ := strings.Cut(field, ":")
		bucket, err1 := strconv.Atoi(b)
		count, err2 := strconv.ParseUint(c, 10, 32)
		if err1 != nil || err2 != nil || bucket < 0 || bucket >= len(h.Counts) {
			return 0, 0, h, errAnswer
		}
		h.Counts[bucket] += uint32(count)
		h.Total += count
	}
	return time.Duration(ns), cpu, h, nil
}

func (f *foreign) ids() []int { return f.pids }

// close ends the program by the end of its input. One that is amid a loop is
// killed, with the process that it started.
func (f *foreign) close() {
	f.stdin.Close()
	go io.Copy(io.Discard, f.out) // ends with the program
	select {
	case <-f.ended:
	case <-time.After(2 * time.Second):
		f.cmd.Cancel()
		<-f.ended
	}
}
