// Command run is what a test gives to go run.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/rawipc/rawipc/proc"
)

var hello = proc.Register("hello", func(_ context.Context, from string) error {
	fmt.Println("hello from", from)
	return nil
})

func main() {
	proc.Dispatch()
	p, err := hello.Start(context.Background(), "a child")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	state, err := p.Wait(context.Background())
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(state)
}
