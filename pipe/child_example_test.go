package pipe_test

import (
	"context"
	"fmt"
	"io"
	"log"

	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"
)

var parrot = proc.Register("parrot", func(ctx context.Context, c *pipe.Conn) error {
	for {
		msg, err := c.RecvAlloc(ctx, 1<<20)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.Send(ctx, append([]byte("you said "), msg...)); err != nil {
			return err
		}
	}
})

// Python's Pipe(): one end here, the other in a child, messages both ways.
func ExamplePair_child() {
	ctx := context.Background()
	mine, theirs, err := pipe.Pair()
	if err != nil {
		log.Fatal(err)
	}
	p, err := parrot.Start(ctx, theirs)
	if err != nil {
		log.Fatal(err)
	}
	theirs.Close() // the child has its own: so it sees the end when we close ours
	for _, word := range []string{"hello", "goodbye"} {
		if err := mine.Send(ctx, []byte(word)); err != nil {
			log.Fatal(err)
		}
		answer, err := mine.RecvAlloc(ctx, 1<<20)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", answer)
	}
	mine.Close()
	fmt.Println(p.Wait(ctx))
	// Output:
	// you said hello
	// you said goodbye
	// exit status 0 <nil>
}
