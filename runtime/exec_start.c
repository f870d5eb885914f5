/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who stands for an exec'd process on the host:
 *
 *   in the foreground, no terminal    this process itself: its pid, its stdio, its exit code
 *   detached                          a child in a session of its own, orphaned to the engine's subreaper when we exit
 *   in the foreground, a terminal     the same child behind a pty; we relay the pty to the person's terminal, and it dies with us
 *
 * The child starts the process in the guest, reports once how that went (execve has succeeded, or
 * why not), and serves. It keeps no descriptor of ours that is not the process's: an engine reads
 * our standard output to its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "runtime/exec.h"
#include "runtime/pidfd.h"
#include "runtime/pidfile.h"
#include "runtime/terminal.h"
#include "shim/control.h"

#define STATUS_FAILED 255

struct report {
	int code; /* 0, or -errno with the sentence */
	struct err err;
};

struct standin {
	const struct container *container;
	const struct exec_options *options;
	const struct oci_process *process;
	int console_socket; /* owned: gets the pty's master; -1 without terminal */
	int report_fd;	    /* owned */
	int pidfd_socket;   /* borrowed: gets a descriptor of the stand-in; -1: nobody asks */
	pid_t parent;	    /* dies with it; 0: detached */
};

/* The guest's reply says nothing of exit codes that only the host has */
static int status_of(int r)
{
	return r < 0 ? STATUS_FAILED : r;
}

static struct control_exec_args args_of(const struct exec_options *options,
					const struct oci_process *process)
{
	return (struct control_exec_args){
		.process = process,
		.cgroup = options->cgroup.n ? options->cgroup.items[0] : NULL,
		.ignore_paused = options->ignore_paused,
	};
}

/* What the options ask to be told of the stand-in's pid */
static int tell_pid(const struct exec_options *options, int pidfd_socket, pid_t pid,
		    struct err *err)
{
	cleanup_close int pidfd = -1;
	int r;

	if (pidfd_socket >= 0) {
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (pidfd < 0)
			return err_sys(err, errno, "watching the stand-in");
		r = pidfd_socket_send(pidfd_socket, pidfd, "setns", err);
		if (r < 0)
			return r;
	}
	return pid_file_write(options->pid_file, pid, err);
}

/* ---- in the child ---- */

static int leave_stdio(void)
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (dup2(null, fd) < 0)
			return -errno;
	}
	return 0;
}

/* The process runs, and its terminal's master is with whoever asked for it */
static int begin(struct standin *s, struct control_exec *exec, int *slave, struct err *err)
{
	struct control_exec_args args = args_of(s->options, s->process);
	cleanup_close int master = -1;
	int r;

	if (setsid() < 0)
		return err_sys(err, errno, "a new session");
	if (s->process->terminal) {
		r = console_open(s->process->console_size.height, s->process->console_size.width,
				 &master, slave, err);
		if (r < 0)
			return r;
	}
	r = control_exec(s->container->dir_fd, &args, exec, err);
	if (r < 0)
		return r;
	if (!s->process->terminal)
		return 0;
	r = console_send(s->console_socket, master, err);
	if (r < 0)
		return r;
	r = leave_stdio();
	return r < 0 ? err_sys(err, -r, "leaving the command's stdio") : 0;
}

static void close_others(const struct control_exec *exec, int slave)
{
	int keep[6], n = 0;
	const int wanted[] = {
		exec->control_fd, exec->streams[0], exec->streams[1], exec->streams[2], slave,
		log_fd()};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (wanted[i] > STDERR_FILENO)
			keep[n++] = wanted[i];
	}
	io_close_all_from(STDERR_FILENO + 1, keep, (size_t)n);
}

static int stand_in(struct standin *s)
{
	struct control_exec exec = {.control_fd = -1, .streams = {-1, -1, -1}};
	int stdio[3] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}, slave = -1, r;
	struct report report = {0};

	/* A failure closes the pty's master: its hang-up must not come before the report */
	(void)signal(SIGHUP, SIG_IGN);
	if (s->parent && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != s->parent))
		return STATUS_FAILED;
	report.code = begin(s, &exec, &slave, &report.err);
	r = io_write_full(s->report_fd, &report, sizeof(report));
	if (report.code < 0 || r < 0)
		return STATUS_FAILED;
	close_others(&exec, slave);
	(void)signal(SIGHUP, SIG_DFL);
	if (s->process->terminal) {
		stdio[0] = slave;
		stdio[1] = stdio[2] = -1;
	}
	r = stdio_serve(&exec, stdio, s->process->terminal, &report.err);
	control_exec_release(&exec);
	if (r < 0 && report.err.msg[0])
		log_error("exec failed: %s", report.err.msg);
	return status_of(r);
}

/* ---- in the command ---- */

/* Return: the child's pid once the process runs in the guest, or -errno (then there is no child) */
static pid_t fork_standin(struct standin *s, struct err *err)
{
	cleanup_close int reports = -1;
	struct report report;
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "the stand-in's pipe");
	reports = fds[0];
	s->report_fd = fds[1];
	pid = fork();
	if (pid == 0) {
		close_fd(&reports);
		_exit(stand_in(s));
	}
	r = pid < 0 ? errno : 0;
	close_fd(&s->report_fd);
	close_fd(&s->console_socket);
	if (pid < 0)
		return err_sys(err, r, "starting a stand-in");
	r = io_read_full(reports, &report, sizeof(report));
	if (r == 0 && report.code == 0)
		return pid;
	(void)waitpid(pid, NULL, 0);
	if (r < 0)
		return err_set(err, EIO, "the stand-in died before the process was started");
	report.err.msg[sizeof(report.err.msg) - 1] = '\0';
	return err_set(err, report.code < 0 ? -report.code : EIO, "%s", report.err.msg);
}

static void end_standin(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static int start_detached(struct standin *s, const struct exec_options *options, struct err *err)
{
	pid_t pid;
	int r;

	if (s->process->terminal) {
		s->console_socket = console_socket_connect(options->console_socket, err);
		if (s->console_socket < 0)
			return s->console_socket;
	}
	pid = fork_standin(s, err);
	if (pid < 0)
		return pid;
	r = tell_pid(options, s->pidfd_socket, pid, err);
	if (r < 0)
		end_standin(pid);
	return r;
}

static int wait_terminal(pid_t pid, int master, struct host_terminal *terminal, struct err *err)
{
	cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct foreground *foreground;
	int r;

	if (pidfd < 0) {
		close_fd(&master);
		return err_sys(err, errno, "watching the stand-in");
	}
	r = host_terminal_raw(terminal, err);
	if (r < 0) {
		close_fd(&master);
		return r;
	}
	foreground = foreground_new(pid, pidfd, master, terminal, err);
	r = foreground ? foreground_wait(foreground, err) : -err->code;
	foreground_free(foreground);
	return r;
}

static int serve_terminal(struct standin *s, const struct exec_options *options, int socket_fd,
			  struct host_terminal *terminal, struct err *err)
{
	pid_t pid = fork_standin(s, err);
	int master, r;

	if (pid < 0)
		return pid;
	master = console_socket_receive(socket_fd, err);
	r = master < 0 ? master : tell_pid(options, s->pidfd_socket, pid, err);
	if (r < 0)
		close_fd(&master);
	else
		r = wait_terminal(pid, master, terminal, err);
	if (r < 0)
		end_standin(pid);
	return r;
}

static int start_terminal(struct standin *s, const struct exec_options *options,
			  struct oci_process *process, struct err *err)
{
	struct host_terminal terminal;
	cleanup_close int ours = -1;
	struct winsize size;
	int pair[2], r;

	r = host_terminal_open(&terminal, err);
	if (r < 0)
		return r;
	if (ioctl(terminal.fd, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
		process->console_size.height = size.ws_row;
		process->console_size.width = size.ws_col;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		r = err_sys(err, errno, "the terminal's socket");
	} else {
		ours = pair[0];
		s->console_socket = pair[1];
		s->parent = getpid();
		r = serve_terminal(s, options, ours, &terminal, err);
	}
	host_terminal_release(&terminal);
	return r;
}

static int start_plain(const struct standin *s, const struct exec_options *options, struct err *err)
{
	struct control_exec_args args = args_of(options, s->process);
	int stdio[3] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
	struct control_exec exec = {.control_fd = -1, .streams = {-1, -1, -1}};
	int r = control_exec(s->container->dir_fd, &args, &exec, err);

	if (r < 0)
		return r;
	r = tell_pid(options, s->pidfd_socket, getpid(), err);
	if (r == 0)
		r = stdio_serve(&exec, stdio, false, err);
	control_exec_release(&exec);
	if (r == -EPIPE)
		return err_set(err, EPIPE, "the guest ended before the process did");
	return r;
}

int exec_start(const struct container *container, const struct exec_options *options,
	       struct oci_process *process, struct err *err)
{
	cleanup_close int pidfd_socket = -1;
	struct standin s = {
		.container = container,
		.options = options,
		.process = process,
		.console_socket = -1,
		.report_fd = -1,
	};
	int r = pidfd_socket_connect(options->pidfd_socket, &pidfd_socket, err);

	if (r < 0)
		return r;
	s.pidfd_socket = pidfd_socket;
	if (options->detach)
		r = start_detached(&s, options, err);
	else if (process->terminal)
		r = start_terminal(&s, options, process, err);
	else
		r = start_plain(&s, options, err);
	if (r == -ECONNREFUSED || r == -ESRCH)
		return err_set(err, EINVAL, "cannot exec in a stopped container");
	return r;
}
