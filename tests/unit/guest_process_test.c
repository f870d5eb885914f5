/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent makes of a report that comes late: its side of a process alone, with this test as the child.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/loop.h"

#include "guest/container.h"
#include "guest/process.h"

#define FIRST_CHILD 1 /* a pid that no child of ours has */

static pid_t fork_sleeper(int *pidfd)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)pause();
		_exit(0);
	}
	assert_true(pid > 0);
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_true(*pidfd >= 0);
	return pid;
}

/* Have the first child report @pid; Return: whose process it is then */
static pid_t report(pid_t pid, int pidfd)
{
	struct agent agent = {.loop = loop_new(NULL)};
	struct container container = {.agent = &agent, .state = CONTAINER_CREATING};
	struct process_report message = {.kind = PROCESS_REPORT_SUCCESSOR, .code = (uint32_t)pid};
	struct process *process;
	int pair[2];
	pid_t now;

	assert_non_null(agent.loop);
	process = process_new(&container, "");
	assert_non_null(process);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	(void)io_set_nonblock(pair[0], true);
	process->report.fd = pair[0];
	process->pid = FIRST_CHILD;
	agent_watch_pid(&agent, process);
	assert_int_equal(io_send_fds(pair[1], &message, sizeof(message), &pidfd, 1), 0);
	process_read_reports(process);
	now = process->pid;
	agent_unwatch_pid(&agent, process);
	process_delete(process);
	(void)close(pair[1]);
	loop_free(agent.loop);
	return now;
}

/* One that has been reaped can never be reaped again: the first child stays the process, and its end is the process's */
static void test_successor(void **state)
{
	int pidfd;
	pid_t pid = fork_sleeper(&pidfd);

	(void)state;
	assert_int_equal(report(pid, pidfd), pid);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	assert_int_equal(report(pid, pidfd), pid);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(report(pid, pidfd), FIRST_CHILD);
	(void)close(pidfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_successor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
