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
package fuzz
