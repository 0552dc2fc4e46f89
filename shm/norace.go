//go:build !race

package shm

func raceAcquire() {}
func raceRelease() {}

func (s *seat) free() { storePlain(&s.state, seatFree) }
