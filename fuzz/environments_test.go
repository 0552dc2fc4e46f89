package fuzz_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// uses are what the packages are used for, each once.
var uses = map[string]func(ctx context.Context) error{
	"anonymous": func(context.Context) error {
		o, err := shm.CreateAnon("use", 4096, nil)
		if err != nil {
			return err
		}
		return o.Close()
	},
	"named": func(context.Context) error {
		name := fmt.Sprintf("rawipc-use-%d", os.Getpid())
		o, err := shm.Create(name, 4096, nil)
		if err != nil {
			return err
		}
		return errors.Join(o.Close(), shm.Unlink(name))
	},
	"lock": func(ctx context.Context) error {
		s, err := shm.New[futex.RobustMutex](nil)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.Ptr().LockContext(ctx); err != nil {
			return err
		}
		return s.Ptr().Unlock()
	},
	"wait": func(ctx context.Context) error {
		s, err := shm.New[futex.Event](nil)
		if err != nil {
			return err
		}
		defer s.Close()
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		if err := s.Ptr().Wait(short); err != context.DeadlineExceeded {
			return fmt.Errorf("a wait in vain: %w", err)
		}
		return nil
	},
	"queue": func(ctx context.Context) error {
		q, err := shm.NewQueue[int](2)
		if err != nil {
			return err
		}
		defer q.Close()
		if err := q.Send(ctx, 1); err != nil {
			return err
		}
		_, err = q.Recv(ctx)
		return err
	},
	"ring": func(ctx context.Context) error {
		w, r, err := shm.NewRing(1)
		if err != nil {
			return err
		}
		defer w.Close()
		defer r.Close()
		buf := make([]byte, 8)
		for range 1000 { // so often that it tries what it can
			if err := w.Send(ctx, buf); err != nil {
				return err
			}
			if _, err := r.Recv(ctx, buf); err != nil {
				return err
			}
		}
		return nil
	},
	"pipe": func(ctx context.Context) error {
		r, w, err := pipe.OneWay()
		if err != nil {
			return err
		}
		defer r.Close()
		defer w.Close()
		sent := make(chan error, 1)
		go func() { sent <- w.Send(ctx, make([]byte, 200_000)) }()
		_, err = r.RecvAlloc(ctx, 1<<20)
		return errors.Join(err, <-sent)
	},
	"peer": func(ctx context.Context) error {
		a, b, err := pipe.Pair()
		if err != nil {
			return err
		}
		defer a.Close()
		defer b.Close()
		f, err := a.PeerFile()
		if err != nil {
			return err
		}
		return f.Close()
	},
	"splice": func(ctx context.Context) error { return between(ctx, pipe.Splice) },
	"tee":    func(ctx context.Context) error { return between(ctx, pipe.Tee) },
	"mq": func(ctx context.Context) error {
		q, err := useQueue()
		if err != nil {
			return err
		}
		defer q.Close()
		return q.Send(ctx, []byte("x"), 1)
	},
	"notify": func(ctx context.Context) error {
		q, err := useQueue()
		if err != nil {
			return err
		}
		defer q.Close()
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		if err := q.Notify(short); err != context.DeadlineExceeded {
			return err
		}
		return nil
	},
	"process": func(ctx context.Context) error { return run(ctx, &proc.Cmd{}) },
	"limits":  func(ctx context.Context) error { return run(ctx, &proc.Cmd{Limits: proc.Limits{Files: 64}}) },
	"cpus":    func(ctx context.Context) error { return run(ctx, &proc.Cmd{CPUs: []int{0}}) },
	"pidfd": func(ctx context.Context) error {
		f, err := proc.OpenPidFD(os.Getppid())
		if err != nil {
			return err
		}
		return f.Close()
	},
	"descriptor": func(ctx context.Context) error {
		f, err := proc.OpenPidFD(os.Getpid())
		if err != nil {
			return err
		}
		defer f.Close()
		g, err := f.GetFile(2)
		if err != nil {
			return err
		}
		return g.Close()
	},
}

func between(ctx context.Context, move func(ctx context.Context, dst, src syscall.Conn, n int64) (int64, error)) error {
	r1, w1, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r1.Close()
	defer w1.Close()
	r2, w2, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r2.Close()
	defer w2.Close()
	if _, err := w1.WriteString("x"); err != nil {
		return err
	}
	_, err = move(ctx, w2, r1, 1)
	return err
}

func useQueue() (*mq.Queue, error) {
	name := fmt.Sprintf("/rawipc-use-%d", os.Getpid())
	q, err := mq.Create(name, &mq.Attr{MaxMessages: 1, MessageSize: 8})
	if err == nil {
		err = mq.Unlink(name)
	}
	return q, err
}

func run(ctx context.Context, cmd *proc.Cmd) error {
	cmd.Path = "/bin/true"
	p, err := proc.Start(ctx, cmd)
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}

// typed objects need all of these; a name needs more.
var typedUses = []string{"lock", "queue", "ring", "wait"}[:4:4]

// environments are the calls and features that can be withheld, and what is not
// to be had then: a use, and a word of the error that says so. Whatever else,
// it works.
var environments = map[string]struct {
	word string
	not  []string
}{
	// Newer than Linux 5.4, or refused in containers: there is another way.
	"clone3":            {},
	"close_range":       {},
	"futex_waitv":       {},
	"membarrier":        {},
	"memfd_noexec":      {},
	"pidfd_send_signal": {},
	"preadv2":           {},
	"process_vm_readv":  {},
	"pwritev2":          {},
	"renameat2":         {},
	"rwf_nowait":        {},
	"get_robust_list":   {}, // only: a wake that dies with a sleeper may be lost

	// Each of these is something of its own.
	"mq_notify":         {"mq_notify", []string{"notify"}},
	"mq_open":           {"mq_open", []string{"mq", "notify"}},
	"peer_pidfd":        {"needs Linux 6.5", []string{"peer"}},
	"pidfd":             {"pidfd", []string{"descriptor", "pidfd"}},
	"pidfd_getfd":       {"pidfd_getfd", []string{"descriptor"}},
	"pidfd_open":        {"pidfd_open", []string{"descriptor", "pidfd"}},
	"prlimit64":         {"setrlimit", []string{"limits"}},
	"sched_getaffinity": {"sched_getaffinity", []string{"cpus"}},
	"sched_setaffinity": {"sched_setaffinity", []string{"cpus"}},
	"splice":            {"splice", []string{"splice"}},
	"tee":               {"tee", []string{"tee"}},

	// Every Linux has them, and no container that is of use here refuses them.
	"fallocate":       {"fallocate", append(typedUses, "anonymous", "named")},
	"flock":           {"flock", []string{"named"}},
	"linkat":          {"/dev/shm/", []string{"named"}},
	"memfd_create":    {"memfd_create", append(typedUses, "anonymous", "limits")},
	"ofd_lock":        {"fcntl", typedUses},
	"set_robust_list": {"set_robust_list", []string{"lock", "queue", "ring"}},
}

// Each call that can be withheld is, by ENOSYS and by EPERM as in containers, and
// all that the packages are used for is tried. What can't be had says why.
func TestEnvironments(t *testing.T) {
	if isChild(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for _, name := range slices.Sorted(maps.Keys(uses)) {
			err := uses[name](ctx)
			fmt.Printf("\nUSE %s %q\n", name, fmt.Sprint(err))
		}
		return
	}
	if os.Getenv("RAWIPC_WITHOUT") != "" {
		t.Skip("this run is without some already")
	}
	list, err := again(t, "TestEnvironments", "RAWIPC_WITHOUT=all?")
	if err == nil {
		t.Fatalf("nothing is refused:\n%s", list)
	}
	_, list, _ = strings.Cut(list, "want one of ")
	if all := strings.Fields(list); len(all) != len(environments) || len(all) == 0 {
		t.Errorf("%d can be withheld, %d are in the table: %s", len(all), len(environments), list)
	}
	for _, call := range slices.Sorted(maps.Keys(environments)) {
		for _, errno := range []string{"", ":EPERM"} {
			if errno != "" && testing.Short() {
				continue
			}
			t.Run(call+errno, func(t *testing.T) {
				t.Parallel()
				out, err := again(t, "TestEnvironments", "RAWIPC_WITHOUT="+call+errno)
				if strings.Contains(out, "pthread_create failed") {
					t.Skip("with cgo, C's library starts no thread without clone3")
				}
				if err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				tried := 0
				for line := range strings.Lines(out) {
					var name, text string
					if n, _ := fmt.Sscanf(line, "USE %s %q", &name, &text); n != 2 {
						continue
					}
					tried++
					e := environments[call]
					if without := slices.Contains(e.not, name); without != (text != "<nil>") || without && !strings.Contains(text, e.word) {
						t.Errorf("%s: %s; want an error with %q in it only of %v", name, text, e.word, e.not)
					}
				}
				if tried != len(uses) {
					t.Errorf("%d of %d uses were tried:\n%s", tried, len(uses), out)
				}
			})
		}
	}
}
