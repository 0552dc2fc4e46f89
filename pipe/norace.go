//go:build !race

package pipe

func raceRelease() {}
func raceAcquire() {}
