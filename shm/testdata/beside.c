// What queues and rings are compared with: a ring between one writer and one
// reader with cached indices, and Vyukov's bounded queue for many, each between
// processes that are bound to CPUs and wait by spinning. Neither survives a
// process that is killed.
//
//	beside ring SIZE N CAPACITY   N messages of SIZE, 8 bytes of length before
//	beside trip N                 N times there and back with 64 bytes
//	beside queue PAIRS N          PAIRS*N messages of 64 bytes through 1024 slots
//
// Each prints the ns of one message, or round trip, in each of so many rounds.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef _Atomic uint64_t word;

struct ring {
	_Alignas(128) word tail;
	_Alignas(128) word head;
	_Alignas(128) uint64_t size;
};

struct side {
	struct ring *r;
	char *data; // twice in a row
	uint64_t mine, theirs;
};

enum { slots = 1024, rounds = 20 };

struct cell {
	word seq;
	char msg[64];
};

struct shared {
	_Alignas(128) word in;
	_Alignas(128) word out;
	_Alignas(128) struct cell cells[slots];
	_Alignas(128) atomic_int ready, senders;
	_Alignas(128) word begin[rounds], end[rounds], sum;
	struct ring rings[2];
};

static struct shared *s;
static cpu_set_t cpus;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static inline void pause_(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct side side(int i, int fd, uint64_t size)
{
	struct side d = {.r = &s->rings[i]};
	d.r->size = size;
	d.data = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int k = 0; k < 2; k++)
		if (mmap(d.data + k * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, i * size) == MAP_FAILED)
			die("mmap");
	return d;
}

// Somebody else may need this CPU.
static inline void wait_a_bit(int *looks, int enough)
{
	if (++*looks % enough == 0)
		sched_yield();
	else
		pause_();
}

static void ring_send(struct side *d, const void *msg, uint64_t n)
{
	int looks = 0;
	uint64_t need = 8 + ((n + 7) & ~7ull), size = d->r->size;
	while (d->mine + need - d->theirs > size) {
		d->theirs = atomic_load_explicit(&d->r->head, memory_order_acquire);
		if (d->mine + need - d->theirs > size)
			wait_a_bit(&looks, 4096);
	}
	char *at = d->data + (d->mine & (size - 1));
	memcpy(at, &n, 8);
	memcpy(at + 8, msg, n);
	d->mine += need;
	atomic_store_explicit(&d->r->tail, d->mine, memory_order_release);
}

static uint64_t ring_recv(struct side *d, void *msg)
{
	int looks = 0;
	while (d->mine == d->theirs) {
		d->theirs = atomic_load_explicit(&d->r->tail, memory_order_acquire);
		if (d->mine == d->theirs)
			wait_a_bit(&looks, 4096);
	}
	char *at = d->data + (d->mine & (d->r->size - 1));
	uint64_t n;
	memcpy(&n, at, 8);
	memcpy(msg, at + 8, n);
	d->mine += 8 + ((n + 7) & ~7ull);
	atomic_store_explicit(&d->r->head, d->mine, memory_order_release);
	return n;
}

static void queue_send(const char *msg)
{
	uint64_t pos = atomic_load_explicit(&s->in, memory_order_relaxed);
	int looks = 0;
	for (;;) {
		struct cell *c = &s->cells[pos % slots];
		int64_t lag = atomic_load_explicit(&c->seq, memory_order_acquire) - pos;
		if (lag == 0 && atomic_compare_exchange_weak_explicit(&s->in, &pos, pos + 1, memory_order_relaxed, memory_order_relaxed)) {
			memcpy(c->msg, msg, 64);
			atomic_store_explicit(&c->seq, pos + 1, memory_order_release);
			return;
		}
		if (lag < 0)
			wait_a_bit(&looks, 64);
		if (lag != 0)
			pos = atomic_load_explicit(&s->in, memory_order_relaxed);
	}
}

static void queue_recv(char *msg)
{
	uint64_t pos = atomic_load_explicit(&s->out, memory_order_relaxed);
	int looks = 0;
	for (;;) {
		struct cell *c = &s->cells[pos % slots];
		int64_t lag = atomic_load_explicit(&c->seq, memory_order_acquire) - (pos + 1);
		if (lag == 0 && atomic_compare_exchange_weak_explicit(&s->out, &pos, pos + 1, memory_order_relaxed, memory_order_relaxed)) {
			memcpy(msg, c->msg, 64);
			atomic_store_explicit(&c->seq, pos + slots, memory_order_release);
			return;
		}
		if (lag < 0)
			wait_a_bit(&looks, 64);
		if (lag != 0)
			pos = atomic_load_explicit(&s->out, memory_order_relaxed);
	}
}

static void meet(int all, int round)
{
	atomic_fetch_add(&s->ready, 1);
	while (atomic_load(&s->ready) < all * (round + 1))
		sched_yield();
	uint64_t none = 0;
	atomic_compare_exchange_strong(&s->begin[round], &none, now());
}

// bind_to leaves the process the nth of the CPUs that it has.
static void bind_to(int nth)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &cpus) && nth-- == 0) {
			cpu_set_t set;
			CPU_ZERO(&set);
			CPU_SET(cpu, &set);
			if (sched_setaffinity(0, sizeof set, &set))
				die("sched_setaffinity");
			return;
		}
}

static uint64_t play(int sends, uint64_t n, int pairs, const char *kind, struct side *d, char *msg, uint64_t size)
{
	uint64_t sum = 0, x;
	if (*kind == 't') {
		struct side *in = &d[!sends], *out = &d[sends];
		for (uint64_t i = 0; i < n; i++) {
			if (sends)
				ring_send(out, msg, size);
			ring_recv(in, msg);
			if (!sends)
				ring_send(out, msg, size);
		}
	} else if (sends) {
		for (uint64_t i = 1; i <= n; i++) {
			memcpy(msg, &i, 8);
			*kind == 'r' ? ring_send(d, msg, size) : queue_send(msg);
		}
		if (*kind == 'q' && (atomic_fetch_add(&s->senders, 1) + 1) % pairs == 0) {
			memset(msg, 0, 8);
			for (int i = 0; i < pairs; i++)
				queue_send(msg);
		}
	} else if (*kind == 'r') {
		for (uint64_t i = 0; i < n; i++) {
			if (ring_recv(d, msg) != size)
				exit(3);
			memcpy(&x, msg, 8);
			sum += x;
		}
	} else {
		for (;;) {
			queue_recv(msg);
			memcpy(&x, msg, 8);
			if (x == 0)
				break;
			sum += x;
		}
	}
	return sum;
}

static void take_part(int who, uint64_t n, int pairs, const char *kind, struct side *d, char *msg, uint64_t size)
{
	int sends = who < pairs;
	bind_to(sends ? who % 2 : 1 - who % pairs % 2);
	memset(msg, 1, size);
	for (int round = 0; round < rounds; round++) {
		meet(2 * pairs, round);
		uint64_t sum = play(sends, n, pairs, kind, d, msg, size);
		uint64_t t = now(), was = atomic_load(&s->end[round]);
		while (was < t && !atomic_compare_exchange_weak(&s->end[round], &was, t))
			;
		atomic_fetch_add(&s->sum, sum);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *kind = argv[1];
	if (sched_getaffinity(0, sizeof cpus, &cpus))
		die("sched_getaffinity");
	uint64_t size = 64, n, capacity = 1 << 16;
	int pairs = 1;
	if (*kind == 'r') {
		size = atoll(argv[2]);
		n = atoll(argv[3]);
		capacity = atoll(argv[4]);
	} else if (*kind == 't') {
		n = atoll(argv[2]);
	} else {
		pairs = atoi(argv[2]);
		n = atoll(argv[3]);
	}
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int fd = memfd_create("beside", 0);
	if (s == MAP_FAILED || fd < 0 || posix_fallocate(fd, 0, 2 * capacity))
		die("memory");
	for (int i = 0; i < slots; i++)
		s->cells[i].seq = i;
	struct side d[2] = {side(0, fd, capacity), side(1, fd, capacity)};
	char *msg = malloc(size + 8);
	pid_t p[16];
	for (int who = 0; who < 2 * pairs; who++)
		if ((p[who] = fork()) == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			take_part(who, n, pairs, kind, d, msg, size);
			_exit(0);
		}
	for (int who = 0; who < 2 * pairs; who++) {
		int status;
		if (waitpid(p[who], &status, 0) < 0 || status != 0)
			return 4;
	}
	if (*kind != 't' && s->sum != rounds * pairs * (n * (n + 1) / 2))
		return 5;
	for (int i = 0; i < rounds; i++)
		printf("%.3f\n", (double)(s->end[i] - s->begin[i]) / (pairs * n));
	return 0;
}
