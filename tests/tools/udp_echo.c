/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp_echo PORT: answers each datagram with itself, for tests of published ports; busybox has no UDP server.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <netinet/in.h>

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	char data[65536];
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	at.sin_port = htons((unsigned short)(argc == 2 ? atoi(argv[1]) : 0));
	if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof(at)) < 0) {
		perror("udp_echo");
		return 1;
	}
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(s, data, sizeof(data), 0, (struct sockaddr *)&from, &len);

		if (n >= 0)
			(void)sendto(s, data, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}
