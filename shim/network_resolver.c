/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is there a resolver of an engine in the namespace?
 *
 * Docker binds it to a free port of 127.0.0.11 before it moves an interface in; a NAT rule leads port 53 there. So the sockets of
 * the namespace are looked at whenever its interfaces are. Where resolv.conf points is no better sign: engines rewrite it later.
 */
#include "shim/network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define LINES_MAX 4096 /* sockets that are looked at */

/* "   12: 0B00007F:8F1A 00000000:0000 07 …": the address as a number of this machine's byte order */
bool net_names_resolver(const char *line)
{
	unsigned int slot, address, port;

	return sscanf(line, " %u: %8X:%4X ", &slot, &address, &port) == 3 &&
	       address == htonl(MACHINE_RESOLVER_ADDRESS);
}

bool net_has_resolver(int proc_fd)
{
	int fd = openat(proc_fd, "../net/udp", O_RDONLY | O_CLOEXEC);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char line[256];
	bool found = false;

	if (!file) {
		close_fd(&fd);
		return false;
	}
	for (int i = 0; i < LINES_MAX && !found && fgets(line, sizeof(line), file); i++)
		found = net_names_resolver(line);
	(void)fclose(file);
	return found;
}
