/* SPDX-License-Identifier: Apache-2.0 */
/* --pidfd-socket: see runtime/pidfd.h. */
#include "runtime/pidfd.h"

#include <string.h>

#include "lib/io.h"
#include "runtime/terminal.h"

int pidfd_socket_connect(const char *path, int *out, struct err *err)
{
	*out = -1;
	if (!path || !path[0])
		return 0;
	*out = host_socket_connect("pidfd socket", path, err);
	return *out < 0 ? *out : 0;
}

int pidfd_socket_send(int sock, int pidfd, const char *kind, struct err *err)
{
	int r;

	if (sock < 0)
		return 0;
	r = io_send_fds(sock, kind, strlen(kind), &pidfd, 1);
	return r < 0 ? err_sys(err, -r, "the pidfd socket") : 0;
}
