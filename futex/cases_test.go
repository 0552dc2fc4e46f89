package futex_test

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
// 42: Wait returns nil at once. 46: a time.Time is never malformed, so it is
// about times before the clock's beginning. 58: the clock of a time namespace
// is a day ahead; the wall clock is the machine's and is not set here. 65: of a
// Mutex nobody knows the owner. 74: a lock belongs to the process. 92: misuse
// of a Mutex within the process panics.
var cases = []struct {
	number int
	tests  string
	none   string
}{
	{number: 42, tests: "TestCase042WaitOnAnotherValue"},
	{number: 43, tests: "TestCase043Deadlines"},
	{number: 44, tests: "TestCase044BadMemory TestCase044NoFileBehind"},
	{number: 45, tests: "TestCase045Signals"},
	{number: 46, tests: "TestCase046TimesBeforeTheClock"},
	{number: 47, tests: "TestCase047WakeCounts"},
	{number: 48, tests: "TestCase048TwoProcesses"},
	{number: 49, tests: "TestCase049TwoMappings"},
	{number: 50, tests: "TestCase050NeighboursAreApart TestCase050HugePage"},
	{number: 51, tests: "TestCase051Requeue"},
	{number: 52, tests: "TestCase052WaitAny"},
	{number: 53, tests: "TestCase053WithoutWaitv"},
	{number: 54, tests: "TestCase054WakeNobody"},
	{number: 55, none: "no call of this package takes flags, and Requeue treats both words alike"},
	{number: 56, tests: "TestCase056UntouchedPage"},
	{number: 57, tests: "TestCase057FarDeadlines"},
	{number: 58, tests: "TestCase058TimeNamespace"},
	{number: 59, tests: "TestCase059ListIsBorrowed"},
	{number: 60, tests: "TestCase060BesideC"},
	{number: 61, tests: "TestCase061TwelveThousandWaiters"},
	{number: 63, tests: "TestCase063TryLock TestCase063TryLockRobust"},
	{number: 65, tests: "TestCase065UnlockOfAnothers TestMutexUnlockOfUnlocked"},
	{number: 66, tests: "TestCase066Relock"}, // goroutines have no identity: only a lock that is told its owner can see a relock,
	{number: 67, tests: "TestCase067ThreeLocks"},
	{number: 70, tests: "TestCase070Recover"},
	{number: 71, tests: "TestCase071NotRecoverable"},
	{number: 72, tests: "TestCase072TryAndTimed"},
	{number: 74, tests: "TestCase074GoroutineEnds"},
	{number: 76, tests: "TestCase076ThreeAsleep"},
	{number: 77, tests: "TestCase077TwoRecover"},
	{number: 78, tests: "TestKillPointsLock"},
	{number: 79, tests: "TestKillPointsLock"},
	{number: 80, tests: "TestKillPointsLock"},
	{number: 81, tests: "TestKillPointsLock"},
	{number: 82, tests: "TestKillPointsLock"},
	{number: 83, tests: "TestCase083ManyLocks"},
	{number: 84, tests: "TestCase084CircularList"},
	{number: 85, tests: "TestCase085AnotherFileAtThePlace"},
	{number: 87, tests: "TestCase087OtherPidNamespace"},
	{number: 88, tests: "TestCase088ChildOfTheOwner"},
	{number: 89, tests: "TestCase089ManyWorkersDie"},
	{number: 90, tests: "TestCase090_RandomKills"},
	{number: 91, tests: "TestCase091SpinnersAndASleeper"},
	{number: 92, tests: "TestCase092Garbage"},
	{number: 93, tests: "TestCase093MemoryReplaced"},
	{number: 94, tests: "TestCase094ReadersTogether"},
	{number: 95, tests: "TestCase095Try"},
	{number: 96, tests: "TestCase096EndedContext"},
	{number: 97, tests: "TestCase097Signals"},
	{number: 98, tests: "TestCase098UnlockInTheWrongMode"},
	{number: 101, tests: "TestCase101WriterTimesOut"},
	{number: 102, tests: "TestCase102AllReadersWake"},
	{number: 103, tests: "TestCase103Storm"},
	{number: 104, tests: "TestCase104HandOver"},
	{number: 105, tests: "TestCase105ReaderLimit"},
	{number: 106, tests: "TestCase106ReadersStarveNoWriter"},
	{number: 107, tests: "TestCase107Upgrade"},
	{number: 108, tests: "TestCase108Bounds"},
	{number: 109, tests: "TestCase109Empty"},
	{number: 111, tests: "TestCase111EndedContext"},
	{number: 112, tests: "TestCase112Signals"},
	{number: 113, tests: "TestCase113CancelAgainstWake TestWaitContextCancelAgainstWake"},
	{number: 115, tests: "TestKillPointsSem TestKillPointsOwned"},
	{number: 116, tests: "TestCase116TokenAndTimeouts"},
	{number: 117, tests: "TestCase117UnmappedBehindTheToken"},
	{number: 118, tests: "TestCase118StolenAndReturned"},
	{number: 119, tests: "TestCase119Bounded"},
	{number: 122, tests: "TestCase122PlainTokensAreLost TestCase122OwnedTokensComeBack"},
	{number: 123, tests: "TestCase123Event"},
	{number: 125, tests: "TestCase125SetThenReset TestCase125SetThenResetProcesses"},
	{number: 126, tests: "TestKillPointsEvent"},
	{number: 127, tests: "TestCase127SleepersKilled"},
	{number: 128, tests: "TestCase128WaitHoldsTheLock"},
	{number: 129, tests: "TestCase129NothingIsRemembered"},
	{number: 131, tests: "TestCase131BroadcastWakesAll TestCase131NotifySome"},
	{number: 132, tests: "TestCase132TimedWait"},
	{number: 133, tests: "TestCase133Signals"},
	{number: 134, tests: "TestCase134WaitFor"},
	{number: 135, tests: "TestCase135NoStealing TestCase135Generations"},
	{number: 137, tests: "TestCase137Wrap TestCase137ManySignals TestPausePointsCond"},
	{number: 138, tests: "TestCase138BroadcastThenUnmap TestCase138WokenThenUnmap TestCase138MappedTwice"},
	{number: 139, tests: "TestCase139NewWaitersWakeNobody"},
	{number: 140, tests: "TestCase140OwnerKilledInTheChain"},
	{number: 141, tests: "TestCase141OwnerDies TestCase141LockGivenUp"},
	{number: 142, tests: "TestCase142KilledWaiter TestCase142FalseMark TestKillPointsCondWait"},
	{number: 143, tests: "TestCase143NotTheLock TestCase143DeadMansLock TestCase143Room"},
	{number: 144, tests: "TestKillPointsCondSignal"},
	{number: 145, tests: "TestCase145Parties"},
	{number: 147, tests: "TestCase147AllButOne"},
	{number: 148, tests: "TestCase148ThenUnmap"},
	{number: 149, tests: "TestCase149Wrap TestCase149AllAround"},
	{number: 150, tests: "TestCase150Timeout TestCase150BreakAndReset TestCase150ResetWhileLeaving TestPausePointsBarrier"},
	{number: 151, tests: "TestCase151ActionOnce TestCase151ActionFails TestCase151OneTooMany"},
	{number: 153, tests: "TestCase153KilledAfterArriving TestCase153KilledWhileLeaving TestKillPointsBarrier"},
	{number: 265, tests: "TestCase265ForgedOwners"},
	{number: 266, tests: "TestCase266ForgedLinks"},
	{number: 267, tests: "TestCase267WakesWithoutEnd"},
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
// the number of a case in the table is named for it.
func TestCasesAreAnswered(t *testing.T) {
	names := testsHere(t)
	listed := map[string]bool{}
	inTable := map[int]bool{}
	last := 0
	for _, c := range cases {
		inTable[c.number] = true
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
			listed[fmt.Sprint(c.number, name)] = true
		}
	}
	for _, name := range names {
		var number int
		if n, _ := fmt.Sscanf(name, "TestCase%d", &number); n == 1 && inTable[number] && !listed[fmt.Sprint(number, name)] {
			t.Errorf("%s is not listed under case %d", name, number)
		}
	}
}
