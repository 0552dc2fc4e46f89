package shm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

func newMessages(t testing.TB, capacity int) *shm.MessageQueue {
	t.Helper()
	q, err := shm.NewMessageQueue(capacity)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

type talkArgs struct {
	Queue *shm.MessageQueue
	Who   uint32
	N     int
}

// A message says who sent it, the how-manieth it is, and the sum of what follows.
func letter(r *rand.Rand, most int, who, seq uint32) []byte {
	msg := make([]byte, 12+r.IntN(most-12+1))
	for i := 12; i < len(msg); i++ {
		msg[i] = byte(r.Uint32())
	}
	binary.LittleEndian.PutUint32(msg, who)
	binary.LittleEndian.PutUint32(msg[4:], seq)
	binary.LittleEndian.PutUint32(msg[8:], crc32.ChecksumIEEE(msg[12:]))
	return msg
}

var talk = proc.Register("shm_test/talk", func(ctx context.Context, a talkArgs) error {
	defer a.Queue.Close()
	r := rand.New(rand.NewPCG(uint64(a.Who), 1))
	for i := range a.N {
		if err := a.Queue.Send(ctx, letter(r, a.Queue.MaxMessage(), a.Who, uint32(i))); err != nil {
			return err
		}
	}
	return nil
})

type listenArgs struct {
	Queue *shm.MessageQueue
	Got   *shm.Array[int64]
}

var listen = proc.Register("shm_test/listen", func(ctx context.Context, a listenArgs) error {
	defer a.Queue.Close()
	defer a.Got.Close()
	counts, last := make([]int64, a.Got.Len()), make([]int64, a.Got.Len())
	buf := make([]byte, a.Queue.MaxMessage())
	for {
		n, err := a.Queue.Recv(ctx, buf)
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		msg := buf[:n]
		who, seq := binary.LittleEndian.Uint32(msg), int64(binary.LittleEndian.Uint32(msg[4:]))+1
		if binary.LittleEndian.Uint32(msg[8:]) != crc32.ChecksumIEEE(msg[12:]) {
			return fmt.Errorf("message %d of %d is torn", seq, who)
		}
		if seq <= last[who] {
			return fmt.Errorf("message %d of %d after %d", seq, who, last[who])
		}
		counts[who], last[who] = counts[who]+1, seq
	}
	return a.Got.Update(func(xs []int64) error {
		for i := range xs {
			xs[i] += counts[i]
		}
		return nil
	})
})

func TestCase204Messages(t *testing.T) {
	n := 3000
	if testing.Short() || raceEnabled {
		n = 300
	}
	ctx := watchdog(t, 2*time.Minute)
	for _, capacity := range []int{256, 4096, 1 << 16} {
		q := newMessages(t, capacity)
		got, err := shm.NewArray(make([]int64, 3))
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		var talkers, listeners []*proc.Process
		for range 2 {
			listeners = append(listeners, started(t)(listen.Start(ctx, listenArgs{q, got})))
		}
		for who := range got.Len() {
			talkers = append(talkers, started(t)(talk.Start(ctx, talkArgs{q, uint32(who), n})))
		}
		for _, p := range talkers {
			if _, err := p.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.CloseSend(); err != nil {
			t.Fatal(err)
		}
		for _, p := range listeners {
			if _, err := p.Wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for who := range got.Len() {
			if x, err := got.Load(who); x != int64(n) || err != nil {
				t.Errorf("%d bytes: %d messages of %d, %v, want %d", capacity, x, who, err, n)
			}
		}
	}
}

func TestCase206MessageTooLarge(t *testing.T) {
	for _, capacity := range []int{0, -1, 1<<30 + 1} {
		if q, err := shm.NewMessageQueue(capacity); !errors.Is(err, unix.EINVAL) {
			t.Errorf("NewMessageQueue(%d): %v, %v", capacity, q, err)
		}
	}
	q := newMessages(t, 100)
	if q.Cap() != 128 || q.MaxMessage() != 120 {
		t.Errorf("Cap %d, MaxMessage %d, want 128, 120", q.Cap(), q.MaxMessage())
	}
	err := q.Send(context.Background(), make([]byte, 121))
	if _, err2 := q.TrySend(make([]byte, 121)); !errors.Is(err, shm.ErrTooLarge) || !errors.Is(err2, shm.ErrTooLarge) ||
		!strings.Contains(err.Error(), "121 bytes, this queue takes 0 to 120") {
		t.Errorf("Send of 121 bytes: %v, %v", err, err2)
	}
	want := bytes.Repeat([]byte{7}, 120)
	if err := q.Send(context.Background(), want); err != nil {
		t.Fatal(err)
	}
	if ok, err := q.TrySend(nil); ok || err != nil {
		t.Errorf("TrySend to a full queue: %t, %v", ok, err)
	}
	if n, err := q.Recv(context.Background(), make([]byte, 119)); n != 0 || !errors.Is(err, shm.ErrShortBuffer) {
		t.Errorf("Recv into too little: %d, %v", n, err)
	}
	if got, err := q.RecvAppend(context.Background(), []byte{1}); err != nil || !bytes.Equal(got, append([]byte{1}, want...)) {
		t.Errorf("RecvAppend: %v, %v", got, err)
	}
	for range 16 { // messages without bytes
		if ok, err := q.TrySend(nil); !ok || err != nil {
			t.Errorf("TrySend of nothing: %t, %v", ok, err)
		}
	}
	if q.Len() != 16 {
		t.Errorf("Len %d, want 16", q.Len())
	}
}

func TestCase207MessageWrap(t *testing.T) {
	for _, at := range []struct{ messages, bytes uint64 }{{1<<28 - 3, 0}, {5, 1<<36 - 64}, {1<<28 - 2, 1<<36 - 24}} {
		q := newMessages(t, 256)
		q.Preset(at.messages, at.bytes)
		buf := make([]byte, 256)
		for i := range 100 {
			want := bytes.Repeat([]byte{byte(i)}, i)
			for k := range 2 {
				if ok, err := q.TrySend(want); !ok || err != nil || q.Len() != k+1 {
					t.Fatalf("%v, %d: TrySend: %t, %v, Len %d", at, i, ok, err, q.Len())
				}
			}
			for range 2 {
				n, ok, err := q.TryRecv(buf)
				if !ok || err != nil || !bytes.Equal(buf[:n], want) {
					t.Fatalf("%v, %d: TryRecv: %d bytes, %t, %v", at, i, n, ok, err)
				}
				if err := q.Done(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := q.Done(); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Done once too often: %v", err)
		}
		if err := q.Join(watchdog(t, time.Minute)); err != nil {
			t.Error(err)
		}
	}
}

// A length that changes between the check and the copy makes no copy longer
// than what was checked.
func TestCase214FlippingLength(t *testing.T) {
	q := newMessages(t, 4096)
	ctx := watchdog(t, time.Minute)
	mem := q.Memory()
	data := len(mem) - q.Cap()
	var end atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !end.Load() {
			shm.WriteWord(mem, data, 1<<62)
			shm.WriteWord(mem, data, 16)
			shm.WriteWord(mem, data, 100)
			runtime.Gosched() // or nothing stops it with asyncpreemptoff=1
		}
	}()
	d, got := time.Second, map[int]int{}
	if testing.Short() {
		d = 200 * time.Millisecond
	}
	for start := time.Now(); time.Since(start) < d; {
		q.Preset(0, 0)
		if err := q.Send(ctx, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		msg, err := q.RecvAppend(ctx, nil)
		switch {
		case err == nil && (len(msg) == 16 || len(msg) == 100):
		case errors.Is(err, shm.ErrCorrupt):
		default:
			t.Fatalf("%d bytes, %v", len(msg), err)
		}
		got[len(msg)]++
	}
	end.Store(true)
	<-done
	t.Logf("messages by length: %v", got)
}

type order struct {
	Name  string
	Items []string
	Price map[string]float64
}

func TestObjectQueue(t *testing.T) {
	ctx := watchdog(t, time.Minute)
	want := order{"Ann", []string{"a", "b"}, map[string]float64{"a": 1.5}}
	for _, codec := range []string{"", "json"} {
		q, err := shm.NewObjectQueue[order](4096, codec)
		if err != nil {
			t.Fatal(err)
		}
		back, err := shm.NewObjectQueue[string](4096, "")
		if err != nil {
			t.Fatal(err)
		}
		p := started(t)(clerk.Start(ctx, clerkArgs{q, back}))
		for range 3 {
			if err := q.Send(ctx, want); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.CloseSend(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got, err := back.Recv(ctx); got != fmt.Sprint(want) || err != nil {
				t.Errorf("codec %q: %q, %v, want %q", codec, got, err, fmt.Sprint(want))
			}
		}
		if err := q.Join(ctx); err != nil {
			t.Error(err)
		}
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
		if _, ok, err := q.TryRecv(); ok || err != io.EOF {
			t.Errorf("TryRecv at the end: %t, %v", ok, err)
		}
		if err := errors.Join(q.Close(), back.Close()); err != nil {
			t.Error(err)
		}
	}
	if _, err := shm.NewObjectQueue[order](10, "nobody's"); err == nil || !strings.Contains(err.Error(), `no codec "nobody's"`) {
		t.Errorf("an unknown codec: %v", err)
	}
	b, err := shm.NewObjectQueue[[]byte](100, "")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if ok, err := b.TrySend([]byte("raw")); !ok || err != nil || b.Len() != 1 {
		t.Errorf("TrySend: %t, %v", ok, err)
	}
	if got, ok, err := b.TryRecv(); string(got) != "raw" || !ok || err != nil {
		t.Errorf("TryRecv: %q, %t, %v", got, ok, err)
	}
}

type clerkArgs struct {
	Orders *shm.ObjectQueue[order]
	Back   *shm.ObjectQueue[string]
}

var clerk = proc.Register("shm_test/clerk", func(ctx context.Context, a clerkArgs) error {
	for o, err := range a.Orders.All(ctx) {
		if err != nil {
			return err
		}
		if err := a.Back.Send(ctx, fmt.Sprint(o)); err != nil {
			return err
		}
		if err := a.Orders.Done(); err != nil {
			return err
		}
	}
	return nil
})

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

var _ = func() bool { shm.RegisterCodec("json", jsonCodec{}); return true }()

// hollow sends nothing, of which a decoder says io.EOF.
type hollow struct{}

func (hollow) Marshal(any) ([]byte, error) { return nil, nil }
func (hollow) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

var _ = func() bool { shm.RegisterCodec("hollow", hollow{}); return true }()

// A codec's io.EOF is no end of the stream.
func TestObjectQueueHollowMessage(t *testing.T) {
	q, err := shm.NewObjectQueue[int](1000, "hollow")
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	for range 3 {
		if err := q.Send(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	_, recv := q.Recv(t.Context())
	_, _, try := q.TryRecv()
	var all error
	for _, err := range q.All(t.Context()) {
		all = err
	}
	for i, err := range []error{recv, try, all} {
		if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, shm.ErrUndecodable) || errors.Is(err, io.EOF) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func TestMessagesAll(t *testing.T) {
	q := newMessages(t, 1000)
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprint("message ", i))
		if err := q.Send(t.Context(), []byte(want[i])); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.CloseSend(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for msg, err := range q.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(msg))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMessagesAllocations(t *testing.T) {
	q := newMessages(t, 1000)
	ctx, buf := context.Background(), make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		q.Send(ctx, buf)
		q.Recv(ctx, buf)
		q.TrySend(buf)
		q.TryRecv(buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
