package pipe

import (
	"context"
	"time"
)

// ParseControl is parseControl for its fuzz test.
var ParseControl = parseControl

// A Turn is a turn, for its tests.
type Turn struct{ t turn }

func NewTurn() *Turn                            { return &Turn{turn{pass: make(chan struct{}, 1)}} }
func (t *Turn) Enter(ctx context.Context) error { return t.t.enter(ctx) }
func (t *Turn) TryEnter() bool                  { return t.t.tryEnter() }
func (t *Turn) Leave()                          { t.t.leave() }

// Receivers are how many receive, or wait for their turn to.
func (c *Conn) Receivers() int { return int(c.in.state.Load()+taken) / waiter }

// Rest is how long a receiver parks at once after its latest look in vain, and
// whether that time is now; nobody may receive meanwhile.
func (c *Conn) Rest() (rest time.Duration, resting bool) {
	return c.in.rest, time.Since(began) < c.in.until
}

// The constants of looking.
const (
	MinRest = minRest
	MaxRest = maxRest
)

// Watched says whether the poller watches for the receiver; nobody may receive
// meanwhile.
func (c *Conn) Watched() bool { return c.in.watched }

const CalmCalls = calmCalls

// A Looker is a line that looks for what try finds, and never parks.
type Looker struct{ l line }

type tryFunc func() bool

func (f tryFunc) attempt(uintptr) bool { return f() }

func NewLooker(try func() bool) *Looker {
	return &Looker{line{d: new(descriptor), try: tryFunc(try)}}
}

func (k *Looker) Look(ctx context.Context) bool { return k.l.glance() || k.l.look(ctx) }
func (k *Looker) Rest() time.Duration           { return k.l.rest }

// TooLong is after how long a look was in vain though it found something.
const TooLong = tooLong

// ASlice is from when on it was not the peer alone that took it.
const ASlice = aSlice
