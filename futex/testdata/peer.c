// The same locks in C, for peer_test.go: a mutex written by hand on futex(2),
// glibc's mutex between processes, plain and robust, its semaphore, and its lock
// for readers and writers (KIND rdlock or wrlock, with two only).
//
//	peer alone KIND         prints the ns of one lock and unlock, nobody else there
//	peer two KIND MS A B    two processes for so long, on the CPUs A and B;
//	                        prints what each got done in a second
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
	_Alignas(64) atomic_uint word;
	_Alignas(64) pthread_mutex_t mutex;
	_Alignas(64) sem_t sem;
	_Alignas(64) pthread_rwlock_t rw;
	_Alignas(64) long inside;
	_Alignas(64) atomic_int ready, stop;
	_Alignas(64) long got[2];
	double rate[2];
};

static struct shared *s;

// 0 free, 1 held, 2 held and somebody may sleep.
static inline void word_lock(void)
{
	unsigned was = 0;
	if (atomic_compare_exchange_strong(&s->word, &was, 1))
		return;
	while (atomic_exchange(&s->word, 2) != 0)
		syscall(SYS_futex, &s->word, FUTEX_WAIT, 2, NULL, NULL, 0);
}

static inline void word_unlock(void)
{
	if (atomic_exchange(&s->word, 0) == 2)
		syscall(SYS_futex, &s->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static inline void lock(char kind)
{
	switch (kind) {
	case 'f': word_lock(); break;
	case 's': sem_wait(&s->sem); break;
	case 'r': pthread_rwlock_rdlock(&s->rw); break;
	case 'w': pthread_rwlock_wrlock(&s->rw); break;
	default: pthread_mutex_lock(&s->mutex);
	}
}

static inline void unlock(char kind)
{
	switch (kind) {
	case 'f': word_unlock(); break;
	case 's': sem_post(&s->sem); break;
	case 'r':
	case 'w': pthread_rwlock_unlock(&s->rw); break;
	default: pthread_mutex_unlock(&s->mutex);
	}
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

enum { chunks = 401, per_chunk = 1000 };

#define CHUNKS(kind)                                    \
	for (int i = 0; i < chunks; i++) {              \
		double t = now();                       \
		for (int j = 0; j < per_chunk; j++) {   \
			lock(kind);                     \
			unlock(kind);                   \
		}                                       \
		took[i] = (now() - t) / per_chunk;      \
	}

static void alone(char kind)
{
	static double took[chunks];
	switch (kind) { // each with its lock compiled in
	case 'f': CHUNKS('f'); break;
	case 's': CHUNKS('s'); break;
	default: CHUNKS('p');
	}
	qsort(took, chunks, sizeof took[0], by_size);
	printf("%.3f\n", took[0]);
}

#define SECTIONS(kind)                                                         \
	while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {        \
		lock(kind);                                                    \
		if (kind != 'r')                                               \
			s->inside++;                                           \
		unlock(kind);                                                  \
		n++;                                                           \
	}

static void run(char kind, int who, int cpu)
{
	long n = 0;
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof one, &one))
		_exit(2);
	atomic_fetch_add(&s->ready, 1);
	while (atomic_load(&s->ready) < 2)
		sched_yield();
	double start = now();
	switch (kind) { // each with its lock compiled in
	case 'f': SECTIONS('f'); break;
	case 's': SECTIONS('s'); break;
	case 'r': SECTIONS('r'); break;
	case 'w': SECTIONS('w'); break;
	default: SECTIONS('p');
	}
	s->got[who] = n;
	s->rate[who] = n / (now() - start) * 1e9;
}

static void two(char kind, int ms, const int *cpu)
{
	pid_t p[2];
	for (int who = 0; who < 2; who++)
		if ((p[who] = fork()) == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run(kind, who, cpu[who]);
			_exit(0);
		}
	while (atomic_load(&s->ready) < 2)
		usleep(100);
	usleep(ms * 1000);
	atomic_store(&s->stop, 1);
	for (int who = 0; who < 2; who++)
		waitpid(p[who], NULL, 0);
	if (kind != 'r' && s->got[0] + s->got[1] != s->inside) {
		fprintf(stderr, "two were inside at once\n");
		exit(1);
	}
	printf("%.0f %.0f\n", s->rate[0], s->rate[1]);
}

int main(int argc, char **argv)
{
	pthread_mutexattr_t a;
	if (argc < 3)
		return 2;
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return 2;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	if (!strcmp(argv[2], "robust"))
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&s->mutex, &a);
	sem_init(&s->sem, 1, 1);
	pthread_rwlockattr_t rw;
	pthread_rwlockattr_init(&rw);
	pthread_rwlockattr_setpshared(&rw, PTHREAD_PROCESS_SHARED);
	pthread_rwlock_init(&s->rw, &rw);
	char kind = argv[2][0];
	if (!strcmp(argv[2], "robust"))
		kind = 'p';
	if (!strcmp(argv[1], "alone"))
		alone(kind);
	else if (argc > 5)
		two(kind, atoi(argv[3]), (int[]){atoi(argv[4]), atoi(argv[5])});
	return 0;
}
