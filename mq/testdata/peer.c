// The C side of peer_test.go and beside_test.go.
//
//	peer send NAME PRIO:TEXT...   sends each, waiting for room
//	peer recv NAME COUNT          prints "PRIO:TEXT" of each, waiting for it
//	peer create NAME MAX SIZE     makes a queue, exclusively
//	peer notify NAME              registers, prints "registered", then "notified"
//	peer trips TRIPS CPU CPU      prints the median and the mean of a round trip in ns
#define _GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static int send_all(const char *name, int n, char **texts)
{
	mqd_t q = mq_open(name, O_WRONLY);
	check(q != (mqd_t)-1, "mq_open");
	for (int i = 0; i < n; i++) {
		char *text = strchr(texts[i], ':') + 1;
		check(mq_send(q, text, strlen(text), atoi(texts[i])) == 0, "mq_send");
	}
	return 0;
}

static int recv_all(const char *name, int n)
{
	mqd_t q = mq_open(name, O_RDONLY);
	check(q != (mqd_t)-1, "mq_open");
	struct mq_attr a;
	check(mq_getattr(q, &a) == 0, "mq_getattr");
	char *buf = malloc(a.mq_msgsize);
	while (n-- > 0) {
		unsigned prio;
		ssize_t size = mq_receive(q, buf, a.mq_msgsize, &prio);
		check(size >= 0, "mq_receive");
		printf("%u:%.*s\n", prio, (int)size, buf);
		fflush(stdout);
	}
	return 0;
}

static int create(const char *name, long max, long size)
{
	struct mq_attr a = { .mq_maxmsg = max, .mq_msgsize = size };
	check(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a) != (mqd_t)-1, "mq_open");
	return 0;
}

static int notify(const char *name)
{
	mqd_t q = mq_open(name, O_RDONLY);
	check(q != (mqd_t)-1, "mq_open");
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	check(mq_notify(q, &e) == 0, "mq_notify");
	puts("registered");
	fflush(stdout);
	int sig;
	check(sigwait(&set, &sig) == 0, "sigwait");
	puts("notified");
	return 0;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void pin(int cpu)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	check(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
}

static mqd_t unnamed(void)
{
	char name[64];
	static int n;
	snprintf(name, sizeof name, "/rawipc-mq-peer-%d-%d", getpid(), n++);
	struct mq_attr a = { .mq_maxmsg = 10, .mq_msgsize = 64 };
	mqd_t q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &a);
	check(q != (mqd_t)-1, "mq_open");
	mq_unlink(name);
	return q;
}

static int trips(int n, int cpu, int other_cpu)
{
	mqd_t there = unnamed(), back = unnamed();
	char buf[64] = { 0 };
	double *took = calloc(n, sizeof *took);
	pid_t other = fork();
	check(other >= 0 && took, "fork");
	if (other == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(other_cpu);
		for (int i = 0; i < n; i++) {
			check(mq_receive(there, buf, sizeof buf, NULL) == 64, "mq_receive");
			check(mq_send(back, buf, 64, 0) == 0, "mq_send");
		}
		_exit(0);
	}
	pin(cpu);
	double start = now(), last = start;
	for (int i = 0; i < n; i++) {
		check(mq_send(there, buf, 64, 0) == 0, "mq_send");
		check(mq_receive(back, buf, sizeof buf, NULL) == 64, "mq_receive");
		double t = now();
		took[i] = t - last;
		last = t;
	}
	waitpid(other, NULL, 0);
	qsort(took, n, sizeof *took, by_size);
	printf("%.1f %.1f\n", took[n / 2], (last - start) / n);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "send"))
		return send_all(argv[2], argc - 3, argv + 3);
	if (argc == 4 && !strcmp(argv[1], "recv"))
		return recv_all(argv[2], atoi(argv[3]));
	if (argc == 5 && !strcmp(argv[1], "create"))
		return create(argv[2], atol(argv[3]), atol(argv[4]));
	if (argc == 3 && !strcmp(argv[1], "notify"))
		return notify(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "trips"))
		return trips(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
	return 2;
}
