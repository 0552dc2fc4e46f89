package shm

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"sync"
)

// A Codec makes messages of values. Its methods may be called concurrently.
// Unmarshal gets a pointer, and a message that it may keep; the message may
// come from a peer that wishes no good.
type Codec interface {
	// Marshal returns v as bytes, Unmarshal puts those into what v points to.
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error
}

var codecs struct {
	sync.Mutex
	by map[string]Codec
}

const maxCodecName = 255 // it stands in the header

// RegisterCodec makes a codec known under a name, which stands in the header of
// the queues that use it, and in the Config of a pool. Call it before such queues
// are made, opened or taken over, as a rule from a package variable or main. It
// panics on an empty name, a nil codec, and a name that is taken.
func RegisterCodec(name string, c Codec) {
	codecs.Lock()
	defer codecs.Unlock()
	bad := ""
	switch {
	case name == "":
		bad = "the name is empty"
	case len(name) > maxCodecName:
		bad = fmt.Sprintf("a name of %d bytes, want %d at most", len(name), maxCodecName)
	case c == nil:
		bad = "nil Codec"
	case codecs.by[name] != nil:
		bad = fmt.Sprintf("the name is taken by a %T", codecs.by[name])
	}
	if bad != "" {
		panic(fmt.Sprintf("shm: RegisterCodec(%q): %s", name, bad))
	}
	if codecs.by == nil {
		codecs.by = make(map[string]Codec)
	}
	codecs.by[name] = c
}

// LookupCodec returns the codec that was registered under a name, and
// encoding/gob for the empty one. The error names a codec that this process
// does not have. It does not block and may be called concurrently.
func LookupCodec(name string) (Codec, error) {
	if name == "" {
		return gobCodec{}, nil
	}
	codecs.Lock()
	defer codecs.Unlock()
	if c := codecs.by[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("shm: no codec %q is registered here", name)
}

// gobCodec is the codec without a name. A message stands alone: it begins with
// the descriptions of its types.
type gobCodec struct{}

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}
