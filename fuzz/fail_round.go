package fuzz

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Round is one round of [FailEach].
type Round func(fail func(op func() error) error) error

// Making is the round of what makes something: if it fails, the second try must
// do, and what it made must serve. use may be nil. Close undoes all that make does:
// where that leaves a name, T is a type of the test's own, whose Close takes it away.
func Making[T io.Closer](make func() (T, error), use func(T) error) Round {
	return func(fail func(op func() error) error) error {
		var made T
		err := fail(func() (err error) { made, err = make(); return err })
		if err != nil {
			if made, err = make(); err != nil {
				return fmt.Errorf("the second try: %w", err)
			}
		}
		return errors.Join(serves(made, use), made.Close())
	}
}

// Using is the round of an operation on what make makes: if it fails, the second
// try must do, and the object must serve. use may be nil.
func Using[T io.Closer](make func() (T, error), op, use func(T) error) Round {
	return Blocking(make, op, nil, use)
}

// Blocking is [Using] of an operation that blocks until free, which is called from
// another goroutine a moment later, when whoever looks before he sleeps is asleep.
// The second try may come before or after that.
func Blocking[T io.Closer](create func() (T, error), op, free, use func(T) error) Round {
	return func(fail func(op func() error) error) error {
		made, err := create()
		if err != nil {
			return err
		}
		freed := make(chan error, 1)
		if free == nil {
			freed <- nil
		} else {
			time.AfterFunc(blockFor, func() { freed <- free(made) })
		}
		if fail(func() error { return op(made) }) != nil {
			if err = op(made); err != nil {
				err = fmt.Errorf("the second try: %w", err)
			}
		}
		if err = errors.Join(err, <-freed); err == nil {
			err = serves(made, use)
		}
		return errors.Join(err, made.Close())
	}
}

// blockFor is how long an operation of [Blocking] blocks.
const blockFor = 2 * time.Millisecond

func serves[T any](made T, use func(T) error) error {
	if use == nil {
		return nil
	}
	if err := use(made); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	return nil
}
