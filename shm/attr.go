package shm

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// ErrOwner is what opening returns for a name that leads to what it should not:
// an object of another user, of more than one name, or that lets in more people
// than was allowed. The error that wraps it says which, and is fs.ErrPermission
// too.
var ErrOwner = errors.New("shm: not an object of this user alone")

// An Attr says what may differ from the defaults. A nil *Attr stands for all of
// them.
type Attr struct {
	// Mode has the permission bits of a new object, from which the umask takes
	// away; 0: 0600, its user alone. For an object that is opened they are
	// the most that it may grant, else the error is ErrOwner; 0: whatever its
	// owner granted.
	//
	// An anonymous object has no name by which others could get at it, and
	// keeps the kernel's mode unless one is given.
	Mode fs.FileMode

	// Owners are the ids of the users, beside this process's own effective
	// one, whose objects may be opened.
	Owners []int

	// Truncate lets Create take over an object that is there already and that
	// no user of this package has open: it is emptied and gets the new size,
	// and keeps its mode and owner. Where somebody has it open the error is
	// EBUSY. Users in C and Python can't be seen; they would fault.
	Truncate bool

	// Growable lets an anonymous object grow, see [Object.Grow]. A named one
	// always can.
	Growable bool

	// ReadOnlyPeers makes an anonymous object that only the Object which
	// CreateAnon returned can map for writing, and nobody else ever, by
	// F_SEAL_FUTURE_WRITE. It can't be Growable too.
	ReadOnlyPeers bool

	// AllowUnsealed makes FromFile accept a descriptor whose memory a peer
	// could shrink. Bytes of such memory may fault after the peer did.
	AllowUnsealed bool
}

// orDefault is the Attr that a nil one stands for.
func (a *Attr) orDefault() Attr {
	if a == nil {
		return Attr{}
	}
	return *a
}

// check refuses what has no meaning for a named or an anonymous object.
func (a *Attr) check(named bool) error {
	switch {
	case a.Mode&^0o777 != 0:
		return fmt.Errorf("mode %#o, want permission bits only: %w", uint32(a.Mode), unix.EINVAL)
	case named && a.ReadOnlyPeers:
		return fmt.Errorf("attribute ReadOnlyPeers for a named object, which can't be sealed: %w", unix.EINVAL)
	case !named && a.Truncate:
		return fmt.Errorf("attribute Truncate for an object without a name: %w", unix.EINVAL)
	case a.ReadOnlyPeers && a.Growable:
		return fmt.Errorf("attributes ReadOnlyPeers and Growable: %w", unix.EINVAL)
	}
	return nil
}
