package proc_test

import (
	"context"
	"fmt"
	"os"

	"github.com/rawipc/rawipc/proc"
)

// Registered in a package variable, so that the child knows it, too. TestMain
// calls proc.Dispatch first, as main does in a program.
var greet = proc.Register("greet", func(_ context.Context, who string) error {
	_, err := fmt.Printf("hello, %s\n", who)
	return err
})

func ExampleRegister() {
	ctx := context.Background()
	p, err := greet.StartCmd(ctx, &proc.Cmd{Stdout: os.Stdout}, "world")
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := p.Wait(ctx)
	fmt.Println(state, err)
	// Output:
	// hello, world
	// exit status 0 <nil>
}
