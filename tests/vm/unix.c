/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix - a Unix socket's user inside a guest
 *
 *   unix stream PATH         connect, copy stdin there and what comes back to stdout
 *   unix datagram PATH WORD  send one
 *   unix seqpacket PATH      connect
 *   unix serve PATH          bind, listen, send back what each connection says, one after the other
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

static int copy(int from, int to)
{
	char data[65536];
	ssize_t n;

	while ((n = read(from, data, sizeof(data))) > 0) {
		for (ssize_t done = 0, m; done < n; done += m) {
			m = write(to, data + done, (size_t)(n - done));
			if (m < 0)
				return fail("write");
		}
	}
	return n < 0 ? fail("read") : 0;
}

static int serve(int fd, const struct sockaddr_un *addr)
{
	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 || listen(fd, 8) < 0)
		return fail("bind");
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c < 0)
			return fail("accept");
		(void)copy(c, c);
		(void)close(c);
	}
}

static int talk(int fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		int r = copy(0, fd);

		(void)shutdown(fd, SHUT_WR);
		_exit(r);
	}
	return pid < 0 ? fail("fork") : copy(fd, 1);
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *what = argc > 2 ? argv[1] : "";
	int type = !strcmp(what, "datagram")	? SOCK_DGRAM
		   : !strcmp(what, "seqpacket") ? SOCK_SEQPACKET
						: SOCK_STREAM;
	int fd = socket(AF_UNIX, type, 0);

	if (argc < 3 || fd < 0)
		return fail("usage, or socket");
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", argv[2]);
	if (!strcmp(what, "serve"))
		return serve(fd, &addr);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return fail("connect");
	if (type == SOCK_DGRAM)
		return argc > 3 && send(fd, argv[3], strlen(argv[3]), 0) >= 0 ? 0 : fail("send");
	return type == SOCK_STREAM ? talk(fd) : 0;
}
