/* SPDX-License-Identifier: Apache-2.0 */
/* See lib/process.h. */
#include "lib/process.h"

#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Whatever the caller ignores, or was started with. By the raw call, since the C library keeps two signals to itself: its signal()
 * refuses them, but its posix_spawn() leaves them ignored in what it starts.
 */
void process_reset_signals(void)
{
	static const struct { /* the kernel's struct sigaction */
		unsigned long handler, flags, restorer, mask;
	} fresh; /* SIG_DFL */

	for (int signo = 1; signo < NSIG; signo++)
		(void)syscall(SYS_rt_sigaction, signo, &fresh, NULL, sizeof(fresh.mask));
}
