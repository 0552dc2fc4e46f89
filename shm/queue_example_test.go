package shm_test

import (
	"context"
	"fmt"

	"github.com/rawipc/rawipc/proc"
	"github.com/rawipc/rawipc/shm"
)

type squares struct {
	Numbers *shm.Queue[int]
	Squares *shm.Queue[[2]int]
}

var squarer = proc.Register("squarer", func(ctx context.Context, s squares) error {
	for n, err := range s.Numbers.All(ctx) {
		if err != nil {
			return err
		}
		if err := s.Squares.Send(ctx, [2]int{n, n * n}); err != nil {
			return err
		}
	}
	return nil
})

// Two processes take numbers from one queue, whoever is free the next one, and
// send the squares through another.
func ExampleQueue() {
	ctx := context.Background()
	numbers, err := shm.NewQueue[int](16)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer numbers.Close()
	results, err := shm.NewQueue[[2]int](16)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer results.Close()
	var workers []*proc.Process
	for range 2 {
		p, err := squarer.Start(ctx, squares{numbers, results})
		if err != nil {
			fmt.Println(err)
			return
		}
		workers = append(workers, p)
	}
	if _, err := numbers.SendBatch(ctx, []int{1, 2, 3, 4, 5}); err != nil {
		fmt.Println(err)
	}
	if err := numbers.CloseSend(); err != nil { // the workers' loops end
		fmt.Println(err)
	}
	for _, p := range workers {
		if _, err := p.Wait(ctx); err != nil {
			fmt.Println(err)
		}
	}
	if err := results.CloseSend(); err != nil {
		fmt.Println(err)
	}
	for r, err := range results.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r[0], "squared is", r[1])
	}
	// Unordered output:
	// 1 squared is 1
	// 2 squared is 4
	// 3 squared is 9
	// 4 squared is 16
	// 5 squared is 25
}

var reporter = proc.Register("reporter", func(ctx context.Context, log *shm.MessageQueue) error {
	for i := range 3 {
		if err := log.Send(ctx, fmt.Appendf(nil, "step %d is done", i+1)); err != nil {
			return err
		}
	}
	return log.CloseSend()
})

// A child sends lines of any length.
func ExampleMessageQueue() {
	ctx := context.Background()
	log, err := shm.NewMessageQueue(64 << 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer log.Close()
	p, err := reporter.Start(ctx, log)
	if err != nil {
		fmt.Println(err)
		return
	}
	for line, err := range log.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", line)
	}
	if _, err := p.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// step 1 is done
	// step 2 is done
	// step 3 is done
}

type purchase struct {
	Customer string
	Items    map[string]int
}

type counter struct {
	In  *shm.ObjectQueue[purchase]
	Out *shm.ObjectQueue[string]
}

var shopkeeper = proc.Register("shopkeeper", func(ctx context.Context, o counter) error {
	for order, err := range o.In.All(ctx) {
		if err != nil {
			return err
		}
		n := 0
		for _, count := range order.Items {
			n += count
		}
		if err := o.Out.Send(ctx, fmt.Sprintf("%s: %d items", order.Customer, n)); err != nil {
			return err
		}
	}
	return o.Out.CloseSend()
})

// Values of any type that gob knows go through an ObjectQueue, as through
// Python's Queue.
func ExampleObjectQueue() {
	ctx := context.Background()
	in, err := shm.NewObjectQueue[purchase](64<<10, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer in.Close()
	out, err := shm.NewObjectQueue[string](64<<10, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer out.Close()
	p, err := shopkeeper.Start(ctx, counter{in, out})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, o := range []purchase{
		{"Ada", map[string]int{"apples": 3, "pears": 2}},
		{"Grace", map[string]int{"moths": 1}},
	} {
		if err := in.Send(ctx, o); err != nil {
			fmt.Println(err)
		}
	}
	if err := in.CloseSend(); err != nil {
		fmt.Println(err)
	}
	for line, err := range out.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(line)
	}
	if _, err := p.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Ada: 5 items
	// Grace: 1 items
}

type taskArgs struct {
	Queue *shm.ObjectQueue[string]
	Done  *shm.Value[int64]
}

var taskWorker = proc.Register("taskWorker", func(ctx context.Context, t taskArgs) error {
	for _, err := range t.Queue.All(ctx) {
		if err != nil {
			return err
		}
		if _, err := shm.Add(t.Done, 1); err != nil { // the work
			return err
		}
		if err := t.Queue.Done(); err != nil {
			return err
		}
	}
	return nil
})

// Join waits until a worker has called Done for all that was sent: Python's
// JoinableQueue.
func ExampleObjectQueue_Join() {
	ctx := context.Background()
	q, err := shm.NewObjectQueue[string](4096, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer q.Close()
	done, err := shm.NewValue[int64](0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer done.Close()
	p, err := taskWorker.Start(ctx, taskArgs{q, done})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 30 {
		if err := q.Send(ctx, fmt.Sprint("item ", i)); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("all requests sent")
	if err := q.Join(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println("all work completed:", done.Load())
	if err := q.CloseSend(); err != nil {
		fmt.Println(err)
	}
	if _, err := p.Wait(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// all requests sent
	// all work completed: 30
}
