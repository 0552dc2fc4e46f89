//go:build !race

package mq_test

const raceEnabled = false
