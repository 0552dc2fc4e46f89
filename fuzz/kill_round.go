package fuzz

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// round is what one round found.
type round struct {
	halt    halt
	trail   []mark // the points passed before the halt
	took    time.Duration
	pc      uint64 // of the instruction, or of the one of ours that led there
	call    string // at which it stands
	stuck   []string
	corrupt []string
	words   string
}

func (r *round) judge(who string, err error) {
	switch {
	case err == nil:
	case errors.Is(err, errLate):
		r.stuck = append(r.stuck, who)
	default:
		r.corrupt = append(r.corrupt, who+": "+err.Error())
	}
}

func (r *round) well() bool { return len(r.stuck)+len(r.corrupt) == 0 }

// play plays one round in which the victim is halted at a point. An error
// says that the round could not be played.
func (s *stage) play(to mark) (r round, err error) {
	err = s.open()
	if err == nil {
		err = s.perform(to, &r)
	}
	r.words = s.words()
	return r, errors.Join(err, s.shut(err == nil && r.well()))
}

func (s *stage) perform(to mark, r *round) error {
	for i := range s.parts {
		s.parts[i].started = false
	}
	b, v := s.players[bystander], s.players[victim]
	if _, err := b.ask(message{Do: "init"}, soon()); err != nil {
		return fmt.Errorf("fuzz: Init: %w", err)
	}
	if err := s.enter(Early, r); err != nil {
		return err
	}
	m, err := v.ask(message{Do: "prepare"}, soon())
	if err != nil {
		return fmt.Errorf("fuzz: Prepare: %w", err)
	}
	v.tid = m.Tid
	if err := s.enter(Asleep, r); err != nil {
		return err
	}
	t, err := attach(v, s.code, s.cpu, s.opts.Patience)
	if err == nil {
		t.at, t.calm = s.opts.At, s.calm
		err = s.halt(t, to, r)
	}
	if err != nil {
		if t != nil {
			s.execute(t)
		}
		return err
	}
	s.end(t, r)
	return nil
}

// halt brings the victim to the point and the peers to where it stands.
func (s *stage) halt(t *tracer, to mark, r *round) (err error) {
	v := t.player
	v.send(message{Do: "do"}, nil)
	var lost error
	r.halt, err = t.walk(to, func() {
		lost = errors.Join(lost, s.enter(Behind, r))
		s.announce("blocked")
	}, func() bool {
		v.pump(0)
		return slices.ContainsFunc(v.inbox, func(m message) bool { return m.Do == "do" })
	})
	r.pc, r.trail, r.took = t.pc, t.trail, t.took
	if r.halt == atPoint && s.opts.At != Instructions {
		r.pc = t.ourCaller()
	}
	if r.halt == atPoint && s.opts.At == Calls {
		r.call = callName(t.callNumber())
	}
	s.steps += t.steps
	if err = errors.Join(err, lost); err != nil {
		return err
	}
	if s.pause && r.halt == asleepAtPoint {
		if err := t.interrupt(); err != nil {
			return err
		}
	}
	return s.enter(AtPoint, r)
}

// end kills the victim, or lets it go on, and collects what everybody saw.
func (s *stage) end(t *tracer, r *round) {
	v, died := t.player, true
	switch {
	case r.halt == neverWoken:
		r.stuck = append(r.stuck, "the victim, asleep in Do")
		s.execute(t)
	case r.halt != finished && !s.pause:
		s.execute(t)
	default:
		died = false
		r.judge("the tracer", t.release())
	}
	s.announce("over")
	if !died {
		r.judge("Do", s.outcome(v, "do", -1))
	}
	for i, p := range s.parts {
		if pl := s.players[p.player]; pl != nil && p.started {
			r.judge(p.Name, s.outcome(pl, "peer", i))
		}
	}
	b := s.players[bystander]
	b.send(message{Do: "check", Died: died}, nil)
	r.judge("Check", s.outcome(b, "check", -1))
}

// execute kills the victim's process, and waits until it is no more.
func (s *stage) execute(t *tracer) {
	t.proc.Kill()
	t.reap()
	t.kill()
	s.players[victim] = nil
}

// outcome waits for the end of a part. Who rests when patience is over is stuck, if
// all rest: who runs is only slow, on a busy machine, and gets more time, and so does
// who may wait for him.
func (s *stage) outcome(p *player, do string, peer int) error {
	for limit := soon(); ; {
		_, err := p.await(time.Now().Add(s.opts.Patience), do, peer)
		if !errors.Is(err, errLate) {
			return err
		}
		if s.calm() || time.Now().After(limit) {
			// It may have come to rest because it was through.
			_, err := p.await(time.Now().Add(time.Millisecond), do, peer)
			return err
		}
	}
}

// calm reports whether all players rest for some looks on end.
func (s *stage) calm() bool {
	for range calmLooks {
		for _, p := range s.players {
			if p == nil || p.gone {
				continue
			}
			if _, rest, _ := p.sleepers(-1); !rest {
				return false
			}
		}
		time.Sleep(200 * time.Microsecond)
	}
	return true
}

// calmLooks is at how many looks on end all threads must be found at rest. They
// are looked at one after the other: one that wakes another and goes to sleep
// can miss being seen in a single look.
const calmLooks = 8

// enter starts the peers of one moment, one after the other, and waits until
// each has got where it should be.
func (s *stage) enter(when When, r *round) error {
	inside := 0
	for i := range s.parts {
		p := &s.parts[i]
		if p.When != when || p.started {
			continue
		}
		p.started = true
		pl, sleepers := s.players[p.player], 1
		if p.Inside {
			inside++
			sleepers = inside
		}
		pl.send(message{Do: "peer", Cast: s.cast, Peer: i}, nil)
		err := s.settled(p, pl, i, sleepers)
		if errors.Is(err, errLate) {
			r.judge(p.Name+", while the victim stood", err)
		} else if err != nil {
			return fmt.Errorf("fuzz: peer %q: %w", p.Name, err)
		}
		if p.Dies && !p.Inside {
			pl.kill()
			s.players[p.player] = nil
		}
	}
	return nil
}

// settled waits until a peer is ready, asleep or through. Those who sleep in
// one process are told by their number. errLate: it sleeps and should not.
func (s *stage) settled(p *part, pl *player, i, sleepers int) error {
	except := -1
	if p.player == victim {
		except = pl.tid
	}
	start, calm := time.Now(), 0
	for {
		if _, ok := pl.take("ready", i); ok {
			return nil
		}
		if slices.ContainsFunc(pl.inbox, func(m message) bool { return m.Do == "peer" && m.Peer == i }) {
			return nil // what it says is judged when the round is over
		}
		took := time.Since(start)
		if p.When != Early {
			n, rest, _ := pl.sleepers(except)
			if calm++; !rest {
				calm = 0
			}
			rest = calm >= calmLooks
			mustMove := s.pause && s.opts.Progress && p.When == AtPoint
			switch {
			case !mustMove && (n >= sleepers || rest && took > settle[inCall]):
				return nil
			case mustMove && rest && took > s.opts.Patience:
				return errLate
			}
		}
		switch {
		case pl.gone:
			return errors.New("its process ended")
		case took > bootTime && p.When == Early:
			return fmt.Errorf("it neither called Cue.Ready nor returned in %v, which is what an Early peer is waited for", bootTime)
		case took > bootTime:
			return fmt.Errorf("neither ready nor asleep nor through after %v", bootTime)
		}
		pl.pump(200 * time.Microsecond)
	}
}
