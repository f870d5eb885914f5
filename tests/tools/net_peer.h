/* SPDX-License-Identifier: Apache-2.0 */
/* What net_init (in the guest) and net_boot (on the host) say to each other: one order per connection, then its bytes. */
#ifndef TESTS_TOOLS_NET_PEER_H
#define TESTS_TOOLS_NET_PEER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define NET_HOST "10.9.0.1"
#define NET_GUEST "10.9.0.2"
#define NET_PORT 5001
#define NET_SLOTS 3
#define NET_PATTERN \
	65521u /* bytes after which the stream repeats: no multiple of anything a packet may be */

struct net_order {
	char what; /* 'U': the guest sends; 'D': the host does; 'E': the host gives back each byte */
	uint64_t count;
} __attribute__((packed));

static inline const uint8_t *net_pattern(void)
{
	static uint8_t pattern[NET_PATTERN];

	if (pattern[1] == 0)
		for (uint32_t i = 0; i < NET_PATTERN; i++)
			pattern[i] = (uint8_t)(i * 167u + (i >> 8) + 1);
	return pattern;
}

static inline bool net_give(int sock, uint64_t count)
{
	const uint8_t *pattern = net_pattern();

	for (uint64_t done = 0; done < count;) {
		size_t at = done % NET_PATTERN, len = NET_PATTERN - at;
		ssize_t n;

		if (len > count - done)
			len = (size_t)(count - done);
		n = write(sock, pattern + at, len);
		if (n <= 0)
			return false;
		done += (uint64_t)n;
	}
	return true;
}

static inline bool net_take(int sock, uint64_t count)
{
	static uint8_t buf[NET_PATTERN];
	const uint8_t *pattern = net_pattern();

	for (uint64_t done = 0; done < count;) {
		size_t at = done % NET_PATTERN, len = NET_PATTERN - at;
		ssize_t n = read(sock, buf, len);

		if (n <= 0 || memcmp(buf, pattern + at, (size_t)n) != 0)
			return false;
		done += (uint64_t)n;
	}
	return true;
}

#endif
