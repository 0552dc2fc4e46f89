// Package fuzz is the proof kit: what the tests of the other packages use to
// show that a protocol between processes holds although any of them may be
// killed at any instruction. It works for protocols of your own, too.
//
//   - [Check] tries every order in which the steps of a small model of the
//     protocol can happen, with processes killed between any two of them.
//   - [KillEach] does it to the program itself: it runs an operation in a
//     helper process, again and again, kills it at one point after the other,
//     and looks whether its peers go on. Points are instructions, system calls
//     or random moments ([At]). [PauseEach] lets the peers run while it stands
//     still there.
//   - [FailEach] lets one system call of an operation after the other fail, and
//     wants an error that says so, nothing left behind, and a second try that
//     works.
//   - [Scribble] is a peer that writes whatever comes to its mind.
//   - [Main], as the TestMain of a package, fails a run that left descriptors,
//     processes, names or mappings behind ([Hold], [Leaks]), and runs the
//     tests as if the kernel had no futex_waitv, say ([Without]), or among
//     signals ([Noise]).
//   - [Apart] runs a test where /dev/shm is tiny, or where queues, process numbers
//     or the clock are its own.
//   - [Tool] skips a test where a compiler or a right is missing, but not in CI.
//
// Only external test packages import it.
//
// # A protocol of your own
//
//	Check       every order of the steps of a model          no process
//	KillEach    one operation ──► killed at point k          a helper, by ptrace
//	               k = 1, 2, 3 …  ──► do the peers go on?     and peers
//	PauseEach   the same, stopped at k, then continued
//	FailEach    one operation ──► its system call n fails    a helper that answers
//	               n = 1, 2, 3 …  ──► what does it say?       a thread's calls
//	Scribble    any bytes, while others read them            your choice
//
// Take them in this order:
//
//  1. Write it down as a [Model] and [Check] it, which takes an hour and finds
//     most mistakes.
//  2. Let TestMain be [Main]: from now on no test leaves anything behind.
//  3. Register each operation by [RegisterOp], say by [Company] who is about, and
//     run it under [KillEach] and [PauseEach]: at every instruction where it is
//     short and touches memory, at [Calls] where the kernel does the work, at
//     [Moments] where it goes on for milliseconds.
//  4. Put what makes and uses your objects into rounds of [FailEach], by [Making],
//     [Using] and [Blocking].
//  5. Let [Scribble] run over the memory while a process uses it.
//  6. Try what happens when /dev/shm is full, where process numbers are others, and
//     when the machine has been up for years ([Apart]).
//  7. Run all tests with system calls taken away that containers refuse
//     ([Without]), and among signals ([Noise]).
//
// Three mistakes that were planted to see who finds them: a Cond that wakes
// a sleeper before it gives it the signal, so that the wake is lost if the waker
// is slow between the two ([PauseEach], 3 of 35 points stuck); a ring reader that trusts a length
// ([Scribble], within a second, by a panic); and a RecvFiles that forgets
// descriptors which it refuses (the leak gate of [Main], and its fuzz target at
// the first seed).
//
// # When a process is killed
//
// That is what this package is for. Its own helpers die with the test.
//
// # What it costs
//
// [Check] holds each state in memory once; 100,000 states take about a second.
// [KillEach] takes 5 to 10 ms for each instruction that it kills at, mostly for the
// start of the next helper; [FailEach] takes a few milliseconds for each call and
// errno. [Main] adds nothing to a run but a look at what is open
// at its end.
//
// # Kernels
//
// [KillEach] and [PauseEach] step by ptrace on amd64, and are skipped elsewhere and
// where ptrace is forbidden. [FailEach] needs seccomp listeners (Linux 5.5), on
// any architecture. [Without] needs seccomp filters, [Apart] the right to make
// namespaces; its clock also unshare(1) and Linux 5.6. The rest works
// wherever the module does.
//
// # Sources
//
// Explicit-state model checking is as in Holzmann's SPIN; states that are
// permutations of each other count once, after Ip and Dill (1996). Killing at every
// instruction is this project's; a related idea is the crash test of file systems.
package fuzz
