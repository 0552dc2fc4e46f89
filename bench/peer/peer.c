// The loops of bench, in C: what a path costs without Go and without a library.
//
//	peer KIND CPU CPU    the CPUs of both processes, -1 to leave them free
//
// It prints "ready" and the ids of its two processes, and then for each line
// "ping SIZE N" or "source SIZE N" on its input one line: the nanoseconds that
// took, those of CPU time by both, and a histogram of the round trips.
//
// ring never sleeps: it is the limit, not a way to live. ring-sleep sleeps at
// once, by futex. Neither survives a process that is killed.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ring_size = 4 << 20, buckets = 58 * 128 };

struct half { // one direction
	_Alignas(128) _Atomic uint64_t tail;
	_Alignas(128) _Atomic uint64_t head;
	_Alignas(128) _Atomic uint32_t sleeps; // the reader does
	_Alignas(128) _Atomic uint32_t full;   // the writer does
	_Alignas(128) _Atomic uint32_t word;
};

struct end {
	struct half *h;
	char *data; // the ring twice in a row
	uint64_t mine, theirs;
	uint32_t seen;
	int fd;
};

static struct end out, in;
static void (*send_)(const void *, size_t);
static void (*recv_)(void *, size_t);
static int sleeps, alone, side_b;
static char room[8192];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static uint64_t cpu_time(void)
{
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000000ull + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000ull;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t old)
{
	syscall(SYS_futex, word, FUTEX_WAIT, old, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

// look is one more look in vain. On one CPU only a yield lets the other go on.
static void look(int *looks)
{
	if (alone || ++*looks % 4096 == 0)
		sched_yield();
#ifdef __x86_64__
	else
		__builtin_ia32_pause();
#endif
}

// rest sleeps until the other has moved place away from was.
static void rest(_Atomic uint32_t *flag, _Atomic uint64_t *place, uint64_t was)
{
	atomic_store(flag, 1);
	if (atomic_load(place) == was)
		futex_wait(flag, 1);
	atomic_store_explicit(flag, 0, memory_order_relaxed);
}

static void rouse(_Atomic uint32_t *flag)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(flag, memory_order_relaxed) && atomic_exchange(flag, 0))
		futex_wake(flag);
}

static void ring_send(const void *msg, size_t n)
{
	uint64_t need = 8 + ((n + 7) & ~7ull), len = n;
	for (int looks = 0; out.mine + need - out.theirs > ring_size;) {
		uint64_t was = out.theirs;
		out.theirs = atomic_load_explicit(&out.h->head, memory_order_acquire);
		if (out.theirs == was || out.mine + need - out.theirs > ring_size)
			sleeps ? rest(&out.h->full, &out.h->head, out.theirs) : look(&looks);
	}
	char *at = out.data + out.mine % ring_size;
	memcpy(at, &len, 8);
	memcpy(at + 8, msg, n);
	out.mine += need;
	atomic_store_explicit(&out.h->tail, out.mine, memory_order_release);
	if (sleeps)
		rouse(&out.h->sleeps);
}

static void ring_recv(void *msg, size_t n)
{
	for (int looks = 0; in.mine == in.theirs;) {
		in.theirs = atomic_load_explicit(&in.h->tail, memory_order_acquire);
		if (in.mine == in.theirs)
			sleeps ? rest(&in.h->sleeps, &in.h->tail, in.mine) : look(&looks);
	}
	char *at = in.data + in.mine % ring_size;
	uint64_t len;
	memcpy(&len, at, 8);
	if (len != n)
		exit(3);
	memcpy(msg, at + 8, n);
	in.mine += 8 + ((n + 7) & ~7ull);
	atomic_store_explicit(&in.h->head, in.mine, memory_order_release);
	if (sleeps)
		rouse(&in.h->full);
}

static void word_send(const void *msg, size_t n)
{
	atomic_fetch_add(&out.h->word, 1);
	futex_wake(&out.h->word);
}

static void word_recv(void *msg, size_t n)
{
	while (atomic_load(&in.h->word) == in.seen)
		futex_wait(&in.h->word, in.seen);
	in.seen++;
}

static void fd_send(const void *msg, size_t n)
{
	for (ssize_t k; n > 0; n -= k, msg = (const char *)msg + k)
		if ((k = write(out.fd, msg, n)) < 0)
			die("write");
}

static void fd_recv(void *msg, size_t n)
{
	for (ssize_t k; n > 0; n -= k, msg = (char *)msg + k)
		if ((k = read(in.fd, msg, n)) <= 0)
			die("read");
}

static void event_send(const void *msg, size_t n)
{
	uint64_t one = 1;
	fd_send(&one, 8);
}

static void mq_send_(const void *msg, size_t n)
{
	if (mq_send(out.fd, msg, n, 0))
		die("mq_send");
}

static void mq_recv_(void *msg, size_t n)
{
	if (mq_receive(in.fd, room, sizeof room, NULL) != (ssize_t)n)
		die("mq_receive");
	memcpy(msg, room, n);
}

static void tcp(int fds[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	int one = 1, l = socket(AF_INET, SOCK_STREAM, 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(l, (void *)&at, len) || listen(l, 1) || getsockname(l, (void *)&at, &len) ||
	    connect(fds[0], (void *)&at, len) || (fds[1] = accept(l, NULL, NULL)) < 0)
		die("tcp");
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	close(l);
}

static struct end to[2]; // what a sends on, what b does

static void connect_(const char *kind)
{
	int fds[2], back[2];
	send_ = fd_send, recv_ = fd_recv;
	struct half *h = mmap(NULL, 2 * sizeof *h, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (h == MAP_FAILED)
		die("mmap");
	to[0].h = h, to[1].h = h + 1;
	if (!strncmp(kind, "ring", 4)) {
		send_ = ring_send, recv_ = ring_recv, sleeps = !strcmp(kind, "ring-sleep");
		for (int i = 0; i < 2; i++) {
			int fd = memfd_create("peer", MFD_CLOEXEC);
			char *at = mmap(NULL, 2 * ring_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (fd < 0 || at == MAP_FAILED || posix_fallocate(fd, 0, ring_size))
				die("memory");
			for (int k = 0; k < 2; k++)
				if (mmap(at + k * ring_size, ring_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
					die("mmap");
			to[i].data = at;
		}
	} else if (!strcmp(kind, "futex")) {
		send_ = word_send, recv_ = word_recv;
	} else if (!strcmp(kind, "pipe")) {
		if (pipe(fds) || pipe(back))
			die("pipe");
		to[0].fd = fds[1], to[1].fd = back[1];
		in.fd = back[0]; // of a; b's is the other
		out.fd = fds[0];
		return;
	} else if (!strcmp(kind, "eventfd")) {
		send_ = event_send;
		to[0].fd = eventfd(0, 0), to[1].fd = eventfd(0, 0);
	} else if (!strcmp(kind, "mq")) {
		send_ = mq_send_, recv_ = mq_recv_;
		struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = sizeof room};
		for (int i = 0; i < 2; i++) {
			char name[64];
			snprintf(name, sizeof name, "/rawipc-peer-%d-%d", getpid(), i);
			if ((to[i].fd = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr)) < 0)
				die("mq_open");
			mq_unlink(name);
		}
	} else {
		int type = !strcmp(kind, "dgram") ? SOCK_DGRAM : !strcmp(kind, "seqpacket") ? SOCK_SEQPACKET : SOCK_STREAM;
		if (!strcmp(kind, "tcp"))
			tcp(fds);
		else if (socketpair(AF_UNIX, type, 0, fds))
			die("socketpair");
		to[0].fd = fds[0], to[1].fd = fds[1];
		in.fd = fds[0], out.fd = fds[1];
		return;
	}
	in = to[1], out = to[0]; // a reads what b sends on
}

static void take_side(int b, int cpu)
{
	struct end a_in = in, b_in = out;
	side_b = b;
	in = b ? b_in : a_in;
	out = to[b];
	if (cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		if (sched_setaffinity(0, sizeof set, &set))
			die("sched_setaffinity");
	}
}

static uint32_t hist[buckets]; // as hist.go has them

static void count(uint64_t ns)
{
	int exp = ns < 128 ? -1 : 56 - __builtin_clzll(ns);
	hist[ns < 128 ? ns : (exp + 1) * 128 + (ns >> exp) - 128]++;
}

struct command {
	char op;
	uint64_t size, n;
};

struct reply {
	uint64_t end, cpu;
};

static struct reply play(struct command c)
{
	static char *msg;
	msg = realloc(msg, c.size);
	memset(msg, 1, c.size);
	uint64_t cpu = cpu_time(), last = now();
	for (uint64_t i = 0; i < c.n; i++) {
		if (!side_b)
			send_(msg, c.size);
		if (side_b || c.op == 'p')
			recv_(msg, c.size);
		if (side_b && c.op == 'p')
			send_(msg, c.size);
		if (!side_b && c.op == 'p') {
			uint64_t t = now();
			count(t - last);
			last = t;
		}
	}
	return (struct reply){now(), cpu_time() - cpu};
}

static void orphaned(int sig) { _exit(1); }

int main(int argc, char **argv)
{
	int down[2], up[2], a, b;
	if (argc != 4)
		return 2;
	alone = (a = atoi(argv[2])) == (b = atoi(argv[3])) && a >= 0;
	connect_(argv[1]);
	if (pipe(down) || pipe(up))
		die("pipe");
	struct command c;
	struct reply theirs, ours;
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		take_side(1, b);
		close(down[1]);
		while (read(down[0], &c, sizeof c) == sizeof c) {
			ours = play(c);
			if (write(up[1], &ours, sizeof ours) != sizeof ours)
				die("write");
		}
		_exit(0);
	}
	signal(SIGCHLD, orphaned);
	take_side(0, a);
	printf("ready %d %d\n", parent, pid);
	fflush(stdout);
	char op[16];
	while (scanf("%15s %lu %lu", op, &c.size, &c.n) == 3) {
		c.op = *op;
		memset(hist, 0, sizeof hist);
		if (write(down[1], &c, sizeof c) != sizeof c)
			die("write");
		uint64_t start = now();
		ours = play(c);
		if (read(up[0], &theirs, sizeof theirs) != sizeof theirs)
			die("read");
		uint64_t end = ours.end > theirs.end ? ours.end : theirs.end;
		printf("%lu %lu", end - start, ours.cpu + theirs.cpu);
		for (int i = 0; i < buckets; i++)
			if (hist[i])
				printf(" %d:%u", i, hist[i]);
		printf("\n");
		fflush(stdout);
	}
	signal(SIGCHLD, SIG_DFL);
	return 0;
}
