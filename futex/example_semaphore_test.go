package futex_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rawipc/rawipc/futex"
	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

// printers are two printers for five processes.
type printers struct {
	Free          futex.Semaphore
	Busy, Busiest atomic.Int32
	Printed       [5]atomic.Bool
}

type printJob struct {
	Printers *shm.Shared[printers]
	Number   int
}

var printPage = proc.Register("printPage", func(ctx context.Context, job printJob) error {
	p := job.Printers.Ptr()
	if err := p.Free.Acquire(ctx); err != nil {
		return err
	}
	busy := p.Busy.Add(1)
	for most := p.Busiest.Load(); busy > most && !p.Busiest.CompareAndSwap(most, busy); {
		most = p.Busiest.Load()
	}
	time.Sleep(20 * time.Millisecond)
	p.Printed[job.Number].Store(true)
	p.Busy.Add(-1)
	return p.Free.Release()
})

// Five worker processes share what is there twice.
func ExampleSemaphore() {
	ctx := context.Background()
	s, err := shm.New(func(p *printers) error { return p.Free.Init(2, 2) })
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	var workers [5]*proc.Process
	for i := range workers {
		if workers[i], err = printPage.Start(ctx, printJob{s, i}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for i, w := range workers {
		if _, err := w.Wait(ctx); err != nil {
			fmt.Println(err)
		}
		fmt.Println("page", i, "printed:", s.Ptr().Printed[i].Load())
	}
	fmt.Println("more than two at once:", s.Ptr().Busiest.Load() > 2)
	fmt.Println("free at the end:", s.Ptr().Free.Value())
	// Output:
	// page 0 printed: true
	// page 1 printed: true
	// page 2 printed: true
	// page 3 printed: true
	// page 4 printed: true
	// more than two at once: false
	// free at the end: 2
}
