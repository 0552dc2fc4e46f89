// Blocking round trips through two pipes or a socketpair, and one way through
// them, as plain as C does it. peer_pipe trip|flow|framed pipe|stream|packet COUNT
// SIZE prints the median and the mean of a round trip in ns, or bytes per second.
// framed is flow with a length before each message, as ours has it.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void all(ssize_t (*f)(int, void *, size_t), int fd, char *p, size_t n) {
	while (n > 0) {
		ssize_t k = f(fd, p, n);
		if (k <= 0) _exit(1);
		p += k, n -= k;
	}
}

static ssize_t put(int fd, void *p, size_t n) { return write(fd, p, n); }
static ssize_t get(int fd, void *p, size_t n) { return read(fd, p, n); }

static int compare(const void *a, const void *b) {
	long long x = *(long long *)a, y = *(long long *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv) {
	if (argc != 5) return 2;
	int trip = strcmp(argv[1], "trip") == 0, there[2], back[2];
	size_t head = strcmp(argv[1], "framed") == 0 ? 8 : 0;
	char length[8] = {0};
	long count = atol(argv[3]);
	size_t size = atol(argv[4]);
	char *buf = aligned_alloc(4096, (size + 4095) & ~4095ul);
	memset(buf, 1, size); // or it were one page of zeros, many times
	long long *took = calloc(count, sizeof *took);
	if (strcmp(argv[2], "pipe") == 0) {
		if (pipe(there) || pipe(back)) return 3;
	} else {
		int fd[2], type = strcmp(argv[2], "packet") == 0 ? SOCK_SEQPACKET : SOCK_STREAM;
		if (socketpair(AF_UNIX, type, 0, fd)) return 3;
		there[1] = back[0] = fd[0];
		there[0] = back[1] = fd[1];
	}
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (long i = 0; i < count; i++) {
			all(get, there[0], length, head);
			all(get, there[0], buf, size);
			if (trip) all(put, back[1], buf, size);
		}
		if (!trip) all(put, back[1], buf, 1);
		_exit(0);
	}
	long long start = now(), last = start;
	for (long i = 0; i < count; i++) {
		all(put, there[1], length, head);
		all(put, there[1], buf, size);
		if (!trip) continue;
		all(get, back[0], buf, size);
		long long t = now();
		took[i] = t - last, last = t;
	}
	if (!trip) {
		all(get, back[0], buf, 1);
		printf("%.0f 0\n", 1e9 * count * size / (now() - start));
	} else {
		qsort(took, count, sizeof *took, compare);
		printf("%lld %lld\n", took[count / 2], (last - start) / count);
	}
	int status;
	return waitpid(child, &status, 0) == child && status == 0 ? 0 : 4;
}
