/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a hook: see oci/hooks.h. The one place in oci/ that forks.
 *
 *   caller                                            the hook, a process group of its own
 *     state JSON ──sealed memfd──────────────────▶    stdin
 *     last bytes of each ◀──pipes─────────────────    stdout, stderr
 *     errno of a failed exec ◀──pipe, close-on-exec─
 *     pidfd, pipes, abort_fd in one ppoll()
 *
 * The state is a file, not a pipe: it may be larger than a pipe, and a hook that does not read it can do no harm. Signals are blocked
 * but for the ppoll(), so that one which comes between a look and a wait is not missed.
 *
 * Hooks are trusted: they are named by whoever may create containers. Their output is quoted in errors, so it becomes one line
 * without control characters.
 */
#include "oci/hooks.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/process.h"

#define KILL_TIMEOUT_MS 5000 /* for a hook that was killed to be gone */

struct output {
	int fd; /* owned, -1 at its end */
	char text[OCI_HOOK_OUTPUT_MAX + 1];
	size_t len;
	bool cut;
};

enum hook_end { HOOK_EXITED, HOOK_TIMED_OUT, HOOK_ABORTED };

struct process {
	pid_t pid;
	int pidfd, exec_fd; /* owned */
	struct output out, err;
	int status;    /* as from waitpid(2) */
	int exec_code; /* errno of execve(2), 0 when it succeeded */
	enum hook_end end;
};

static const char *const names[OCI_HOOK_COUNT] = {
	[OCI_HOOK_PRESTART] = "prestart",
	[OCI_HOOK_CREATE_RUNTIME] = "createRuntime",
	[OCI_HOOK_CREATE_CONTAINER] = "createContainer",
	[OCI_HOOK_START_CONTAINER] = "startContainer",
	[OCI_HOOK_POSTSTART] = "poststart",
	[OCI_HOOK_POSTSTOP] = "poststop",
};

const char *oci_hook_name(enum oci_hook_kind kind)
{
	return names[kind];
}

/* ---- in the child ---- */

struct ends {
	int in, out, err, exec; /* the child's, owned by the parent until it has forked */
};

static _Noreturn void child_main(const struct oci_hook *hook, const struct oci_hook_run *run,
				 const struct ends *ends, pid_t parent)
{
	char *const argv[] = {hook->path, NULL};
	char *const *env = run->env ? run->env : environ;
	sigset_t none;
	int code;

	/* As in runc: a list that is given, though empty, is the environment; startContainer's (with @env) has to hold something */
	if (hook->env.items && (hook->env.n || !run->env))
		env = hook->env.items;
	(void)setpgid(0, 0);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	process_reset_signals();
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if ((run->cwd_fd < 0 || fchdir(run->cwd_fd) == 0) && dup2(ends->in, STDIN_FILENO) >= 0 &&
	    dup2(ends->out, STDOUT_FILENO) >= 0 && dup2(ends->err, STDERR_FILENO) >= 0 &&
	    close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
		(void)execve(hook->path, hook->args.n ? hook->args.items : argv, env);
	code = errno;
	(void)!write(ends->exec, &code, sizeof(code));
	_exit(1);
}

/* ---- what it says ---- */

static void output_add(struct output *o, const char *text, size_t len)
{
	if (len > OCI_HOOK_OUTPUT_MAX) {
		text += len - OCI_HOOK_OUTPUT_MAX;
		len = OCI_HOOK_OUTPUT_MAX;
		o->cut = true;
		o->len = 0;
	}
	if (o->len + len > OCI_HOOK_OUTPUT_MAX) {
		size_t surplus = o->len + len - OCI_HOOK_OUTPUT_MAX;

		memmove(o->text, o->text + surplus, o->len - surplus);
		o->len -= surplus;
		o->cut = true;
	}
	memcpy(o->text + o->len, text, len);
	o->len += len;
}

/* Return: whether there may be more */
static bool output_read(struct output *o)
{
	char text[4096];
	ssize_t n = read(o->fd, text, sizeof(text));

	if (n > 0)
		output_add(o, text, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		close_fd(&o->fd);
	return n > 0;
}

/* What is there and no more: something in the background may keep the pipe, and write to it for ever */
static void output_finish(struct output *o)
{
	char *text = o->text;

	for (int i = 0; i < 64 && o->fd >= 0 && output_read(o); i++)
		;
	close_fd(&o->fd);
	while (o->len && isspace((unsigned char)o->text[o->len - 1]))
		o->len--;
	o->text[o->len] = '\0';
	/* A cut may have left the rest of a character in front */
	while (o->cut && ((unsigned char)*text & 0xc0) == 0x80)
		*text++ = ' ';
	for (; text < o->text + o->len; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
	}
}

/* ---- starting ---- */

static int state_open(const struct oci_hook_run *run, struct err *err)
{
	cleanup_free char *text = NULL;
	ssize_t n = oci_state_hook(run->state, run->status, &text, err);
	cleanup_close int fd = -1;
	int r;

	if (n < 0)
		return (int)n;
	fd = memfd_create("state.json", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(err, errno, "a hook's stdin");
	r = io_write_full(fd, text, (size_t)n);
	if (r < 0)
		return err_sys(err, -r, "a hook's stdin");
	if (lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return err_sys(err, errno, "a hook's stdin");
	return take_fd(&fd);
}

static int pipe_open(int *ours, int *theirs, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "a hook's pipes");
	*ours = fds[0];
	*theirs = fds[1];
	(void)io_set_nonblock(fds[0], true);
	return 0;
}

static int ends_open(const struct oci_hook_run *run, struct process *p, struct ends *ends,
		     struct err *err)
{
	int r;

	ends->in = state_open(run, err);
	r = ends->in < 0 ? ends->in : pipe_open(&p->out.fd, &ends->out, err);
	if (r == 0)
		r = pipe_open(&p->err.fd, &ends->err, err);
	if (r == 0)
		r = pipe_open(&p->exec_fd, &ends->exec, err);
	return r;
}

static void ends_close(struct ends *ends)
{
	close_fd(&ends->in);
	close_fd(&ends->out);
	close_fd(&ends->err);
	close_fd(&ends->exec);
}

static int process_start(const struct oci_hook *hook, const struct oci_hook_run *run,
			 struct process *p, struct err *err)
{
	struct ends ends = {-1, -1, -1, -1};
	pid_t parent = getpid();
	int r = ends_open(run, p, &ends, err);

	if (r == 0) {
		(void)fflush(NULL);
		p->pid = fork();
		if (p->pid == 0)
			child_main(hook, run, &ends, parent);
		r = p->pid < 0 ? err_sys(err, errno, "cannot fork") : 0;
	}
	ends_close(&ends);
	if (r < 0)
		return r;
	/* Both say it, since either may come first */
	(void)setpgid(p->pid, p->pid);
	p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (p->pidfd < 0) {
		r = errno;
		(void)kill(-p->pid, SIGKILL);
		(void)waitpid(p->pid, NULL, 0);
		return err_sys(err, r, "cannot watch a process");
	}
	return 0;
}

static void process_release(struct process *p)
{
	close_fd(&p->pidfd);
	close_fd(&p->exec_fd);
	close_fd(&p->out.fd);
	close_fd(&p->err.fd);
}

/* ---- waiting ---- */

static int wait_some(struct process *p, int abort_fd, uint64_t deadline_ms, const sigset_t *mask,
		     bool *ended)
{
	struct pollfd fds[] = {{.fd = p->pidfd, .events = POLLIN},
			       {.fd = p->out.fd, .events = POLLIN},
			       {.fd = p->err.fd, .events = POLLIN},
			       {.fd = abort_fd, .events = POLLIN}};
	uint64_t now = io_now_ms(), left = deadline_ms > now ? deadline_ms - now : 0;
	struct timespec time = {.tv_sec = (time_t)(left / 1000),
				.tv_nsec = (long)(left % 1000) * 1000000};
	int n = ppoll(fds, ARRAY_SIZE(fds), deadline_ms == UINT64_MAX ? NULL : &time, mask);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[1].revents)
		(void)output_read(&p->out);
	if (fds[2].revents)
		(void)output_read(&p->err);
	*ended = fds[0].revents != 0;
	return 0;
}

/* Return: 0 with p->end when it is time to reap or to kill */
static int wait_end(struct process *p, const struct oci_hook *hook, const struct oci_hook_run *run,
		    const sigset_t *mask)
{
	uint64_t deadline = hook->timeout_s ? io_now_ms() + (uint64_t)hook->timeout_s * 1000
					    : UINT64_MAX;
	bool ended = false;

	p->end = HOOK_EXITED;
	for (;;) {
		int r;

		if (run->is_aborted && run->is_aborted(run->arg)) {
			p->end = HOOK_ABORTED;
			return 0;
		}
		r = wait_some(p, run->abort_fd, deadline, mask, &ended);
		if (r < 0 || ended)
			return r;
		if (io_now_ms() >= deadline) {
			p->end = HOOK_TIMED_OUT;
			return 0;
		}
	}
}

/* The leader is not reaped yet, so its number is still the group's */
static bool kill_group(struct process *p, const sigset_t *mask)
{
	uint64_t deadline = io_now_ms() + KILL_TIMEOUT_MS;
	bool ended = false;

	(void)kill(-p->pid, SIGKILL);
	while (!ended && io_now_ms() < deadline && wait_some(p, -1, deadline, mask, &ended) == 0)
		;
	return ended;
}

static int process_wait(struct process *p, const struct oci_hook *hook,
			const struct oci_hook_run *run, const sigset_t *mask, struct err *err)
{
	int r = wait_end(p, hook, run, mask);
	ssize_t n;

	if ((r < 0 || p->end != HOOK_EXITED) && !kill_group(p, mask))
		return err_set(err, r < 0 ? -r : EBUSY, "the hook '%s' cannot be killed",
			       hook->path);
	(void)waitpid(p->pid, &p->status, 0);
	if (r < 0)
		return err_sys(err, -r, "waiting for a hook");
	n = read(p->exec_fd, &p->exec_code, sizeof(p->exec_code));
	if (n != sizeof(p->exec_code))
		p->exec_code = 0;
	output_finish(&p->out);
	output_finish(&p->err);
	return 0;
}

/* ---- the verdict ---- */

/* In the words of Go, as runc prints them */
static void status_text(int status, char *out, size_t size)
{
	const char *name;

	if (!WIFSIGNALED(status)) {
		(void)snprintf(out, size, "exit status %d", WEXITSTATUS(status));
		return;
	}
	name = sigdescr_np(WTERMSIG(status));
	if (name)
		(void)snprintf(out, size, "signal: %c%s%s", tolower((unsigned char)name[0]),
			       name + 1, WCOREDUMP(status) ? " (core dumped)" : "");
	else
		(void)snprintf(out, size, "signal: signal %d", WTERMSIG(status));
}

static int judge(const struct process *p, const struct oci_hook *hook, struct err *err)
{
	char status[64];

	if (p->end == HOOK_ABORTED)
		return err_set(err, ECANCELED, "the hook was given up");
	if (p->end == HOOK_TIMED_OUT)
		return err_set(err, ETIMEDOUT, "hook ran past specified timeout of %d.0s",
			       hook->timeout_s);
	if (p->exec_code)
		return err_set(err, EIO, "fork/exec %s: %s", hook->path, err_reason(p->exec_code));
	if (p->status == 0)
		return 0;
	status_text(p->status, status, sizeof(status));
	return err_set(err, EIO, "%s, stdout: %s%s, stderr: %s%s", status, p->out.cut ? "..." : "",
		       p->out.text, p->err.cut ? "..." : "", p->err.text);
}

static int run_hook(const struct oci_hook *hook, const struct oci_hook_run *run, struct err *err)
{
	struct process p = {.pidfd = -1, .exec_fd = -1, .out = {.fd = -1}, .err = {.fd = -1}};
	sigset_t all, mask;
	int r;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &mask);
	r = process_start(hook, run, &p, err);
	if (r == 0)
		r = process_wait(&p, hook, run, &mask, err);
	process_release(&p);
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
	return r < 0 ? r : judge(&p, hook, err);
}

int oci_hook_run_one(const struct oci_hooks *hooks, enum oci_hook_kind kind, size_t index,
		     const struct oci_hook_run *run, struct err *err)
{
	int r = run_hook(&hooks[kind].items[index], run, err);

	if (r < 0)
		err_prefix(err, "error running %s hook #%zu", names[kind], index);
	return r;
}

int oci_hooks_run(const struct oci_hooks *hooks, enum oci_hook_kind kind,
		  const struct oci_hook_run *run, struct err *err)
{
	for (size_t i = 0; i < hooks[kind].n; i++) {
		int r = oci_hook_run_one(hooks, kind, i, run, err);

		if (r < 0)
			return r;
	}
	return 0;
}
