/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals during create: see runtime/interrupt.h.
 *
 * The command waits in monitor_spawn() for its only child, which takes any signal for "give up".
 * The handler finds the child's pid in /proc with nothing but async-signal-safe calls. Where the
 * kernel does not list children, or if the signal came just before the fork, the create goes on to
 * its end and is undone then.
 */
#include "runtime/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "runtime/cli.h"

static volatile sig_atomic_t caught; /* a signal handler has no other way */
static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void tell_children(int signo)
{
	char text[256];
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text));
	pid_t pid = 0;

	for (ssize_t i = 0; i < n; i++) {
		if (text[i] >= '0' && text[i] <= '9') {
			pid = pid * 10 + (text[i] - '0');
			continue;
		}
		if (pid > 0)
			(void)kill(pid, signo);
		pid = 0;
	}
	if (fd >= 0)
		(void)close(fd);
}

static void on_signal(int signo)
{
	int saved = errno;

	if (!caught)
		caught = signo;
	tell_children(SIGTERM);
	errno = saved;
}

void interrupt_begin(void)
{
	caught = 0;
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct sigaction action = {.sa_handler = on_signal}, old;

		/* What the caller ignores (nohup) stays ignored */
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			(void)sigaction(signals[i], &action, NULL);
	}
}

int interrupt_signal(void)
{
	return caught;
}

int interrupt_status(int r, const char *name, struct err *err)
{
	int signo = caught;

	if (r != -EINTR || !signo)
		return r;
	(void)err_set(err, EINTR, "caisson %s failed: interrupted by signal %d", name, signo);
	cli_report(err);
	return 128 + signo;
}
