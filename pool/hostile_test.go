package pool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/rawipc/rawipc/shm"
)

// Workers that break the rules, and what Map and Call make of it.

// overlong answers its first chunk that begins with 0 with more than was asked for,
// and dies in the middle of it, when the other chunk has long been answered.
var overlong = func() *Func[int64, int64] {
	f := Register("pool/overlong", func(_ context.Context, n int64) (int64, error) { return n, nil })
	honest := f.many
	f.many = func(ctx context.Context, s *server) error {
		b, err := s.Calls.Peek(ctx)
		if err != nil {
			return err
		}
		if *(*int64)(unsafe.Pointer(&b[headSize])) != 0 || os.Mkdir(os.Getenv("RAWIPC_TEST_MARK"), 0o700) != nil {
			return honest(ctx, s)
		}
		time.Sleep(100 * time.Millisecond)
		h := head{call: s.call, what: replyOK, items: s.items, size: 1 << 20}
		reply := append(slices.Clone(memoryOf(form{}, &h)), slices.Repeat([]byte{0xee}, 64)...)
		if err := s.Replies.Send(ctx, reply); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return f
}()

// A reply has room for what was asked for, and not for its neighbour's.
func TestOverlongReply(t *testing.T) {
	t.Setenv("RAWIPC_TEST_MARK", filepath.Join(t.TempDir(), "once"))
	p, err := New(&Config{Workers: 2, Chunk: 4, Retries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	in := []int64{0, 1, 2, 3, 4, 5, 6, 7}
	out, err := overlong.Map(t.Context(), p, in)
	if err != nil || !slices.Equal(in, out) {
		t.Errorf("%#x, %v, want %v", out, err, in)
	}
	if _, err := os.Stat(os.Getenv("RAWIPC_TEST_MARK")); err != nil {
		t.Error("no worker broke the rules:", err)
	}
}

// A record that shrinks after its head was read.
func TestShrunkReply(t *testing.T) {
	w, r, err := shm.NewRing(ringSize)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	h := head{call: 1, what: replyOK, size: 8}
	b, err := w.Reserve(t.Context(), headSize+8)
	if err != nil {
		t.Fatal(err)
	}
	copy(b, memoryOf(form{}, &h))
	w.Commit(headSize + 8)
	got, err := peek(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	*(*uint64)(unsafe.Add(unsafe.Pointer(&b[0]), -8)) = 5 // the record's length
	var v int64
	if lost, _ := get(t.Context(), r, got, formOf[int64](), gob, &v); !errors.Is(lost, shm.ErrCorrupt) {
		t.Errorf("%v, want %v", lost, shm.ErrCorrupt)
	}
}

var broad = [3]*Func[int64, [1024]int64]{}

func init() {
	for i := range broad {
		broad[i] = Register("pool/broad"+string(rune('0'+i)), func(_ context.Context, n int64) (o [1024]int64, _ error) { return o, nil })
	}
}

var heap = Register("pool/heap", func(context.Context, struct{}) (uint64, error) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, nil
})

// What a large chunk took is not kept while other functions are called.
func TestWorkerForgets(t *testing.T) {
	p, err := New(&Config{Workers: 1, Chunk: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, f := range broad {
		if _, err := f.Map(t.Context(), p, make([]int64, 4096)); err != nil { // 32 MiB
			t.Fatal(err)
		}
	}
	n, err := heap.Call(t.Context(), p, struct{}{})
	if err != nil || n > 16<<20 {
		t.Errorf("a worker of %d MiB, want 16 at most; %v", n>>20, err)
	}
}
