/* The other side of the interop tests: POSIX shared memory as a C program uses
 * it.
 *   peer edit NAME OLD NEW    opens, expects OLD at 0, writes NEW at 0
 *   peer make NAME SIZE TEXT  creates, writes TEXT, and stays until its input ends
 *   peer unlink NAME
 * It says "ok" when it has done its part. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *what) {
	perror(what);
	exit(1);
}

static char *map(int fd, size_t size) {
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

int main(int argc, char **argv) {
	if (argc == 5 && !strcmp(argv[1], "edit")) {
		struct stat st;
		int fd = shm_open(argv[2], O_RDWR, 0);
		if (fd < 0 || fstat(fd, &st))
			die("shm_open");
		char *p = map(fd, st.st_size);
		if (strncmp(p, argv[3], strlen(argv[3]))) {
			fprintf(stderr, "found %.20s, want %s\n", p, argv[3]);
			return 1;
		}
		strcpy(p, argv[4]);
		printf("ok %lld\n", (long long)st.st_size);
	} else if (argc == 5 && !strcmp(argv[1], "make")) {
		int fd = shm_open(argv[2], O_RDWR | O_CREAT | O_EXCL, 0600);
		if (fd < 0 || ftruncate(fd, atoi(argv[3])))
			die("shm_open");
		strcpy(map(fd, atoi(argv[3])), argv[4]);
		puts("ok");
		fflush(stdout);
		while (getchar() != EOF)
			;
	} else if (argc == 3 && !strcmp(argv[1], "unlink")) {
		if (shm_unlink(argv[2]))
			die("shm_unlink");
		puts("ok");
	} else {
		return 2;
	}
	return 0;
}
