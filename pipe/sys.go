package pipe

import "golang.org/x/sys/unix"

// hungUp tells a FIFO whose writers have gone from one whose first writer is yet
// to come: read(2) returns 0 for both, poll(2) knows.
func hungUp(fd int) bool {
	events, err := pollIn(fd)
	return err != nil || events&unix.POLLHUP != 0
}

// pollIn looks, without waiting, what a reader of the descriptor would find.
func pollIn(fd int) (int16, error) {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds[:], 0)
		if err != unix.EINTR {
			return fds[0].Revents, err
		}
	}
}
