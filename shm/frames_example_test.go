package shm_test

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

const frameSize = 1 << 20

// camera writes frames where the reader will look at them.
var camera = proc.Register("camera", func(ctx context.Context, w *shm.RingWriter) error {
	for shot := range byte(5) {
		frame, err := w.Reserve(ctx, frameSize) // shared memory: what lands here is sent
		if err != nil {
			return err
		}
		for i := range frame {
			frame[i] = shot
		}
		w.Commit(frameSize)
	}
	return w.CloseSend()
})

// Frames of 1 MiB go from one process to another without being copied: the
// writer fills the ring's own memory, the reader looks at it there.
func ExampleRingWriter_Reserve() {
	ctx := context.Background()
	w, r, err := shm.NewRing(4 * frameSize)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close()
	defer r.Close()
	p, err := camera.Start(ctx, w)
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		frame, err := r.Peek(ctx) // valid until Advance
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(frame), frame[0], frame[len(frame)-1])
		r.Advance()
	}
	if _, err := p.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 1048576 0 0
	// 1048576 1 1
	// 1048576 2 2
	// 1048576 3 3
	// 1048576 4 4
}
