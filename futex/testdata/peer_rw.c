// glibc's lock for readers and writers between processes, for rw_peer_test.go:
// prints the ns of one rdlock and unlock, and of one wrlock and unlock.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { chunks = 401, per_chunk = 1000 };

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

static double alone(pthread_rwlock_t *l, int (*lock)(pthread_rwlock_t *))
{
	static double took[chunks];
	for (int i = 0; i < chunks; i++) {
		double t = now();
		for (int j = 0; j < per_chunk; j++) {
			lock(l);
			pthread_rwlock_unlock(l);
		}
		took[i] = (now() - t) / per_chunk;
	}
	qsort(took, chunks, sizeof took[0], by_size);
	return took[chunks / 10];
}

int main(void)
{
	pthread_rwlockattr_t a;
	pthread_rwlock_t *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l == MAP_FAILED)
		return 2;
	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	if (pthread_rwlock_init(l, &a))
		return 2;
	printf("%.3f %.3f\n", alone(l, pthread_rwlock_rdlock), alone(l, pthread_rwlock_wrlock));
	return 0;
}
