// Package fuzz is the proof kit: what the tests of the other packages use to
// show that a protocol between processes holds although any of them may be
// killed at any instruction. It works for protocols of your own, too.
//
//   - [Check] tries every order in which the steps of a small model of the
//     protocol can happen, with processes killed between any two of them.
//   - [KillEach] does it to the program itself: it runs an operation in a
//     helper process, again and again, kills it at one instruction after the
//     other, and looks whether its peers go on. [PauseEach] lets the peers run
//     while it stands still there.
//   - [Main], as the TestMain of a package, fails a run that left descriptors,
//     processes, names or mappings behind ([Hold], [Leaks]), and runs the
//     tests as if the kernel had no futex_waitv, say ([Without]).
//   - [Tool] skips a test where a compiler or a right is missing, but not in CI.
//
// Only external test packages import it.
//
// For a protocol of your own: write it down as a [Model] first, where a mistake is
// cheapest; then run the real one under [KillEach].
//
//	Check       every order of the steps of a model          no process
//	KillEach    one operation ──► killed at instruction k    a helper, by ptrace
//	               k = 1, 2, 3 …  ──► do the peers go on?     and peers
//	PauseEach   the same, stopped at k, then continued
//
// # When a process is killed
//
// That is what this package is for. Its own helpers die with the test.
//
// # What it costs
//
// [Check] holds each state in memory once; 100,000 states take about a second.
// [KillEach] takes 5 to 10 ms for each instruction that it kills at. [Main] adds nothing to a run but a look at what is open
// at its end.
//
// # Kernels
//
// [KillEach] and [PauseEach] step by ptrace on amd64, and are skipped elsewhere and
// where ptrace is forbidden. [Without] needs seccomp filters. The rest works
// wherever the module does.
//
// # Sources
//
// Explicit-state model checking is as in Holzmann's SPIN; states that are
// permutations of each other count once, after Ip and Dill (1996). Killing at every
// instruction is this project's; a related idea is the crash test of file systems.
package fuzz
