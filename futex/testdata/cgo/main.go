// A process with C in it, for cgo_test.go: one segment holds a robust mutex of
// glibc's and one of ours. It obeys lines such as "a plock": on the thread
// called a, take glibc's. The answer is the line and what came of it.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/rawipc/rawipc/futex"
)

const (
	size = 4096
	ours = 1024 // where our mutex lies; glibc's is at 0
)

func main() {
	f := os.NewFile(3, "segment")
	mem, err := syscall.Mmap(3, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	check(err)
	_, err = futex.Attach(mem, f)
	check(err)
	m, err := futex.At[futex.RobustMutex](mem, ours)
	check(err)
	p := posixMutex(mem)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	do := map[string]func() error{
		"init":        p.init,
		"plock":       p.lock,
		"punlock":     p.unlock,
		"pconsistent": p.consistent,
		"lock":        m.Lock,
		"lockcontext": func() error { return m.LockContext(ctx) },
		"unlock":      m.Unlock,
		"consistent":  m.MarkConsistent,
	}
	threads := map[string]chan string{}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		name, what, _ := strings.Cut(in.Text(), " ")
		c := threads[name]
		if c == nil {
			c = make(chan string)
			threads[name] = c
			go func() {
				runtime.LockOSThread()
				for what := range c {
					fmt.Printf("%s %s: %s\n", name, what, result(do[what]()))
				}
			}()
		}
		c <- what
	}
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, futex.ErrOwnerDead), errors.Is(err, syscall.EOWNERDEAD):
		return "dead"
	}
	return err.Error()
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
