// Receives one message with descriptors at descriptor 3, a stream with frames
// or a packet socket, and answers with what the files hold and with the
// descriptors in reverse.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	int frames = argc > 1 && strcmp(argv[1], "Pair") == 0;
	char in[4096], out[4096];
	union {
		struct cmsghdr h;
		char room[200];
	} control, answer = {0};
	struct iovec v = {in, sizeof in};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(3, &m, MSG_CMSG_CLOEXEC);
	if (n < 0 || m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) return 1;
	// A packet socket of package pipe has time stamps beside the descriptors.
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	while (h && (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)) h = CMSG_NXTHDR(&m, h);
	if (!h) return 2;
	int count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int), fds[10], back[10];
	memcpy(fds, CMSG_DATA(h), count * sizeof(int));
	uint64_t size = 0;
	char *text = out + (frames ? 8 : 0);
	if (frames) {
		memcpy(&size, in, 8);
		if (size + 8 != (uint64_t)n) return 3;
		memcpy(text, in + 8, size);
	} else {
		memcpy(text, in, n);
		size = n;
	}
	for (int i = 0; i < count; i++) {
		text[size++] = ' ';
		ssize_t k = pread(fds[i], text + size, 100, 0);
		if (k < 0) return 4;
		size += k;
		back[count - 1 - i] = fds[i];
	}
	answer.h.cmsg_level = SOL_SOCKET;
	answer.h.cmsg_type = SCM_RIGHTS;
	answer.h.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&answer.h), back, count * sizeof(int));
	if (frames) memcpy(out, &size, 8);
	v.iov_base = out;
	v.iov_len = size + (frames ? 8 : 0);
	m.msg_control = &answer;
	m.msg_controllen = CMSG_SPACE(count * sizeof(int));
	return sendmsg(3, &m, 0) == (ssize_t)v.iov_len ? 0 : 5;
}
