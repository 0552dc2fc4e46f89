// Two processes on one CPU that sleep and wake each other in turn, for
// sleep_peer_test.go: through glibc's condition variable (with its mutex, plain
// or robust), barrier or semaphores between processes.
//
//	peer_sleep KIND TRIPS CPU   prints the median and the mean of a round trip in ns
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pthread_barrier_t barrier;
	sem_t sem[2];
	int turn;
};

static struct shared *s;

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

// trip gives the turn to the other and waits until it is who's again.
static void trip(char kind, int who)
{
	switch (kind) {
	case 'b': // a barrier's round is half a trip: one sleeps, once
		pthread_barrier_wait(&s->barrier);
		pthread_barrier_wait(&s->barrier);
		break;
	case 's':
		if (who)
			sem_wait(&s->sem[1]);
		sem_post(&s->sem[!who]);
		if (!who)
			sem_wait(&s->sem[0]);
		break;
	default:
		pthread_mutex_lock(&s->mutex);
		while (s->turn != who)
			pthread_cond_wait(&s->cond, &s->mutex);
		s->turn = !who;
		pthread_cond_signal(&s->cond);
		pthread_mutex_unlock(&s->mutex);
	}
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	int trips = atoi(argv[2]);
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(atoi(argv[3]), &one);
	if (sched_setaffinity(0, sizeof one, &one))
		return 2;
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double *took = calloc(trips, sizeof *took);
	if (s == MAP_FAILED || !took)
		return 2;
	pthread_mutexattr_t m;
	pthread_mutexattr_init(&m);
	pthread_mutexattr_setpshared(&m, PTHREAD_PROCESS_SHARED);
	if (!strcmp(argv[1], "robust"))
		pthread_mutexattr_setrobust(&m, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&s->mutex, &m);
	pthread_condattr_t c;
	pthread_condattr_init(&c);
	pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&s->cond, &c);
	pthread_barrierattr_t b;
	pthread_barrierattr_init(&b);
	pthread_barrierattr_setpshared(&b, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&s->barrier, &b, 2);
	sem_init(&s->sem[0], 1, 0);
	sem_init(&s->sem[1], 1, 0);
	pid_t other = fork();
	if (other == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < trips; i++)
			trip(argv[1][0], 1);
		_exit(0);
	}
	double start = now(), last = start;
	for (int i = 0; i < trips; i++) {
		trip(argv[1][0], 0);
		double t = now();
		took[i] = t - last;
		last = t;
	}
	waitpid(other, NULL, 0);
	qsort(took, trips, sizeof *took, by_size);
	printf("%.1f %.1f\n", took[trips / 2], (last - start) / trips);
	return 0;
}
