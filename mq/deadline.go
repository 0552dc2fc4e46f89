package mq

import "time"

// SetDeadline sets the time at which every Send and Recv, now or later, ends with
// [os.ErrDeadlineExceeded]; the zero time means never. The time runs on the
// monotonic clock: setting the system's clock doesn't change it.
func (q *Queue) SetDeadline(t time.Time) error {
	if err := q.SetReadDeadline(t); err != nil {
		return err
	}
	return q.SetWriteDeadline(t)
}

// SetReadDeadline is [Queue.SetDeadline] for receiving.
func (q *Queue) SetReadDeadline(t time.Time) error {
	if err := q.ready(); err != nil {
		return err
	}
	return q.in.setUser(t)
}

// SetWriteDeadline is [Queue.SetDeadline] for sending.
func (q *Queue) SetWriteDeadline(t time.Time) error {
	if err := q.ready(); err != nil {
		return err
	}
	return q.out.setUser(t)
}
