package fuzz_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// uses that make a name, those that take a robust lock, and those that make typed
// memory, which has a lock on its file.
var (
	namedUses  = []string{"named", "sweep"}
	robustUses = []string{"array", "cond", "liveness", "lock", "messages", "notifier", "objects", "once", "pool", "queue",
		"recursive", "ring", "rwmutex", "semaphore", "value"}
	typedUses = both(robustUses, "barrier", "function", "mutex", "wait")
)

func both(some []string, more ...string) []string { return slices.Concat(some, more) }

// environments are the calls and features that can be withheld, one or several,
// and what is not to be had then: a use, and a word of the error that says so.
// Whatever else, it works.
var environments = map[string]struct {
	word string
	not  []string
}{
	// Newer than Linux 5.4, or refused in containers: there is another way.
	"clone3":          {},
	"close_range":     {},
	"futex_waitv":     {},
	"get_robust_list": {}, // what it costs says futex's documentation
	"membarrier":      {},
	"memfd_noexec":    {},
	"preadv2":         {},
	"pwritev2":        {},
	"rwf_nowait":      {},
	"xattr":           {},

	// Each is the other's other way.
	"tmpfile":           {},
	"renameat2":         {},
	"tmpfile,renameat2": {"renameat2", namedUses},

	// Each of these is something of its own.
	"inotify_init1":     {"inotify", []string{"fifo's reader"}},
	"mq_notify":         {"mq_notify", []string{"notify"}},
	"mq_open":           {"mq_open", []string{"mq", "notify"}},
	"unshare":           {"Tree", []string{"tree"}},
	"peer_pidfd":        {"needs Linux 6.5", []string{"peer's pidfd"}},
	"pidfd":             {"pidfd", []string{"descriptor", "pidfd", "pidfd's signal", "process's descriptor"}},
	"pidfd_getfd":       {"pidfd_getfd", []string{"descriptor"}},
	"pidfd_open":        {"pidfd_open", []string{"descriptor", "pidfd", "pidfd's signal"}},
	"pidfd_send_signal": {"pidfd_send_signal", []string{"pidfd's signal"}},
	"prlimit64":         {"setrlimit", []string{"limits"}},
	"sched_getaffinity": {"sched_getaffinity", []string{"cpus"}},
	"sched_setaffinity": {"sched_setaffinity", []string{"cpus"}},
	"splice":            {"splice", []string{"splice"}},
	"tee":               {"tee", []string{"tee"}},

	// Every Linux has them, and no container that is of use here refuses them.
	"fallocate":       {"fallocate", both(typedUses, append(namedUses, "anonymous")...)},
	"flock":           {"flock", namedUses},
	"linkat":          {"linkat", namedUses},
	"memfd_create":    {"memfd_create", both(typedUses, "anonymous", "limits", "process's descriptor", "terminate", "tree")},
	"ofd_lock":        {"fcntl", both(typedUses, "sweep")},
	"set_robust_list": {"set_robust_list", robustUses},
}

// Each call that can be withheld is, by ENOSYS and by EPERM as in containers, and
// all uses are tried. What can't be had says why.
func TestEnvironments(t *testing.T) {
	if isChild(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for _, name := range slices.Sorted(maps.Keys(uses)) {
			err := uses[name](ctx)
			fmt.Printf("\nUSE %q %q\n", name, fmt.Sprint(err))
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
	all := strings.Fields(list)
	for _, name := range all {
		if _, ok := environments[name]; !ok {
			t.Errorf("%s can be withheld, and is not in the table", name)
		}
	}
	if len(all) == 0 {
		t.Error("nothing can be withheld")
	}
	here := tried(t) // what this machine itself doesn't have is not asked for
	for name, text := range here {
		if text != "<nil>" {
			t.Logf("nothing is withheld, and yet: %s: %s", name, text)
			if os.Getenv("CI") == "true" {
				t.Fail()
			}
		}
	}
	for _, call := range slices.Sorted(maps.Keys(environments)) {
		for _, errno := range []string{"", ":EPERM"} {
			if errno != "" && testing.Short() {
				continue
			}
			t.Run(call+errno, func(t *testing.T) {
				t.Parallel()
				e := environments[call]
				for name, text := range tried(t, "RAWIPC_WITHOUT="+call+errno) {
					if here[name] != "<nil>" {
						continue
					}
					if without := slices.Contains(e.not, name); without != (text != "<nil>") || without && !strings.Contains(text, e.word) {
						t.Errorf("%s: %s; want an error with %q in it only of %v", name, text, e.word, e.not)
					}
				}
			})
		}
	}
}

// tried are the results of all uses in a process of their own.
func tried(t *testing.T, env ...string) map[string]string {
	t.Helper()
	out, err := again(t, "TestEnvironments", env...)
	switch {
	case strings.Contains(out, "pthread_create failed"):
		t.Skip("with cgo, C's library starts no thread without clone3")
	case strings.Contains(out, "has an errno of its own"):
		t.Skip("it is refused in one way only")
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
	results := make(map[string]string)
	for line := range strings.Lines(out) {
		var name, text string
		if n, _ := fmt.Sscanf(line, "USE %q %q", &name, &text); n == 2 {
			results[name] = text
		}
	}
	if len(results) != len(uses) {
		t.Fatalf("%d of %d uses were tried:\n%s", len(results), len(uses), out)
	}
	return results
}
