//go:build !race

package futex

func raceAcquire() {}
func raceRelease() {}
