/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp - datagrams of a guest's program
 *
 *   udp serve PORT               at every address: send back what comes, with "own " before it
 *   udp ask ADDRESS PORT WORD    by a socket that is not connected; prints the answer, which must come from there
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

static int serve(int fd, struct sockaddr_in *addr)
{
	char data[2048] = "own ";

	if (bind(fd, (struct sockaddr *)addr, sizeof(*addr)) < 0)
		return fail("bind");
	for (;;) {
		socklen_t len = sizeof(*addr);
		ssize_t n = recvfrom(fd, data + 4, sizeof(data) - 4, 0, (struct sockaddr *)addr,
				     &len);

		if (n >= 0)
			(void)sendto(fd, data, (size_t)n + 4, 0, (struct sockaddr *)addr, len);
	}
}

static int ask(int fd, const struct sockaddr_in *addr, const char *word)
{
	struct timeval patience = {.tv_sec = 30};
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	char data[2048];
	ssize_t n;

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (sendto(fd, word, strlen(word), 0, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return fail("send");
	n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &len);
	if (n < 0)
		return fail("receive");
	if (from.sin_addr.s_addr != addr->sin_addr.s_addr || from.sin_port != addr->sin_port) {
		(void)fprintf(stderr, "an answer from %s port %u\n", inet_ntoa(from.sin_addr),
			      ntohs(from.sin_port));
		return 1;
	}
	(void)printf("%.*s\n", (int)n, data);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0)
		return fail("socket");
	if (argc == 3 && !strcmp(argv[1], "serve")) {
		addr.sin_port = htons((uint16_t)atoi(argv[2]));
		return serve(fd, &addr);
	}
	if (argc == 5 && !strcmp(argv[1], "ask") && inet_pton(AF_INET, argv[2], &addr.sin_addr)) {
		addr.sin_port = htons((uint16_t)atoi(argv[3]));
		return ask(fd, &addr, argv[4]);
	}
	(void)fprintf(stderr, "usage: udp serve PORT | udp ask ADDRESS PORT WORD\n");
	return 2;
}
