package pipe_test

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rawipc/rawipc/pipe"
	"golang.org/x/sys/unix"
)

// wait passes the time without a timer, which would be too coarse.
func wait(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
	}
}

func someRounds(n int) int {
	if testing.Short() || raceEnabled {
		return n / 10
	}
	return n
}

// A message that comes at any moment of a wait is found: before the first look,
// between looks, when the receiver is about to park and after. The same for room
// that a sender waits for.
func TestFoundAtAnyMoment(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		in, out := make([]byte, 64), make([]byte, 64)
		done := make(chan error)
		for i := range someRounds(1000) {
			go func() {
				_, err := r.Recv(bg, in)
				done <- err
			}()
			wait(time.Duration(rand.IntN(150)) * time.Microsecond)
			out[0] = byte(i)
			within(t, "Send and Recv", func() {
				must(t, s.Send(bg, out))
				must(t, <-done)
			})
			if in[0] != byte(i) {
				t.Fatalf("got message %d, not %d", in[0], byte(i))
			}
		}
		fill := func() {
			for room := true; room; {
				ctx, cancel := context.WithTimeout(bg, time.Millisecond)
				room = s.Send(ctx, out) == nil
				cancel()
			}
		}
		for range someRounds(100) {
			fill()
			go func() { done <- s.Send(bg, out) }()
			wait(time.Duration(rand.IntN(150)) * time.Microsecond)
			within(t, "Recv and Send", func() {
				var err error
				for sending := true; sending; {
					ctx, cancel := context.WithTimeout(bg, time.Millisecond)
					r.Recv(ctx, in)
					cancel()
					select {
					case err = <-done:
						sending = false
					default:
					}
				}
				must(t, err)
			})
		}
	})
}

// A context, a deadline and Close end a wait at any moment, and the message that
// comes next is not lost to a call that ended so.
func TestEndedAtAnyMoment(t *testing.T) {
	forKinds(t, func(t *testing.T, s, r *pipe.Conn) {
		buf := make([]byte, 64)
		done := make(chan error)
		for i := range someRounds(1000) {
			ctx, cancel := context.WithCancel(bg)
			go func() {
				_, err := r.Recv(ctx, buf)
				done <- err
			}()
			wait(time.Duration(rand.IntN(120)) * time.Microsecond)
			want := context.Canceled
			if i%2 == 0 {
				cancel()
			} else {
				want = os.ErrDeadlineExceeded
				must(t, r.SetReadDeadline(time.Unix(1, 0)))
			}
			within(t, "ending", func() { wantErr(t, "Recv", <-done, want) })
			cancel()
			must(t, r.SetReadDeadline(time.Time{}))
		}
		must(t, s.Send(bg, []byte("x")))
		n, err := r.Recv(bg, buf)
		if n != 1 || err != nil || buf[0] != 'x' {
			t.Errorf("then %d, %v", n, err)
		}
	})
}

// Who is looking when the Conn is closed never touches the descriptor's number
// again: here another pipe has got it, with bytes in it.
func TestCloseWhileLooking(t *testing.T) {
	for i := range someRounds(2000) {
		s, r, err := pipe.Pair()
		must(t, err)
		old := rawFD(t, r)
		done := make(chan error)
		go func() {
			_, err := r.Recv(bg, make([]byte, 64))
			done <- err
		}()
		wait(time.Duration(rand.IntN(60)) * time.Microsecond)
		must(t, r.Close())
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		if fds[1] == old {
			fds[0], fds[1] = fds[1], fds[0]
		}
		_, err = unix.Write(fds[1], []byte("mine"))
		must(t, err)
		within(t, "Recv", func() { wantErr(t, "Recv", <-done, os.ErrClosed) })
		n, _, err := unix.Recvfrom(fds[0], make([]byte, 8), unix.MSG_DONTWAIT)
		unix.Close(fds[0])
		unix.Close(fds[1])
		must(t, s.Close())
		if n != 4 || err != nil {
			t.Fatalf("round %d: of the other's 4 bytes %d are left (%v)", i, n, err)
		}
	}
}

// cpuTime is what this process has used.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	must(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Who waits long uses no CPU, however many they are.
func TestIdleWaitsUseNoCPU(t *testing.T) {
	var wg sync.WaitGroup
	var conns []*pipe.Conn
	for range 50 {
		_, r := openPair(t)
		conns = append(conns, r)
		wg.Go(func() {
			_, err := r.Recv(bg, make([]byte, 64))
			wantErr(t, "Recv", err, os.ErrClosed)
		})
	}
	blocked()
	const idle = 500 * time.Millisecond
	before := cpuTime(t)
	time.Sleep(idle)
	if used := cpuTime(t) - before; used > idle/4 {
		t.Errorf("%v of CPU in %v", used, idle)
	}
	within(t, "receivers", func() {
		for _, r := range conns {
			must(t, r.Close())
		}
		wg.Wait()
	})
}

// After looks in vain come waits without, for longer and longer up to a limit,
// and then a look again.
func TestLooksInVainRest(t *testing.T) {
	s, r := openPair(t)
	var last time.Duration
	for range 20 {
		start := time.Now()
		ctx, cancel := context.WithTimeout(bg, 200*time.Microsecond)
		_, err := r.Recv(ctx, make([]byte, 8))
		cancel()
		wantErr(t, "Recv", err, context.DeadlineExceeded)
		rest, resting := r.Rest()
		if rest < last || rest > pipe.MaxRest {
			t.Fatalf("after %v it rests for %v", last, rest)
		}
		if took := time.Since(start); rest > last && took < rest && !resting {
			t.Fatalf("to rest for %v was over after %v", rest, took)
		}
		if last = rest; last > 8*pipe.MinRest {
			break
		}
		time.Sleep(rest + time.Millisecond)
	}
	if last < 4*pipe.MinRest {
		t.Errorf("after 20 waits in vain it still rests for %v only", last)
	}
	must(t, s.Send(bg, []byte("x")))
	if _, err := r.Recv(bg, make([]byte, 8)); err != nil {
		t.Error(err)
	}
}

// What is found late was sent late because somebody else had the CPU, and sleeping
// would have been better; or the sender itself had it, and what lies behind keeps
// the caller busy for as long.
func TestLateFind(t *testing.T) {
	for _, tt := range []struct {
		name string
		late time.Duration
		busy float64 // how long what is behind it keeps the caller busy, of that
		rest bool
	}{
		{"nothing behind it", 2 * pipe.TooLong, 0, true},
		{"small messages behind it", 2 * pipe.TooLong, 0.125, false},
		{"nothing behind it after a slice", 2 * pipe.ASlice, 0, true},
		{"small messages behind it after a slice", 2 * pipe.ASlice, 0.125, true},
		{"much behind it after a slice", 2 * pipe.ASlice, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Who does not run for a while may be taken for busy, or for late.
			for end := time.Now().Add(hang); ; {
				// The first two attempts find nothing, the third does, late.
				script := []bool{false, false, true}
				k := pipe.NewLooker(func() bool {
					found := script[0]
					if script = script[1:]; len(script) == 0 {
						wait(tt.late)
					}
					return found
				})
				start := time.Now()
				if !k.Look(bg) || len(script) > 0 {
					t.Fatalf("the late one is not found; to come: %v", script)
				}
				took := time.Since(start)
				if k.Rest() != 0 {
					t.Fatalf("rests for %v, and has not seen what it brought", k.Rest())
				}
				for range 3 {
					script = []bool{true, false}
					if !k.Look(bg) || len(script) != 1 {
						t.Fatalf("not at once; to come: %v", script)
					}
					wait(time.Duration(tt.busy * float64(took) / 3))
				}
				busy, planned := time.Since(start)-took, time.Duration(tt.busy*float64(took))
				script = []bool{false, true, true}
				k.Look(bg)
				if rest := k.Rest(); rest >= pipe.MinRest == tt.rest {
					return
				} else if took < tt.late*3/2 && busy < planned+took/32 || time.Now().After(end) {
					t.Fatalf("then it rests for %v", rest)
				}
			}
		})
	}
}

// Where somebody else has the CPU after each yield, and each brings a few messages,
// that is noticed, though the calls that find nothing at first are never two in a row.
func TestLateFindsInAFlow(t *testing.T) {
	there := 0
	k := pipe.NewLooker(func() bool {
		if there--; there == -1 {
			return false
		}
		if there < 0 {
			wait(2 * pipe.TooLong)
			there = 3
		}
		return true
	})
	for range 100 {
		found := k.Look(bg)
		if k.Rest() > 0 {
			return // where it would park
		}
		if !found {
			t.Fatal("found nothing")
		}
	}
	t.Error("100 messages, and it never rests")
}

// A pipe grows when large messages go through it, unless its size was chosen.
func TestPipeGrows(t *testing.T) {
	for _, tt := range []struct {
		name          string
		choose, bytes int
		theirs        bool // the receiver chooses
		want          int
	}{
		{"small message", 0, 4096, false, 64 << 10},
		{"large message", 0, 64 << 10, false, 256 << 10},
		{"chosen", 4096, 64 << 10, false, 4096},
		{"chosen as it was", 64 << 10, 64 << 10, false, 64 << 10},
		{"chosen there", 8192, 64 << 10, true, 8192},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, w, err := pipe.OneWay()
			must(t, err)
			closeAfter(t, r, w)
			if size(t, w) != 64<<10 {
				t.Skipf("this user's pipes hold %d bytes", size(t, w))
			}
			if tt.choose != 0 {
				end := w
				if tt.theirs {
					end = r
				}
				_, err := pipe.SetSize(end, tt.choose)
				must(t, err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := r.Recv(bg, make([]byte, tt.bytes))
				done <- err
			}()
			within(t, "sending", func() {
				must(t, w.Send(bg, make([]byte, tt.bytes)))
				must(t, <-done)
			})
			if got := size(t, w); got != tt.want {
				t.Errorf("the pipe holds %d bytes, want %d", got, tt.want)
			}
		})
	}
}

func size(t *testing.T, c *pipe.Conn) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(rawFD(t, c)), unix.F_GETPIPE_SZ, 0)
	must(t, err)
	return n
}

func openPair(t *testing.T) (a, b *pipe.Conn) {
	t.Helper()
	a, b, err := pipe.Pair()
	must(t, err)
	closeAfter(t, a, b)
	return a, b
}
