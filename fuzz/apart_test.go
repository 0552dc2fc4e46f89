package fuzz_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/mq"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func TestApartMemory(t *testing.T) {
	fuzz.Apart{Memory: 64 << 10}.Run(t, func(t *testing.T) {
		entries, err := os.ReadDir("/dev/shm")
		if err != nil || len(entries) != 0 {
			t.Errorf("there are %v, %v", entries, err)
		}
		if _, err := shm.Create("rawipc-large", 128<<10, nil); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("128 KiB of 64: %v, want ENOSPC", err)
		}
	})
}

func TestApartQueues(t *testing.T) {
	const where = "RAWIPC_APART_QUEUE"
	name := os.Getenv(where)
	if name == "" { // the other process comes by here, too
		name = fmt.Sprintf("/rawipc-apart-%d", os.Getpid())
		t.Setenv(where, name)
		q, err := mq.Create(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer mq.Unlink(name)
		defer q.Close()
	}
	fuzz.Apart{IPC: true}.Run(t, func(t *testing.T) {
		if q, err := mq.Open(name, os.O_RDWR); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a queue of the machine's: %v, %v", q, err)
		}
	})
}

func TestApartProcesses(t *testing.T) {
	fuzz.Apart{PID: true}.Run(t, func(t *testing.T) {
		if self, err := os.Readlink("/proc/self"); os.Getpid() != 1 || self != "1" || err != nil {
			t.Errorf("process %d, /proc/self says %q, %v", os.Getpid(), self, err)
		}
	})
}

func TestApartClock(t *testing.T) {
	now := func() int64 {
		var ts unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
		return ts.Nano()
	}
	if os.Getenv("NOW") == "" {
		t.Setenv("NOW", fmt.Sprint(now()))
	}
	began, err := strconv.ParseInt(os.Getenv("NOW"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	fuzz.Apart{Clock: 24 * time.Hour}.Run(t, func(t *testing.T) {
		if ahead := time.Duration(now() - began); ahead < 24*time.Hour {
			t.Errorf("ahead by %v", ahead)
		}
	})
}

// A test that fails there fails here, and one that is skipped is skipped.
func TestApartSays(t *testing.T) {
	if os.Getenv("INNER") == "" {
		fuzz.Tool(t, "namespaces")
		for inner, want := range map[string]string{
			"fails": "this is not so", "skips": "--- SKIP: TestApartSays", "leaves": "the name rawipc-left in /dev/shm", "passes": "--- PASS: TestApartSays",
		} {
			out, err := again(t, "TestApartSays", "INNER="+inner)
			if bad := inner == "fails" || inner == "leaves"; bad != (err != nil) || !strings.Contains(out, want) {
				t.Errorf("%s: %v, want %q in\n%s", inner, err, want, out)
			}
		}
		return
	}
	t.Run("a sub.test", func(t *testing.T) {
		fuzz.Apart{Memory: 1 << 20}.Run(t, func(t *testing.T) {
			fuzz.LeakPatience(100 * time.Millisecond)
			switch os.Getenv("INNER") {
			case "fails":
				t.Error("this is not so")
			case "skips":
				t.Skip("not today")
			case "leaves":
				if err := os.WriteFile("/dev/shm/rawipc-left", nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}
