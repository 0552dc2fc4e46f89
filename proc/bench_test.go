package proc_test

import (
	"context"
	"os/exec"
	"testing"
)

// BenchmarkStartWait compares a child that runs a function with the same binary
// run by os/exec, which ends at the place where Dispatch stands.
func BenchmarkStartWait(b *testing.B) {
	b.Run("impl=proc", func(b *testing.B) {
		ctx := context.Background()
		for b.Loop() {
			p, err := nothing.Start(ctx, struct{}{})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := p.Wait(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("impl=os-exec", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(cmd.Environ(), noDispatch+"=exit")
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
