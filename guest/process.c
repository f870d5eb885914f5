/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's side of a process.
 *
 * An exec'd process must be born in the container's pid namespace and be our child, so that the one reaper gets its status: the
 * agent points its own "namespace for children" there for the length of one clone3. That is a property of this thread, and the
 * loop has but one. clone3 also puts the child into the cgroup, before it can do anything.
 *
 * Reports and death race: when the pid is reaped the report socket is read to its end first.
 */
#define _GNU_SOURCE
#include "guest/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/sched.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#include "guest/agent.pb-c.h"
#include "guest/cgroup.h"
#include "guest/child.h"
#include "guest/container.h"

static void process_free(struct process *process)
{
	loop_del(&process->report);
	close_fd(&process->report.fd);
	close_fd(&process->pidfd);
	stdio_release(&process->stdio);
	free(process->exec_id);
	free(process);
}

static void on_stdio_idle(struct stdio *stdio)
{
	struct process *process = container_of(stdio, struct process, stdio);

	if (process->is_deleted)
		process_free(process);
}

struct process *process_new(struct container *container, const char *exec_id)
{
	struct process *process = calloc(1, sizeof(*process));

	if (!process)
		return NULL;
	process->exec_id = strdup(exec_id);
	if (!process->exec_id) {
		free(process);
		return NULL;
	}
	process->container = container;
	process->pidfd = -1;
	process->report.fd = -1;
	stdio_init(&process->stdio, container->agent->loop, &container->agent->streams,
		   on_stdio_idle);
	process->next = container->processes;
	container->processes = process;
	container->nprocesses++;
	return process;
}

void process_delete(struct process *process)
{
	struct container *container = process->container;
	struct process **p = &container->processes;

	while (*p != process)
		p = &(*p)->next;
	*p = process->next;
	container->nprocesses--;
	if (container->init == process)
		container->init = NULL;
	process->container = NULL;
	process->is_deleted = true;
	if (stdio_is_idle(&process->stdio))
		process_free(process);
}

/* ---- answers ---- */

static void fail_call(struct process *process)
{
	struct ttrpc_call *call = take_ptr(&process->call);

	if (call)
		ttrpc_reply_error(call, (enum ttrpc_code)process->error.code, "%s",
				  process->error.text);
}

static void answer_running(struct process *process)
{
	Caisson__Agent__ExecResponse exec = CAISSON__AGENT__EXEC_RESPONSE__INIT;
	Caisson__Agent__Empty empty = CAISSON__AGENT__EMPTY__INIT;
	struct ttrpc_call *call = take_ptr(&process->call);

	if (!call)
		return;
	exec.pid = process->pid;
	ttrpc_reply_message(call,
			    process == process->container->init ? (void *)&empty : (void *)&exec);
}

static void answer_wait(struct process *process, struct ttrpc_call *call)
{
	Caisson__Agent__WaitResponse response = CAISSON__AGENT__WAIT_RESPONSE__INIT;

	response.exit_code = process_exit_code(process);
	response.signal = process_exit_signal(process);
	response.stdout_bytes = process->output_bytes[0];
	response.stderr_bytes = process->output_bytes[1];
	response.oom_kills = process->container->oom.kills;
	ttrpc_reply_message(call, &response);
}

uint32_t process_exit_code(const struct process *process)
{
	return WIFEXITED(process->status) ? (uint32_t)WEXITSTATUS(process->status) : 0;
}

uint32_t process_exit_signal(const struct process *process)
{
	return WIFSIGNALED(process->status) ? (uint32_t)WTERMSIG(process->status) : 0;
}

/* ---- reports ---- */

static void set_error(struct process *process, enum ttrpc_code code, const char *text)
{
	if (process->failed)
		return;
	process->failed = true;
	process->error.code = code;
	(void)snprintf(process->error.text, sizeof(process->error.text), "%s", text);
}

static void report_closed(struct process *process)
{
	loop_del(&process->report);
	close_fd(&process->report.fd);
	if (process->state == PROCESS_EXECING && !process->failed) {
		process->state = PROCESS_RUNNING;
		if (process == process->container->init)
			process->container->state = CONTAINER_RUNNING;
		answer_running(process);
	} else if (process->state != PROCESS_RUNNING && process->state != PROCESS_ENDED) {
		/* It may have been killed; the answer waits until it has been reaped */
		set_error(process, TTRPC_INTERNAL, "the process ended while it was being set up");
	}
}

static void take_terminal(struct process *process, int *fds, size_t nfds)
{
	if (nfds == 2)
		stdio_set_terminal(&process->stdio, take_fd(&fds[0]), take_fd(&fds[1]));
	for (size_t i = 0; i < nfds; i++)
		close_fd(&fds[i]);
}

/* One that was killed and reaped before we had heard of it would be waited for for ever: then the end of the first child counts */
static bool is_reaped(int pidfd)
{
	return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 && errno == ESRCH;
}

static void take_successor(struct process *process, pid_t pid, int *fds, size_t nfds)
{
	if (nfds == 1 && pid > 0 && process->state == PROCESS_SETTING_UP && !is_reaped(fds[0])) {
		agent_unwatch_pid(process->container->agent, process);
		close_fd(&process->pidfd);
		process->pidfd = take_fd(&fds[0]);
		process->pid = pid;
		agent_watch_pid(process->container->agent, process);
	}
	for (size_t i = 0; i < nfds; i++)
		close_fd(&fds[i]);
}

/* Return: whether there may be more to read */
static bool read_report(struct process *process)
{
	struct process_report report = {0};
	int fds[2];
	size_t nfds = 0;
	ssize_t n = io_recv_fds(process->report.fd, &report, sizeof(report), fds, 2, &nfds);

	if (n == -EAGAIN)
		return false;
	if (n < (ssize_t)offsetof(struct process_report, text)) {
		report_closed(process);
		return false;
	}
	report.text[sizeof(report.text) - 1] = '\0';
	if (report.kind == PROCESS_REPORT_SUCCESSOR) {
		take_successor(process, (pid_t)report.code, fds, nfds);
		return true;
	}
	take_terminal(process, fds, nfds);
	if (report.kind == PROCESS_REPORT_ERROR) {
		set_error(process, report.code ? report.code : TTRPC_INTERNAL, report.text);
	} else if (report.kind == PROCESS_REPORT_READY && process->state == PROCESS_SETTING_UP) {
		if (process == process->container->init) {
			process->state = PROCESS_WAITING;
			container_on_ready(process->container);
		} else {
			process->state = PROCESS_EXECING;
		}
	}
	return true;
}

void process_read_reports(struct process *process)
{
	while (process->report.fd >= 0 && read_report(process))
		;
}

static void on_report(struct loop_source *source, uint32_t events)
{
	(void)events;
	process_read_reports(container_of(source, struct process, report));
}

/* ---- launch ---- */

static pid_t clone_child(const struct process_launch *launch, int *pidfd)
{
	struct clone_args args = {
		.flags = launch->clone_flags | CLONE_PIDFD | CLONE_INTO_CGROUP,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)launch->cgroup_fd,
	};
	cleanup_close int moved = -1;
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0 && (errno == EBUSY || errno == EOPNOTSUPP) && launch->neighbour > 0) {
		/*
		 * The container made cgroups below its own, which then may hold no process itself (EBUSY), or made its own threaded
		 * (EOPNOTSUPP): join its first process
		 */
		moved = cgroup_of_pid(launch->cgroup_root_fd, launch->neighbour);
		if (moved < 0)
			return moved;
		args.cgroup = (uint64_t)moved;
		pid = syscall(SYS_clone3, &args, sizeof(args));
	}
	return pid < 0 ? -errno : (pid_t)pid;
}

static pid_t clone_in_pidns(const struct process_launch *launch, int *pidfd, struct err *err)
{
	cleanup_close int own = -1;
	pid_t pid;

	if (launch->pidns_fd < 0)
		return clone_child(launch, pidfd);
	own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return err_sys(err, errno, "cannot open the guest's pid namespace");
	if (setns(launch->pidns_fd, CLONE_NEWPID) < 0)
		return err_sys(err, errno, "cannot enter the container's pid namespace");
	pid = clone_child(launch, pidfd);
	if (pid != 0 && setns(own, CLONE_NEWPID) < 0)
		log_error("Cannot return to the guest's pid namespace: %s", err_reason(errno));
	return pid;
}

int process_launch(struct process *process, const struct process_launch *launch, struct err *err)
{
	struct agent *agent = process->container->agent;
	struct child_args *args = launch->args;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	args->report_fd = pair[1];
	process->report = (struct loop_source){.fd = pair[0], .on_event = on_report};
	(void)io_set_nonblock(pair[0], true);
	r = stdio_open(&process->stdio, args->process->terminal, launch->tokens, args->stdio, err);
	if (r < 0) {
		(void)close(pair[1]);
		return r;
	}
	pid = clone_in_pidns(launch, &process->pidfd, err);
	if (pid == 0)
		child_main(args);
	(void)close(pair[1]);
	for (int i = 0; i < 3; i++)
		close_fd(&args->stdio[i]);
	if (pid == -EOPNOTSUPP && !(err && err->code))
		return err_set(err, ENOTSUP,
			       "cannot clone a process in the guest: the container has made its "
			       "cgroup a threaded one, which no other process can enter");
	if (pid < 0)
		return err && err->code ? pid
					: err_sys(err, -pid, "cannot clone a process in the guest");
	process->pid = pid;
	process->state = PROCESS_SETTING_UP;
	agent_watch_pid(agent, process);
	r = loop_add(agent->loop, &process->report, EPOLLIN, err);
	if (r < 0)
		(void)process_signal(process, SIGKILL);
	return 0;
}

void process_go(struct process *process, struct ttrpc_call *call)
{
	process->call = call;
	process->state = PROCESS_EXECING;
	if (send(process->report.fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		set_error(process, TTRPC_INTERNAL, "the process ended before it was started");
}

/* ---- end ---- */

void process_wait(struct process *process, struct ttrpc_call *call)
{
	if (process->state == PROCESS_ENDED)
		answer_wait(process, call);
	else if (process->nwaiters == AGENT_WAITERS_MAX)
		ttrpc_reply_error(call, TTRPC_RESOURCE_EXHAUSTED,
				  "more than %d calls wait for this process", AGENT_WAITERS_MAX);
	else
		process->waiters[process->nwaiters++] = call;
}

int process_signal(struct process *process, int signo)
{
	if (process->state == PROCESS_ENDED || process->pidfd < 0)
		return -ESRCH;
	return syscall(SYS_pidfd_send_signal, process->pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

void process_on_exit(struct process *process, pid_t pid, int status)
{
	struct container *container = process->container;
	size_t nwaiters = process->nwaiters;
	bool never_ran;

	oom_check(container);
	process_read_reports(process);
	if (process->pid != pid)
		return; /* its successor goes on */
	if (process->report.fd >= 0)
		report_closed(process);
	never_ran = process->state != PROCESS_RUNNING;
	process->state = PROCESS_ENDED;
	process->status = status;
	close_fd(&process->pidfd);
	for (int i = 0; i < 2; i++)
		process->output_bytes[i] = stdio_output(&process->stdio, i + 1);
	if (process->failed)
		stdio_release(&process->stdio);
	stdio_process_ended(&process->stdio);
	fail_call(process);
	process->nwaiters = 0;
	for (size_t i = 0; i < nwaiters; i++)
		answer_wait(process, process->waiters[i]);
	if (process != container->init && (never_ran || process->failed))
		process_delete(process);
	else if (process == container->init)
		container_on_exit(container, process);
	container_try_remove(container);
}
