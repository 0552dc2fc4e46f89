package mq_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/rawipc/rawipc/mq"
)

// The highest priority comes out first, whoever sent it.
func Example() {
	ctx := context.Background()
	name := fmt.Sprintf("/rawipc-example-%d", os.Getpid())
	q, err := mq.Create(name, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer mq.Unlink(name)
	defer q.Close()

	q.Send(ctx, []byte("whenever"), 0)
	q.Send(ctx, []byte("urgent"), 9)

	st, err := q.Stat()
	if err != nil {
		log.Fatal(err)
	}
	buf := make([]byte, st.MessageSize)
	for range st.Messages {
		n, prio, err := q.Recv(ctx, buf)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s (%d)\n", buf[:n], prio)
	}
	// Output:
	// urgent (9)
	// whenever (0)
}

// A context ends a wait on an empty queue.
func ExampleQueue_Recv_timeout() {
	name := fmt.Sprintf("/rawipc-example-timeout-%d", os.Getpid())
	q, err := mq.Create(name, &mq.Attr{MaxMessages: 2, MessageSize: 64})
	if err != nil {
		log.Fatal(err)
	}
	defer mq.Unlink(name)
	defer q.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, _, err = q.Recv(ctx, make([]byte, 64))
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

// Notify waits until there is something to receive, so that a program can do
// nothing else for a queue until then. It says so once: each round registers
// anew.
func ExampleQueue_Notify() {
	ctx := context.Background()
	name := fmt.Sprintf("/rawipc-example-notify-%d", os.Getpid())
	q, err := mq.Create(name, &mq.Attr{MaxMessages: 2, MessageSize: 64})
	if err != nil {
		log.Fatal(err)
	}
	defer mq.Unlink(name)
	defer q.Close()

	go func() {
		time.Sleep(time.Millisecond)
		q.Send(ctx, []byte("hello"), 0)
		q.Send(ctx, []byte("goodbye"), 0)
	}()
	buf := make([]byte, 64)
	for last := ""; last != "goodbye"; {
		if err := q.Notify(ctx); err != nil {
			log.Fatal(err)
		}
		for { // all that is there, or the next Notify returns at once
			n, _, ok, err := q.TryRecv(buf)
			if err != nil {
				log.Fatal(err)
			}
			if !ok {
				break
			}
			last = string(buf[:n])
			fmt.Println(last)
		}
	}
	// Output:
	// hello
	// goodbye
}
