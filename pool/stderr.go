package pool

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// tailSize is how much of a worker's standard error a WorkerError shows.
const tailSize = 4 << 10

// stderr is the reading end of a worker's standard error.
type stderr struct {
	file *os.File
	pid  atomic.Int64
	done chan struct{} // closed when all was read

	mu   sync.Mutex
	tail []byte
}

// forward makes a pipe for a worker's standard error, and a goroutine that
// writes its lines to where the pool's shall go, until the pipe ends.
func (p *Pool) forward() (*stderr, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	to := p.cfg.Stderr
	if to == nil {
		to = os.Stderr
	}
	s := &stderr{file: r, done: make(chan struct{})}
	p.keeper.Go(func() {
		defer close(s.done)
		defer r.Close()
		for in := bufio.NewReader(r); ; {
			line, err := in.ReadSlice('\n') // or a piece of a very long one
			if len(line) > 0 {
				s.keep(line)
				p.stderr.Lock()
				fmt.Fprintf(to, "[worker %d] %s\n", s.pid.Load(), bytes.TrimSuffix(line, []byte("\n")))
				p.stderr.Unlock()
			}
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
		}
	})
	return s, w, nil
}

func (s *stderr) keep(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tail = append(s.tail, line...)
	if over := len(s.tail) - tailSize; over > 0 {
		s.tail = append(s.tail[:0], s.tail[over:]...)
	}
}

// wait waits until all was read that a dead worker wrote. What it started may
// have the pipe still: that is not waited for.
func (s *stderr) wait() {
	s.file.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	select {
	case <-s.done:
	case <-time.After(time.Second): // the user's writer is slow
	}
}

func (s *stderr) last() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.tail)
}
