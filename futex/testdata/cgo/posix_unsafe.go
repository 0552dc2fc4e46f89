package main

/*
#cgo LDFLAGS: -pthread
#include <errno.h>
#include <pthread.h>

static int init(void *p)
{
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	return pthread_mutex_init(p, &a);
}

static int lock(void *p) { return pthread_mutex_lock(p); }
static int unlock(void *p) { return pthread_mutex_unlock(p); }
static int consistent(void *p) { return pthread_mutex_consistent(p); }
*/
import "C"

import (
	"syscall"
	"unsafe"
)

// posixMutex is memory that begins with a mutex of glibc's.
type posixMutex []byte

func (m posixMutex) at() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(m)) }

func (m posixMutex) init() error       { return errno(C.init(m.at())) }
func (m posixMutex) lock() error       { return errno(C.lock(m.at())) }
func (m posixMutex) unlock() error     { return errno(C.unlock(m.at())) }
func (m posixMutex) consistent() error { return errno(C.consistent(m.at())) }

func errno(n C.int) error {
	if n == 0 {
		return nil
	}
	return syscall.Errno(n)
}
