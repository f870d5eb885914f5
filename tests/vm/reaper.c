/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reaper -- COMMAND [ARGUMENT...]: what an engine binds at /sbin/docker-init: pid 1 of a container, which starts the command, passes
 * signals on to it, reaps whatever is left to it, and ends as the command did. Prints how many it reaped.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child;

static void on_signal(int signo)
{
	(void)kill(child, signo);
}

int main(int argc, char **argv)
{
	unsigned int reaped = 0;
	int status = 0, result = 0;
	pid_t pid;

	if (argc < 3 || strcmp(argv[1], "--") != 0)
		return 2;
	(void)signal(SIGTERM, on_signal);
	(void)signal(SIGUSR1, on_signal);
	child = fork();
	if (child == 0) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	while ((pid = wait(&status)) > 0 || errno == EINTR) {
		if (pid <= 0)
			continue;
		reaped++;
		if (pid == child) {
			result = status;
			break;
		}
	}
	printf("reaped %u\n", reaped);
	return WIFEXITED(result) ? WEXITSTATUS(result) : 128 + WTERMSIG(result);
}
