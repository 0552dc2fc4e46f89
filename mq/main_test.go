package mq_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/rawipc/rawipc/fuzz"
)

const helperEnv = "RAWIPC_MQ_TEST_HELPER"

// TestMain lets the binary be a helper of its own tests.
func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		if err := helpers[name](); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	fuzz.Main(m)
}

// helper prepares a child that runs a helper.
func helper(t testing.TB, name string, files ...*os.File) *exec.Cmd {
	t.Helper()
	if helpers[name] == nil {
		t.Fatalf("no helper %q", name)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+name)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = files
	return cmd
}
