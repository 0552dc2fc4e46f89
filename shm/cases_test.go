package shm_test

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
// the tests that have them, or why there is none. A case with more than one
// side has more than one test.
//
// Where the tests ask for something else than the case's first wording:
// 10: emptying an object is for one that nobody has open (else EBUSY): a peer's
// pointers would fault. 19: what is written behind the end, into the rest of the
// last page, is no part of the file; the kernel shares it like the rest of the
// page. 22: tmpfs counts the attribute that marks an object as a part of a file.
// 30: the janitor is Sweep, which a program calls for its own prefix. 32: our own
// memory files take no more seals, so it is about one from elsewhere. 260: a
// second name does not keep the owner from unlinking the first.
var cases = []struct {
	number int
	tests  string
	none   string
}{
	{number: 1, tests: "TestCase001CreateIsZero"},
	{number: 2, tests: "TestCase002CreateIsExclusive TestCase002CreateRaces"},
	{number: 4, tests: "TestCase004OpenAbsent"},
	{number: 6, tests: "TestCase006Names"},
	{number: 7, tests: "TestCase007Umask"},
	{number: 8, tests: "TestCase008DefaultMode"},
	{number: 9, tests: "TestCase009ReadOnly"},
	{number: 10, tests: "TestCase010Truncate TestCase010TruncateUnused"},
	{number: 11, tests: "TestCase011UnlinkAbsent"},
	{number: 13, tests: "TestCase013NameUsedAgain"},
	{number: 14, tests: "TestCase015AnothersObject"},
	{number: 15, tests: "TestCase015AnothersObject"},
	{number: 16, tests: "TestCase016NotInExec"},
	{number: 17, tests: "TestCase017MappingOutlivesFile TestCase017NamedMappingOutlives"},
	{number: 18, tests: "TestCase018BadSizes TestCase018BadSizesOfNames"},
	{number: 19, tests: "TestCase019Offsets"},
	{number: 22, tests: "TestCase022NoInodes"},
	{number: 23, tests: "TestCase023NoDescriptors"},
	{number: 24, tests: "TestCase024NoMappings TestCase024NoAddressSpace"},
	{number: 25, tests: "TestCase025OpenTwice"},
	{number: 26, tests: "TestCase026AcrossProcesses"},
	{number: 28, tests: "TestCase028CreateKilled TestCase028Catches"},
	{number: 30, tests: "TestCase030UsersKilled"},
	{number: 31, tests: "TestCase031SealedSize"},
	{number: 32, tests: "TestCase032WriteSeal"},
	{number: 33, tests: "TestCase033ReadOnlyPeers"},
	{number: 34, tests: "TestCase034NoSealing"},
	{number: 35, tests: "TestCase035SealsTravel"},
	{number: 36, tests: "TestCase036Labels TestCase273NeverExecuted"},
	{number: 38, tests: "TestCase038UseAfterClose"},
	{number: 39, tests: "TestCase039CloseRaces"},
	{number: 40, tests: "TestCase040Cycles"},
	{number: 41, tests: "TestCase041Grow"},
	{number: 120, tests: "TestCase120_UnlinkWithWaiters"},
	{number: 121, tests: "TestCase121_OpenedTwice"},
	{number: 204, tests: "TestCase204ExactlyOnce TestCase204Messages"},
	{number: 205, tests: "TestCase205FullAndEmpty"},
	{number: 206, tests: "TestCase206Capacity TestCase206MessageTooLarge"},
	{number: 207, tests: "TestCase207Wrap TestCase207MessageWrap"},
	{number: 208, tests: "TestCase208CloseSend"},
	{number: 209, tests: "TestCase209DoneAndJoin"},
	{number: 210, tests: "TestKillPointsQueueSend TestKillPointsQueueBatch TestPauseBeforeSleep"},
	{number: 211, tests: "TestKillPointsQueueRecv TestKillPointsQueueBatch TestPauseBeforeSleep"},
	{number: 212, tests: "TestCase212NobodyReceives"},
	{number: 213, tests: "TestCase213Scribbler"},
	{number: 214, tests: "TestCase214FlippingLength"},
	{number: 259, tests: "TestCase260Planted TestCase259_TypedSymlink"},
	{number: 260, tests: "TestCase260Planted TestCase260SecondName TestCase260_TypedPlanted"},
	{number: 261, tests: "TestCase261Squatted TestCase261_TypedForeign"},
	{number: 262, tests: "TestCase262Swapped TestCase262_TypedSwapped"},
	{number: 263, tests: "TestCase263_Header TestCase263_Opening TestCase263_Scribbler"},
	{number: 268, tests: "TestCase268FullMemory"},
	{number: 270, tests: "TestCase270NothingInChildren TestCase270_NothingElse"},
	{number: 271, tests: "TestCase271_Padding"},
	{number: 272, tests: "TestCase272NoEnvironment"},
	{number: 273, tests: "TestCase273NeverExecuted"},
}

// testsHere are the names of the package's tests.
func testsHere(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
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
