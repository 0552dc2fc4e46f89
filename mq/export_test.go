package mq

import "context"

// A Turn is a turn, for its tests.
type Turn struct{ t turn }

func NewTurn() *Turn                            { return &Turn{turn{pass: make(chan struct{}, 1)}} }
func (t *Turn) Enter(ctx context.Context) error { return t.t.enter(ctx) }
func (t *Turn) TryEnter() bool                  { return t.t.tryEnter() }
func (t *Turn) Leave()                          { t.t.leave() }
