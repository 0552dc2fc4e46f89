package pool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/rawipc/rawipc/pool"
)

// decode stands for a library, in C as a rule, that a bad input crashes.
var decode = pool.Register("recipe decode", func(_ context.Context, image string) (string, error) {
	if strings.HasPrefix(image, "bad") {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the kernel is on its way
	}
	return strings.ToUpper(image), nil
})

// A library that crashes takes a worker with it, not this program: the call
// that had the bad input fails, all others go on.
func ExampleWorkerError_crashingLibrary() {
	ctx := context.Background()
	p, err := pool.New(&pool.Config{Workers: 2, Spares: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	var results []*pool.Pending[string]
	for _, image := range []string{"lena", "bad.png", "mandrill", "peppers"} {
		results = append(results, decode.Go(ctx, p, image))
	}
	for _, r := range results {
		out, err := r.Wait(ctx)
		var dead *pool.WorkerError
		if errors.As(err, &dead) {
			fmt.Println("a crash in", dead.Func+":", dead.State)
			continue
		}
		fmt.Println(out, err)
	}
	// Output:
	// LENA <nil>
	// a crash in recipe decode: signal: killed
	// MANDRILL <nil>
	// PEPPERS <nil>
}

var slowSquare = pool.Register("recipe slowSquare", func(_ context.Context, n int) (int, error) {
	time.Sleep(time.Millisecond)
	return n * n, nil
})

// Progress is called while a long Map runs, and once when the pool ends. It reads
// what workers count in shared memory, and asks nobody.
func ExampleConfig_progress() {
	var last uint64
	backwards := false
	p, err := pool.New(&pool.Config{Workers: 2, Progress: func(s pool.Stats) {
		backwards = backwards || s.Items < last
		last = s.Items // a program would draw its bar here
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	in := make([]int, 200)
	_, err = slowSquare.Map(context.Background(), p, in)
	p.Close() // after it Progress is not called again
	fmt.Println(last, "of", len(in), "backwards:", backwards, err)
	// Output: 200 of 200 backwards: false <nil>
}

// Squares serves a pool's function to other machines.
type Squares struct{ p *pool.Pool }

// Square is the function, as net/rpc wants it.
func (s Squares) Square(n int, out *int) (err error) {
	*out, err = square.Call(context.Background(), s.p, n)
	return err
}

// Beyond one machine: net/rpc over TCP hands calls to the pool.
func ExampleFunc_Call_tcp() {
	p, err := pool.New(&pool.Config{Workers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	server := rpc.NewServer()
	if err := server.Register(Squares{p}); err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go server.Accept(l)

	client, err := rpc.Dial("tcp", l.Addr().String()) // on another machine
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	var n int
	err = client.Call("Squares.Square", 12, &n)
	fmt.Println(n, err)
	// Output: 144 <nil>
}
