package shm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"reflect"
	"strings"

	"golang.org/x/sys/unix"
)

// An ObjectQueue hands values of any type from any number of processes to any
// number of processes: Python's Queue. It is a [MessageQueue] whose messages a
// codec makes and takes apart, both outside the queue's locks, in the caller's
// own goroutine: what Send returned for is in shared memory.
//
// It is a handle: passed to a child by package proc it is the same queue there.
// At most 120 processes can use one at a time. All methods may be called
// concurrently.
type ObjectQueue[T any] struct {
	q     MessageQueue
	name  string // of the codec
	codec Codec
	kind  reflect.Kind
	raw   bool // T is a string or []byte and goes as it is
}

// NewObjectQueue makes an anonymous queue of capacity bytes (see
// [NewMessageQueue]) for values of type T. codec is the name of one that was
// registered by [RegisterCodec] in every process, or "" for encoding/gob, which
// sends T's description with every value; strings and byte slices then go as
// they are. Handles don't go through a queue: the error names where T has one.
//
// gob carries the exported fields of structs, and of an interface what was
// registered by gob.Register or is of a basic type. It carries no function, channel
// or unsafe.Pointer: where T has one in an exported field the error names that,
// unless the type around it encodes itself (gob.GobEncoder). It carries no nil
// pointer as T, or in a slice or map: Send fails. As a field it stays nil.
//
// Among processes that don't trust each other use these two, or a codec that
// was made for it. gob was not: it allocates what a message says that a slice
// needs, up to 10 MiB before it looks for the elements, and what one says that
// a map needs without a limit.
func NewObjectQueue[T any](capacity int, codec string) (*ObjectQueue[T], error) {
	return makeObjects[T](home{}, capacity, codec)
}

// CreateObjectQueue makes a queue with a name, as [CreateShared] does.
func CreateObjectQueue[T any](name string, capacity int, codec string, attr *Attr) (*ObjectQueue[T], error) {
	return makeObjects[T](home{name: name, attr: attr}, capacity, codec)
}

// OpenObjectQueue finds the queue that [CreateObjectQueue] made, with the same
// codec and a T that is sent in the same way. Errors are those of [OpenShared].
func OpenObjectQueue[T any](name string, codec string, attr *Attr) (*ObjectQueue[T], error) {
	o := new(ObjectQueue[T])
	if err := o.prepare(codec); err != nil {
		return nil, err
	}
	return made(o, o.q.findAs(home{name: name, attr: attr}, kindObjects, o.layout()))
}

func makeObjects[T any](at home, capacity int, codec string) (*ObjectQueue[T], error) {
	o := new(ObjectQueue[T])
	if err := o.prepare(codec); err != nil {
		return nil, err
	}
	return made(o, o.q.makeAs(at, kindObjects, o.layout(), capacity))
}

func (o *ObjectQueue[T]) prepare(codec string) (err error) {
	t := reflect.TypeFor[T]()
	if err := fits(t, codec); err != nil {
		return err
	}
	o.name = codec
	o.kind = t.Kind()
	o.raw = codec == "" && (t == reflect.TypeFor[string]() || t == reflect.TypeFor[[]byte]())
	o.codec, err = LookupCodec(codec)
	return err
}

// layout is what both sides must agree on. What a codec does with a type of
// another name is the codec's affair.
func (o *ObjectQueue[T]) layout() string {
	switch {
	case o.raw:
		return messageLayout + ", bytes"
	case o.name == "":
		return messageLayout + ", gob"
	}
	return messageLayout + codecLayout + o.name
}

const codecLayout = ", codec "

// Send sends v. It blocks, ends with ctx and fails as [MessageQueue.Send], and
// with the codec's error.
func (o *ObjectQueue[T]) Send(ctx context.Context, v T) error {
	msg, err := o.encode(v)
	if err != nil {
		return err
	}
	return o.q.Send(ctx, msg)
}

// TrySend is Send that does not wait: it reports false if there is no room, or
// somebody else is sending.
func (o *ObjectQueue[T]) TrySend(v T) (bool, error) {
	msg, err := o.encode(v)
	if err != nil {
		return false, err
	}
	return o.q.TrySend(msg)
}

// ErrUndecodable is what receiving a value returns, with the codec's error
// behind it, when the codec refused the message. That message is gone; the queue
// goes on.
var ErrUndecodable = errors.New("shm: the codec refused a message")

// Recv receives the next value. It blocks, ends with ctx and fails as
// [MessageQueue.RecvAppend], and with [ErrUndecodable].
func (o *ObjectQueue[T]) Recv(ctx context.Context) (v T, err error) {
	msg, err := o.q.RecvAppend(ctx, nil)
	if err != nil {
		return v, err
	}
	return o.decode(msg)
}

// TryRecv is Recv that does not wait: it reports false if the queue is empty,
// or somebody else is receiving.
func (o *ObjectQueue[T]) TryRecv() (v T, ok bool, err error) {
	msg, _, ok, err := o.q.tryRecv(nil, true)
	if !ok {
		return v, false, err
	}
	v, err = o.decode(msg)
	return v, err == nil, err
}

// All receives until the stream ends or ctx does, whichever comes first: it waits
// as Recv does before each message. It yields an error, as the last, if there is
// one other than io.EOF: ctx.Err() when ctx has ended, also if there are messages
// left.
func (o *ObjectQueue[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return received(ctx, o.Recv)
}

// Len returns how many values the queue holds just now; 0 after Close.
func (o *ObjectQueue[T]) Len() int { return o.q.Len() }

// Cap returns how many bytes the queue holds: see [MessageQueue.Cap].
func (o *ObjectQueue[T]) Cap() int { return o.q.Cap() }

// CloseSend ends the stream for all processes: see [Queue.CloseSend].
func (o *ObjectQueue[T]) CloseSend() error { return o.q.CloseSend() }

// CloseSendContext is [ObjectQueue.CloseSend] that returns ctx.Err() if ctx ends
// while it waits: see [Queue.CloseSendContext].
func (o *ObjectQueue[T]) CloseSendContext(ctx context.Context) error {
	return o.q.CloseSendContext(ctx)
}

// Done says that one value which was received is done with: see [Queue.Done].
func (o *ObjectQueue[T]) Done() error { return o.q.Done() }

// Join blocks until every value that was sent is done with, or ctx ends: see
// [Queue.Join].
func (o *ObjectQueue[T]) Join(ctx context.Context) error { return o.q.Join(ctx) }

// Close releases this process's mapping and descriptor: see [Queue.Close].
func (o *ObjectQueue[T]) Close() error { return o.q.Close() }

// PassFiles lends the descriptors that a child needs. Package proc calls it.
func (o *ObjectQueue[T]) PassFiles() ([]*os.File, error) { return o.q.PassFiles() }

// TakeFiles makes o the queue behind descriptors that PassFiles lent, after
// checking that it is one. It owns the descriptors; a handle in use refuses
// them with EINVAL. Package proc calls it.
func (o *ObjectQueue[T]) TakeFiles(files []*os.File) error {
	if err := o.q.vacant(files); err != nil {
		return err
	}
	codec := ""
	if len(files) == 1 {
		codec = codecOf(files[0])
	}
	if err := o.prepare(codec); err != nil {
		closeAll(files)
		return err
	}
	return o.q.takeAs(files, kindObjects, o.layout())
}

// codecOf is the name of the codec in an object's header, or "": whether it is
// a queue at all is seen later.
func codecOf(f *os.File) string {
	var b [headerSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return ""
	}
	var h header
	h.parse(&b)
	_, codec, _ := strings.Cut(string(h.text[:min(h.textLen, uint64(len(h.text)))]), codecLayout)
	return codec
}

// GobEncode writes nothing of the queue: it travels as a descriptor.
func (o *ObjectQueue[T]) GobEncode() ([]byte, error) { return []byte{0}, nil }

// GobDecode is the counterpart of GobEncode.
func (o *ObjectQueue[T]) GobDecode([]byte) error { return nil }

func (o *ObjectQueue[T]) encode(v T) ([]byte, error) {
	if o.codec == nil {
		return nil, os.ErrClosed
	}
	if o.raw {
		switch v := any(v).(type) {
		case []byte:
			return v, nil
		case string:
			return stringBytes(v), nil
		}
	}
	if o.name == "" {
		switch o.kind {
		case reflect.Pointer:
			// Of a nil one gob panics, or makes something else.
			for p := reflect.ValueOf(v); p.Kind() == reflect.Pointer; p = p.Elem() {
				if p.IsNil() {
					return nil, fmt.Errorf("shm: ObjectQueue of %T: gob carries no nil pointer: %w", v, unix.EINVAL)
				}
			}
		case reflect.Interface: // it is decoded as one, so it goes as one
			boxed := v
			return o.codec.Marshal(&boxed)
		}
	}
	return o.codec.Marshal(v)
}

func (o *ObjectQueue[T]) decode(msg []byte) (v T, err error) {
	if o.raw {
		switch p := any(&v).(type) {
		case *[]byte:
			*p = msg
		case *string:
			*p = string(msg)
		}
		return v, nil
	}
	err = o.codec.Unmarshal(msg, &v)
	if err == nil {
		return v, nil
	}
	if errors.Is(err, io.EOF) { // a message's end is no end of the stream
		err = io.ErrUnexpectedEOF
	}
	var none T
	return none, fmt.Errorf("%w: %d bytes for a %T: %w", ErrUndecodable, len(msg), v, err)
}
