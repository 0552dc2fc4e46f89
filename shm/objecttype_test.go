package shm_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rawipc/rawipc/shm"
)

type list struct {
	Next *list
	When time.Time
	F    func()
	own  *os.File
}

func refusedObject[T any](t *testing.T, want string) {
	t.Helper()
	q, err := shm.NewObjectQueue[T](1000, "")
	if err == nil {
		q.Close()
		if want != "" {
			t.Errorf("%T: no error", *new(T))
		}
		return
	}
	if want == "" || !strings.Contains(err.Error(), want) {
		t.Errorf("%T: %v, want %q", *new(T), err, want)
	}
}

// A handle doesn't travel through a queue, and the error says where it stands.
func TestObjectQueueRefusesHandles(t *testing.T) {
	refusedObject[*shm.Queue[int]](t, "*shm.Queue[int] is a handle")
	refusedObject[shm.RingWriter](t, "shm.RingWriter is a handle")
	refusedObject[struct{ A []map[string]*shm.Value[int] }](t, ".A[][] is a handle")
	refusedObject[map[*shm.MessageQueue]int](t, "[key] is a handle")
	refusedObject[struct{ F *os.File }](t, ".F is a handle")
	refusedObject[interface{ PassFiles() ([]*os.File, error) }](t, "is a handle")
	refusedObject[list](t, "")
	_ = list{}.own // of which a codec sees nothing
	refusedObject[any](t, "")
	refusedObject[string](t, "")
}
