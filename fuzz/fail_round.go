package fuzz

import (
	"errors"
	"fmt"
	"io"
)

// Round is one round of [FailEach].
type Round func(fail func(op func() error) error) error

// Making is the round of what makes something: if it fails, the second try must
// do, and what it made must serve. use may be nil.
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
	return func(fail func(op func() error) error) error {
		made, err := make()
		if err != nil {
			return err
		}
		if fail(func() error { return op(made) }) != nil {
			if err := op(made); err != nil {
				return errors.Join(fmt.Errorf("the second try: %w", err), made.Close())
			}
		}
		return errors.Join(serves(made, use), made.Close())
	}
}

func serves[T any](made T, use func(T) error) error {
	if use == nil {
		return nil
	}
	if err := use(made); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	return nil
}
