package mq

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// This file turns the kernel's limits into errors that name them.

const (
	maxPrio   = 32767 // MQ_PRIO_MAX - 1
	perBuffer = 96    // what the kernel charges for a message beside its bytes
)

// sysctl reads a limit of this IPC namespace.
func sysctl(name string, otherwise int) int {
	b, err := os.ReadFile("/proc/sys/fs/mqueue/" + name)
	if err != nil {
		return otherwise
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return otherwise
	}
	return n
}

// explainCreate says which limit an errno of mq_open with O_CREAT is about.
func explainCreate(err error, a Attr) error {
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%d messages of %d bytes: from 1 to %d messages (raised by sysctl fs.mqueue.msg_max) of 1 to %d bytes (sysctl fs.mqueue.msgsize_max): %w",
			a.MaxMessages, a.MessageSize, sysctl("msg_max", 10), sysctl("msgsize_max", 8192), err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("there are %d queues already (raised by sysctl fs.mqueue.queues_max): %w", sysctl("queues_max", 256), err)
	case errors.Is(err, unix.EMFILE) && descriptorsLeft():
		var lim unix.Rlimit
		if lerr := unix.Getrlimit(unix.RLIMIT_MSGQUEUE, &lim); lerr != nil {
			lim.Cur = 0
		}
		return fmt.Errorf("no room for a queue of %d bytes: all queues of a user may have %d (not descriptors: RLIMIT_MSGQUEUE, raised by ulimit -q): %w",
			a.MaxMessages*(a.MessageSize+perBuffer), lim.Cur, err)
	}
	return explainOpen(err)
}

func explainOpen(err error) error {
	if errors.Is(err, unix.EMFILE) {
		return fmt.Errorf("the process has no descriptors left (RLIMIT_NOFILE, raised by ulimit -n): %w", err)
	}
	return err
}

// descriptorsLeft tells the two meanings of EMFILE apart, by trying.
func descriptorsLeft() bool {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}
