//go:build !amd64

package shm

const stringCopy = false

func moveString(dst, src []byte) { copy(dst, src) }
