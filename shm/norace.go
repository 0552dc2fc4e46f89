//go:build !race

package shm

const raceEnabled = false

func raceAcquire() {}
func raceRelease() {}

func (s *seat) free() { storePlain(&s.state, seatFree) }
