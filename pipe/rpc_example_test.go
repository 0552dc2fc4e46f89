package pipe_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/rpc"
	"os"
	"sync"

	"github.com/rawipc/rawipc/pipe"
	"github.com/rawipc/rawipc/proc"
)

// A Dict lives in one process and is used by several, as what Python's
// multiprocessing.Manager().dict() makes.
type Dict struct {
	mu sync.Mutex
	m  map[string]int
}

// Pair is a key and what to add to its value.
type Pair struct {
	Key string
	Add int
}

// Add returns the new value.
func (d *Dict) Add(p Pair, value *int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.m[p.Key] += p.Add
	*value = d.m[p.Key]
	return nil
}

// Get returns a value, or an error, which reaches the caller.
func (d *Dict) Get(key string, value *int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.m[key]
	if !ok {
		return errors.New("no such key: " + key)
	}
	*value = v
	return nil
}

// count is what each process does with the dictionary at its end of a Conn.
var count = proc.Register("count", func(ctx context.Context, c *pipe.Conn) error {
	dict := rpc.NewClient(c)
	defer dict.Close()
	for range 100 {
		var now int
		if err := dict.Call("Dict.Add", Pair{"apples", 1}, &now); err != nil {
			return err
		}
	}
	return nil
})

// A dictionary served to three processes by net/rpc over Conns.
func Example_dictionary() {
	ctx := context.Background()
	server := rpc.NewServer()
	dict := &Dict{m: map[string]int{}}
	server.Register(dict)

	var ps []*proc.Process
	for range 3 {
		mine, theirs, err := pipe.Pair()
		if err != nil {
			log.Fatal(err)
		}
		go server.ServeConn(mine) // until the process closes its end
		p, err := count.Start(ctx, theirs)
		if err != nil {
			log.Fatal(err)
		}
		theirs.Close()
		ps = append(ps, p)
	}
	for _, p := range ps {
		if _, err := p.Wait(ctx); err != nil {
			log.Fatal(err)
		}
	}
	var apples int
	dict.Get("apples", &apples)
	fmt.Println(apples, "apples")
	fmt.Println(dict.Get("pears", &apples))
	// Output:
	// 300 apples
	// no such key: pears
}

// A file travels to another process, which need not have the right to open it.
func ExampleConn_SendFiles() {
	ctx := context.Background()
	a, b, err := pipe.Pair()
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	r, w, err := pipe.OneWay()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	files, err := w.PassFiles()
	if err != nil {
		log.Fatal(err)
	}
	if err := a.SendFiles(ctx, []byte("write here"), files...); err != nil {
		log.Fatal(err)
	}
	w.Close() // the receiver has its own

	buf := make([]byte, 100)
	n, files, err := b.RecvFiles(ctx, buf, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %d file\n", buf[:n], len(files))
	there, err := pipe.FromFile(files[0])
	if err != nil {
		log.Fatal(err)
	}
	there.Send(ctx, []byte("hello"))
	there.Close()
	msg, err := r.RecvAlloc(ctx, 100)
	fmt.Printf("%s %v\n", msg, err)
	// Output:
	// write here: 1 file
	// hello <nil>
}

// A server with an abstract name, and a client.
func ExampleListen() {
	ctx := context.Background()
	l, err := pipe.Listen("unix", fmt.Sprintf("@rawipc-example-%d", os.Getpid()))
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := pipe.Dial(ctx, "unix", l.Addr().String())
		if err != nil {
			log.Fatal(err)
		}
		c.Send(ctx, []byte("hello"))
		c.Close()
	}()
	c, err := l.AcceptConn(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	peer, err := c.Peer()
	if err != nil {
		log.Fatal(err)
	}
	msg, err := c.RecvAlloc(ctx, 100)
	fmt.Printf("%s from a process: %v, %v\n", msg, peer.Pid > 0, err)
	// Output: hello from a process: true, <nil>
}

// Whoever has something to say first is heard first.
func ExampleSelect() {
	ctx := context.Background()
	a, b, err := pipe.Pair()
	if err != nil {
		log.Fatal(err)
	}
	defer a.Close()
	defer b.Close()
	r, w, err := pipe.OneWay()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	w.Send(ctx, []byte("x"))
	ready, err := pipe.Select(ctx, b, r)
	fmt.Println(ready, err)
	// Output: [1] <nil>
}
