//go:build !amd64 && !arm64

package shm

const prefetchAhead = 256

func willStore[T any](s []T, i uint64) {}
