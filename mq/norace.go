//go:build !race

package mq

func raceRelease() {}
func raceAcquire() {}
