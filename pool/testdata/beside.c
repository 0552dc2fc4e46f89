// What a program with nothing but shared memory and futexes takes, in two
// processes, for what TestFigures does with a pool. It prints nanoseconds.
//
//	beside futex ROUNDS		a round trip over two words, median
//	beside copies BYTES ROUNDS	so much there and back through two rings, best
#define _GNU_SOURCE
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 4
#define PIECE (64 << 10)

typedef _Atomic uint32_t word;

// Written, read: counts of pieces. Each has its line.
struct ring {
	_Alignas(128) word written;
	_Alignas(128) word read;
	_Alignas(128) char data[SLOTS][PIECE];
};

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void sleep_on(word *w, uint32_t old)
{
	syscall(SYS_futex, w, FUTEX_WAIT, old, 0, 0, 0);
}

static void wake(word *w)
{
	syscall(SYS_futex, w, FUTEX_WAKE, 1, 0, 0, 0);
}

// Looks for a while, then sleeps.
static void await(word *w, uint32_t old)
{
	for (int i = 0; *w == old; i++)
		if (i > 2000)
			sleep_on(w, old);
}

static void put(struct ring *r, const char *p, size_t n)
{
	for (size_t at = 0; at < n; at += PIECE) {
		uint32_t i = r->written, read;
		while (read = r->read, i - read == SLOTS)
			await(&r->read, read);
		memcpy(r->data[i % SLOTS], p + at, PIECE);
		r->written = i + 1;
		wake(&r->written);
	}
}

static void get(struct ring *r, char *p, size_t n)
{
	for (size_t at = 0; at < n; at += PIECE) {
		uint32_t i = r->read;
		await(&r->written, i);
		memcpy(p + at, r->data[i % SLOTS], PIECE);
		r->read = i + 1;
		wake(&r->read);
	}
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static void *shared(size_t n)
{
	void *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		exit(1);
	return p;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "futex")) {
		int rounds = atoi(argv[2]);
		word *w = shared(4096);
		pid_t child = fork();
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (int i = 0; i < rounds; i++) {
				while (w[0] == (uint32_t)i)
					sleep_on(&w[0], i);
				w[32] = i + 1;
				wake(&w[32]);
			}
			_exit(0);
		}
		int64_t *took = calloc(rounds, sizeof *took);
		for (int i = 0; i < rounds; i++) {
			int64_t begin = now();
			w[0] = i + 1;
			wake(&w[0]);
			while (w[32] == (uint32_t)i)
				sleep_on(&w[32], i);
			took[i] = now() - begin;
		}
		waitpid(child, 0, 0);
		qsort(took, rounds, sizeof *took, compare);
		printf("%lld\n", (long long)took[rounds / 2]);
		return 0;
	}
	if (argc == 4 && !strcmp(argv[1], "copies")) {
		size_t n = strtoull(argv[2], 0, 10);
		int rounds = atoi(argv[3]);
		struct ring *there = shared(sizeof *there), *back = shared(sizeof *back);
		char *in = malloc(n), *out = malloc(n);
		int64_t best = INT64_MAX;
		if (n % PIECE != 0 || !in || !out)
			return 1;
		memset(in, 1, n);
		memset(out, 2, n);
		pid_t child = fork();
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (int i = 0; i < rounds; i++) {
				get(there, out, n);
				put(back, out, n);
			}
			_exit(0);
		}
		for (int i = 0; i < rounds; i++) {
			int64_t begin = now();
			put(there, in, n);
			get(back, out, n);
			int64_t took = now() - begin;
			if (took < best)
				best = took;
		}
		waitpid(child, 0, 0);
		printf("%lld\n", (long long)best);
		return memcmp(in, out, n) != 0;
	}
	return 2;
}
