package pool

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
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
	s := &stderr{file: r, done: make(chan struct{})}
	if err != nil {
		return nil, nil, err
	}
	p.others.Go(func() {
		defer close(s.done)
		defer r.Close()
		for in := bufio.NewReader(r); err == nil || err == bufio.ErrBufferFull; {
			var line []byte
			line, err = in.ReadSlice('\n') // or a piece of a very long one
			if len(line) > 0 {
				s.mu.Lock()
				s.tail = append(s.tail, line...)
				s.tail = slices.Delete(s.tail, 0, max(0, len(s.tail)-tailSize))
				s.mu.Unlock()
				p.stderr.Lock()
				fmt.Fprintf(p.cfg.Stderr, "[worker %d] %s\n", s.pid.Load(), bytes.TrimSuffix(line, []byte("\n")))
				p.stderr.Unlock()
			}
		}
	})
	return s, w, nil
}

// read waits until all was read that a dead worker wrote, and returns the end of
// it. What the worker started may have the pipe still: that is not waited for.
func (s *stderr) read() []byte {
	s.file.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	select {
	case <-s.done:
	case <-time.After(time.Second): // the user's writer is slow
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.tail)
}

// Close gives up what is still unread.
func (s *stderr) Close() error {
	s.read()
	return nil
}
