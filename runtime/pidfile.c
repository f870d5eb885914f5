/* SPDX-License-Identifier: Apache-2.0 */
/* Pid files: engines read the whole file as one number, so there is no newline. */
#include "runtime/pidfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/io.h"

int pid_file_write(const char *path, pid_t pid, struct err *err)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", (int)pid), r;

	if (!path || !path[0])
		return 0;
	r = io_write_file(AT_FDCWD, path, text, (size_t)n, 0644, err);
	if (r < 0)
		err_prefix(err, "pid file");
	return r;
}

void pid_file_remove(const char *path)
{
	if (path && path[0])
		(void)unlink(path);
}
