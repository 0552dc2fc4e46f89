package pipe

import "golang.org/x/sys/unix"

// ended says whether a read of 0 bytes from a pipe or FIFO was the end. read(2)
// returns 0 when the writers have gone and also when the first is yet to come;
// poll(2) knows which. A writer that came, wrote and went between the two
// calls has left bytes, and an event that lets the poller return at once.
//
// But poll takes no lock: it looks for bytes and then for writers, and one may
// come, write and go between. What was written before a poll that finds them gone
// is there for the next one.
func ended(fd int) bool {
	for range 2 {
		events, err := pollIn(fd)
		if err != nil {
			return true
		}
		if events&(unix.POLLHUP|unix.POLLIN) != unix.POLLHUP {
			return false
		}
	}
	return true
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
