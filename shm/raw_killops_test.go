package shm_test

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/shm"

	"golang.org/x/sys/unix"
)

const killSize = 3 * 4096

// killName is the object of a round: all its processes are children of the
// tester.
func killName() string { return fmt.Sprintf("rawipc-kill-%d", os.Getppid()) }

// whole says whether an object is one that Create finishes: of its size, and
// zero.
func whole(o *shm.Object) error {
	m, err := o.Map(0, 0, shm.ReadWrite)
	if err != nil {
		return err
	}
	defer m.Close()
	if len(m.Bytes()) != killSize || !isZero(m.Bytes()) {
		return errorf("half an object: %d bytes", len(m.Bytes()))
	}
	return nil
}

// opened opens the object, if there is one, and looks whether it is whole.
func opened(name string) error {
	o, err := shm.Open(name, nil)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	return errors.Join(whole(o), o.Close())
}

// clear removes what is left of a round, or of a run that was ended. It is Init.
func clear(name string) error {
	if err := os.Remove("/dev/shm/" + name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// nothing says whether no name is left that begins with one of these.
func nothing(prefixes ...string) error {
	for _, p := range prefixes {
		names, err := shm.Sweep(p)
		if err != nil || len(names) != 0 {
			return errorf("left behind: %v, %v", names, err)
		}
	}
	return nil
}

// next is what the next process does after a death: it opens or creates, at the
// first try, and the object is whole; nobody holds it but a victim who lives.
func next(name string, died bool) error {
	o, err := shm.Open(name, nil)
	if errors.Is(err, os.ErrNotExist) {
		o, err = shm.Create(name, killSize, nil)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(whole(o), o.Close()); err != nil {
		return err
	}
	if !died {
		return shm.Unlink(name)
	}
	if names, err := shm.Sweep(name); err != nil || !slices.Equal(names, []string{name}) {
		return errorf("swept %v, %v", names, err)
	}
	return nil
}

// about are the peers of a creation: one opens, one creates too, one sweeps.
func about(name string) []fuzz.Cast {
	at := func(what string, run func() error) fuzz.Cast {
		return fuzz.Cast{Name: what, Peers: []fuzz.Peer{{Name: what, When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
			err := run()
			c.Ready()
			return err
		}}}}
	}
	return []fuzz.Cast{
		{Name: "nobody"},
		at("opener", func() error { return opened(name) }),
		at("creator", func() error {
			o, err := shm.Create(name, killSize, nil)
			if errors.Is(err, os.ErrExist) {
				return opened(name)
			}
			if err != nil {
				return err
			}
			return errors.Join(whole(o), o.Close())
		}),
		at("sweeper", func() error { // the victim lives, so it must spare everything
			return nothing(name)
		}),
	}
}

func creation(unnamed bool) func(*fuzz.Segment) fuzz.Op {
	return func(*fuzz.Segment) fuzz.Op {
		name, back := killName(), func() {}
		if !unnamed {
			back = shm.WithoutUnnamed()
		}
		var o *shm.Object
		casts := about(name)
		if !unnamed {
			casts = []fuzz.Cast{casts[0], casts[2]} // who else clears drafts away
		}
		return fuzz.Op{
			Init: func() error { return clear(name) },
			Do: func() (err error) {
				if o, err = shm.Create(name, killSize, nil); errors.Is(err, os.ErrExist) {
					err = nil // the creator was first
				}
				return err
			},
			Check: func(died bool) error {
				if err := next(name, died); err != nil {
					return err
				}
				if unnamed {
					return nothing(name)
				}
				// The next Create clears away what a dead one left.
				o, err := shm.Create(name, killSize, nil)
				if err != nil {
					return err
				}
				err = errors.Join(o.Close(), shm.Unlink(name))
				left, err2 := os.ReadDir("/dev/shm")
				for _, e := range left {
					if len(e.Name()) > len(shm.DraftPrefix) && e.Name()[:len(shm.DraftPrefix)] == shm.DraftPrefix {
						err = errors.Join(err, errorf("a draft is left: %s", e.Name()))
					}
				}
				return errors.Join(err, err2)
			},
			Close: func() error {
				back()
				if o != nil {
					o.Close()
				}
				return nil
			},
			Casts: casts,
		}
	}
}

var (
	killCreate      = fuzz.RegisterOp("shm.Create", 4096, creation(true))
	killCreateDraft = fuzz.RegisterOp("shm.Create-named-drafts", 4096, creation(false))

	killTakeOver = fuzz.RegisterOp("shm.Create-Truncate", 4096, func(*fuzz.Segment) fuzz.Op {
		name, attr := killName(), &shm.Attr{Truncate: true}
		var o *shm.Object
		return fuzz.Op{
			Init: func() error { return stale(name, 4096) },
			Do:   func() (err error) { o, err = shm.Create(name, killSize, attr); return err },
			Check: func(died bool) error {
				if !died {
					return errors.Join(opened(name), shm.Unlink(name))
				}
				// The old object, an empty one, or the new one; and it can be
				// taken over again.
				var st unix.Stat_t
				if err := unix.Lstat("/dev/shm/"+name, &st); err != nil || st.Size != 4096 && st.Size != 0 && st.Size != killSize {
					return errorf("%d bytes, %v", st.Size, err)
				}
				o, err := shm.Create(name, killSize, attr)
				if err != nil {
					return err
				}
				return errors.Join(whole(o), o.Close(), next(name, true))
			},
			Close: func() error {
				if o != nil {
					o.Close()
				}
				return nil
			},
		}
	})

	killSweep = fuzz.RegisterOp("shm.Sweep", 4096, removal(func(name string) error { return second(shm.Sweep(name)) }))

	// The same by C's way: the name first, then the memory.
	killNaive = fuzz.RegisterOp("create-name-first", 4096, func(*fuzz.Segment) fuzz.Op {
		name := killName()
		return fuzz.Op{
			Init:  func() error { return clear(name) },
			Do:    func() error { return naive("/dev/shm/" + name) },
			Check: func(died bool) error { return errors.Join(next(name, died), clear(name)) },
		}
	})

	killUnlink = fuzz.RegisterOp("shm.Unlink", 4096, removal(shm.Unlink))
)

func naive(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, killSize); err != nil {
		return err
	}
	if err := unix.Flock(fd, unix.LOCK_SH); err != nil {
		return err
	}
	if err := unix.Fsetxattr(fd, "user.rawipc", []byte{1}, 0); err != nil {
		return err
	}
	return unix.Close(fd)
}

// stale makes an object that nobody uses.
func stale(name string, size int64) error {
	if err := clear(name); err != nil {
		return err
	}
	o, err := shm.Create(name, size, nil)
	if err != nil {
		return err
	}
	return o.Close()
}

// removal is an operation that removes a name: the next one does it, if need be.
func removal(do func(name string) error) func(*fuzz.Segment) fuzz.Op {
	return func(*fuzz.Segment) fuzz.Op {
		name := killName()
		return fuzz.Op{
			Init: func() error { return stale(name, killSize) },
			Do:   func() error { return do(name) },
			Check: func(died bool) error {
				if !died {
					return nothing(name)
				}
				return errors.Join(opened(name), next(name, true))
			},
			Casts: []fuzz.Cast{{Name: "nobody"}, {Name: "opener", Peers: []fuzz.Peer{{
				Name: "opener", When: fuzz.AtPoint, Run: func(c *fuzz.Cue) error {
					err := opened(name)
					if errors.Is(err, unix.EBUSY) {
						err = nil // the victim stands there with its lock
					}
					c.Ready()
					return err
				}}}}},
		}
	}
}
