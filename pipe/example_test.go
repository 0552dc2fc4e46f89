package pipe_test

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log"
	"time"

	"github.com/rawipc/rawipc/pipe"
)

// Messages keep their boundaries, whatever their size.
func ExamplePair() {
	ctx := context.Background()
	a, b, err := pipe.Pair()
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()

	a.Send(ctx, []byte("hello"))
	a.Send(ctx, []byte("world"))

	buf := make([]byte, 64)
	for range 2 {
		n, err := b.Recv(ctx, buf)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", buf[:n])
	}
	// Output:
	// hello
	// world
}

// The receiver of a pipe sees the end when the sender closes.
func ExampleOneWay() {
	ctx := context.Background()
	r, w, err := pipe.OneWay()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	go func() {
		defer w.Close()
		for i := range 3 {
			w.Send(ctx, fmt.Appendf(nil, "line %d", i))
		}
	}()
	for {
		msg, err := r.RecvAlloc(ctx, 1<<20)
		if err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", msg)
	}
	// Output:
	// line 0
	// line 1
	// line 2
}

// A context ends a wait; the Conn stays usable.
func ExampleConn_Recv_timeout() {
	a, b, err := pipe.Pair()
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = b.Recv(ctx, make([]byte, 10))
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output: true
}

// Objects travel by gob, since a Conn is also a net.Conn.
func ExampleConn_Write_gob() {
	a, b, err := pipe.Pair()
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	gob.NewEncoder(a).Encode(map[string]int{"apples": 3})
	var m map[string]int
	if err := gob.NewDecoder(b).Decode(&m); err != nil {
		log.Fatal(err)
	}
	fmt.Println(m["apples"])
	// Output: 3
}
