package proc_test

import (
	"context"
	"os"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
	"github.com/rawipc/rawipc/proc"
)

// Who passes no context is told so, and nothing was started.
func TestNilContext(t *testing.T) {
	p := started(t, patient, nil, struct{}{})
	var none context.Context
	calls := map[string]func(){
		"Func.Start":    func() { nothing.Start(none, struct{}{}) },
		"Func.StartCmd": func() { nothing.StartCmd(none, nil, struct{}{}) },
		"Start":         func() { proc.Start(none, &proc.Cmd{Path: "/bin/true"}) },
		"Process.Wait":  func() { p.Wait(none) },
	}
	if !fuzz.Without("pidfd_open") {
		self, err := proc.OpenPidFD(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		defer self.Close()
		calls["PidFD.Wait"] = func() { self.Wait(none) }
	}
	for what, call := range calls {
		func() {
			defer func() {
				if got := recover(); got != "proc: nil context" {
					t.Errorf("%s: panic is %v", what, got)
				}
			}()
			call()
		}()
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	p.Wait(within(t))
	noChildren(t)
}
