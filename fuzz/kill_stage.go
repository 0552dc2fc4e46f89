package fuzz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// stage is where the rounds of one scenario are played. Its methods run on the
// tracer's locked thread.
type stage struct {
	sc      *Scenario
	opts    Options
	pause   bool
	code    *codeMap
	crew    *crew
	cpu     int
	casts   []castInfo // as the bystander reports them
	cast    int        // the cast that is on
	parts   []part
	players []*player // nil: to be hired
	mem     []byte    // this round's segment
	file    *os.File
	steps   int
}

// Who is who among the players.
const (
	bystander = iota
	victim
	firstPeer
)

// part is one peer of the cast.
type part struct {
	peerInfo
	player  int
	started bool
}

// learn asks a helper for the scenario's casts.
func (s *stage) learn() error {
	s.players = make([]*player, 1) // the bystander
	err := s.open()
	return errors.Join(err, s.shut(err == nil))
}

// setCast gives the parts of a cast to players.
func (s *stage) setCast(i int, c castInfo) error {
	s.cast, s.parts = i, nil
	need := firstPeer
	for _, p := range c.Peers {
		pt := part{peerInfo: p, player: victim}
		if !p.Inside {
			pt.player = need
			need++
		}
		s.parts = append(s.parts, pt)
	}
	err := s.leave()
	s.players = make([]*player, need)
	return err
}

// leave dismisses all players.
func (s *stage) leave() error {
	var errs []error
	for _, p := range s.players {
		if p != nil {
			errs = append(errs, p.leave())
		}
	}
	s.players = nil
	return errors.Join(errs...)
}

// open makes the segment of a round and gives it to every player, hiring
// where one is missing.
func (s *stage) open() error {
	fd, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	s.file = os.NewFile(uintptr(fd), "memfd:fuzz")
	if err := unix.Ftruncate(fd, int64(s.sc.size)); err != nil {
		return os.NewSyscallError("ftruncate", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if s.mem, err = unix.Mmap(fd, 0, s.sc.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	order := message{Do: "segment", Op: s.sc.name, Size: s.sc.size}
	for i, p := range s.players {
		if p == nil {
			if p, err = s.crew.hire(); err != nil {
				return err
			}
			s.players[i] = p
		}
		p.send(order, s.file)
	}
	for _, p := range s.players {
		m, err := p.await(soon(), "segment", -1)
		if err != nil {
			return fmt.Errorf("fuzz: building scenario %q: %w", s.sc.name, err)
		}
		p.addr, p.size, s.casts = m.Addr, m.Size, m.Casts
	}
	return nil
}

// shut ends a round. Players of a round that went well close their side and
// stay; else they are killed, since some of them may never answer.
func (s *stage) shut(well bool) error {
	var errs []error
	for _, p := range s.players {
		if well && p != nil {
			p.send(message{Do: "close"}, nil)
		}
	}
	for i, p := range s.players {
		if p == nil {
			continue
		}
		if well {
			if _, err := p.await(soon(), "close", -1); err != nil {
				errs = append(errs, fmt.Errorf("fuzz: Close: %w", err))
			}
			p.inbox = nil
		} else {
			p.kill()
			s.players[i] = nil
		}
	}
	if s.mem != nil {
		unix.Munmap(s.mem)
	}
	if s.file != nil {
		s.file.Close()
	}
	s.mem, s.file = nil, nil
	return errors.Join(errs...)
}

// announce gives a cue to all.
func (s *stage) announce(cue string) {
	for _, p := range s.players {
		if p != nil {
			p.send(message{Do: cue}, nil)
		}
	}
}

// words shows what the segment holds.
func (s *stage) words() string {
	const most = 12
	text, n := "", 0
	for off := 0; off+8 <= len(s.mem) && n < most; off += 8 {
		if w := binary.NativeEndian.Uint64(s.mem[off:]); w != 0 {
			text += fmt.Sprintf(" +%#x:%#x", off, w)
			n++
		}
	}
	return text
}

func soon() time.Time { return time.Now().Add(bootTime) }
