package mq_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cases are the numbered cases of reliability that this package answers for:
// the tests that have them, or why there is none.
//
// 200: a Go caller can't hand in a bad registration; the test does so by the
// system call, beside a good one. 269: a queue has no peer that could be asked
// for its credentials; who may open it, its owner and mode say.
var cases = []struct {
	number int
	tests  string
	none   string
}{
	{number: 185, tests: "TestCase185_RoundTrip"},
	{number: 186, tests: "TestCase186_PriorityRange"},
	{number: 187, tests: "TestCase187_PrioritiesAcrossProcesses"},
	{number: 188, tests: "TestCase188_Sizes"},
	{number: 189, tests: "TestCase189_Full"},
	{number: 190, tests: "TestCase190_Empty"},
	{number: 191, tests: "TestCase191_Signals"},
	{number: 192, tests: "TestCase192_WrongDirectionAndClosed"},
	{number: 193, tests: "TestCase193_ExclusiveCreate TestCase193_Modes"},
	{number: 194, tests: "TestCase194_Names"},
	{number: 195, tests: "TestCase195_Limits TestCase195_LimitsOfANamespace"},
	{number: 196, tests: "TestCase196_BytesOfAUser TestCase196_QueuesOfANamespace TestCase195_LimitsOfANamespace"},
	{number: 197, tests: "TestCase197_Unlink"},
	{number: 198, tests: "TestCase198_Stat TestCase198_FlagTakenAway"},
	{number: 199, tests: `TestCase199_OncePerRegistration TestCase199_OneRegistrant TestCase199_BlockedReceiverWins
		TestCase199_CloseRemoves TestCase199_DeathRemoves TestCase199_BesideC`},
	{number: 200, tests: "TestCase200_BadRegistrations TestCase200_Races"},
	{number: 201, tests: "TestCase201_SenderKilled TestCase201_ReceiverKilled TestCase201_MessageInHand TestCase201_CKilled"},
	{number: 202, tests: "TestCase202_Namespace"},
	{number: 203, tests: "TestCase203_CloseOnExec"},
	{number: 268, tests: "TestCase268_AllTaken"},
	{number: 269, none: "a queue has no connection and no peer: its mode decides who may open it, see TestCase193_Modes"},
}

// The table and the tests agree: what it names is there, and a test that bears
// the number of a case is listed under a case.
func TestCasesAreAnswered(t *testing.T) {
	names := testsHere(t)
	var listed []string
	last := 0
	for _, c := range cases {
		if c.number <= last {
			t.Errorf("case %d stands behind case %d", c.number, last)
		}
		last = c.number
		if (c.tests == "") == (c.none == "") {
			t.Errorf("case %d: want either tests or a reason", c.number)
		}
		for name := range strings.FieldsSeq(c.tests) {
			if !slices.Contains(names, name) {
				t.Errorf("case %d: there is no %s", c.number, name)
			}
			listed = append(listed, name)
		}
	}
	for _, name := range names {
		var number int
		if n, _ := fmt.Sscanf(name, "TestCase%d", &number); n == 1 && !slices.Contains(listed, name) {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// testsHere are the names of the package's tests.
func testsHere(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		must(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}
