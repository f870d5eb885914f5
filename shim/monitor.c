/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor: one process per container, whose pid is the container's pid and whose exit status is the container's.
 *
 *   steps of create ──▶ report "created" ──▶ serve (loop) ──▶ container ends: drain, shut down ──▶ undo the steps ──▶ exit
 *
 * It is forked by `create` (spawn.c) and never executes anything but the vmm. Each step has an undo that is harmless on
 * what is half made; the same undos end a failed create and a finished container, in reverse order.
 *
 * Signals: an engine may send one to the container's pid without asking the command line. All that can be caught are passed
 * on to the container's process; SIGKILL ends this process and, as it is the first of its pid namespace, the vmm with it.
 */
#include "shim/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "shim/cgroup.h"
#include "shim/limits.h"

/* ---- descriptors and signals ---- */

/* Errors go to a log file or to a person; a pipe belongs to an engine that waits for its end, so it is not kept open */
static int log_keep(void)
{
	struct stat st;
	int fd = log_fd();

	if (fd < 0 || fd > STDERR_FILENO)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (log_get_level() < LOG_DEBUG && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode))) {
		log_set_fd(-1);
		return 0;
	}
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	log_set_fd(fd);
	return fd < 0 ? -errno : 0;
}

static size_t keep_exports(const struct exports *exports, int *keep)
{
	size_t n = 0;

	for (unsigned int i = 0; i < exports->n; i++)
		keep[n++] = exports->items[i].fd;
	for (unsigned int i = 0; i < exports->nbinds; i++)
		keep[n++] = exports->binds[i].view_fd;
	for (unsigned int i = 0; i < exports->ndisks; i++)
		keep[n++] = exports->disks[i].fd;
	keep[n++] = exports->root_view_fd;
	return n;
}

/* Close what the command had open and this process was not told to keep */
static int descriptors_open(struct shim *s, struct err *err)
{
	const struct monitor_args *args = s->args;
	int others[] = {
		s->report_fd,	s->netns_fd,	 args->state_fd,     args->exe_fd,
		args->kvm_fd,	args->kernel_fd, args->initramfs_fd, args->console_socket_fd,
		args->stdio[0], args->stdio[1],	 args->stdio[2],     -1};
	cleanup_free int *keep = NULL;
	size_t n;
	int r;

	r = log_keep();
	if (r < 0)
		return err_sys(err, -r, "keeping the log");
	others[ARRAY_SIZE(others) - 1] = log_fd();
	keep = calloc(s->exports->n + s->exports->nbinds + s->exports->ndisks + 1 +
			      ARRAY_SIZE(others),
		      sizeof(*keep));
	if (!keep)
		return err_sys(err, ENOMEM, "starting the monitor");
	n = keep_exports(s->exports, keep);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i] > STDERR_FILENO)
			keep[n++] = others[i];
	io_close_all_from(3, keep, n);
	s->state_fd = args->state_fd;
	s->exe_fd = args->exe_fd;
	s->kvm_fd = args->kvm_fd;
	s->kernel_fd = args->kernel_fd;
	s->initramfs_fd = args->initramfs_fd;
	s->console_socket_fd = args->console_socket_fd;
	s->failure_fd = openat(s->state_fd, SHIM_FAILURE_FILE,
			       O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->failure_fd < 0)
		return err_sys(err, errno, "the state directory");
	return 0;
}

static void descriptors_close(struct shim *s)
{
	close_fd(&s->failure_fd);
	close_fd(&s->console_socket_fd);
	close_fd(&s->initramfs_fd);
	close_fd(&s->kernel_fd);
	close_fd(&s->kvm_fd);
	close_fd(&s->exe_fd);
	close_fd(&s->netns_fd);
	close_fd(&s->state_fd);
	exports_release(s->exports);
}

static void on_signal(struct loop_signals *signals, int signo, pid_t sender)
{
	struct shim *s = container_of(signals, struct shim, signals);

	(void)sender;
	if (signo == SIGWINCH && s->stdio.terminal) {
		stdio_on_winch(s);
		return;
	}
	if (s->phase == SHIM_CREATING)
		s->abandoned = s->abandoned || (signo != SIGWINCH && signo != SIGCONT);
	else if (s->phase == SHIM_SERVING)
		(void)agent_signal(s, "", (uint32_t)signo, false, NULL, NULL);
}

/* All but what cannot be caught and what would only say that this very process is broken */
static int signals_open(struct shim *s, struct err *err)
{
	static const int own[] = {SIGCHLD, SIGPIPE, SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
				  SIGTRAP, SIGSYS,  SIGABRT, SIGKILL, SIGSTOP};
	struct sigaction dfl = {.sa_handler = SIG_DFL}, ign = {.sa_handler = SIG_IGN};
	sigset_t mask, none;

	sigfillset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&mask, own[i]);
	for (int signo = 1; signo < NSIG; signo++)
		if (sigismember(&mask, signo) || signo == SIGCHLD)
			(void)sigaction(signo, &dfl, NULL);
	(void)sigaction(SIGPIPE, &ign, NULL);
	sigemptyset(&none);
	/* Never a moment with these unblocked: the fork happened with all of them blocked */
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
	s->signals.on_signal = on_signal;
	return loop_signals_init(s->loop, &s->signals, &mask, err);
}

/* ---- the loop ---- */

static void on_report(struct loop_source *source, uint32_t events)
{
	struct shim *s = container_of(source, struct shim, report_source);

	if (hooks_on_answer(s, events))
		return;
	s->abandoned = true;
	loop_del(source);
}

static int loop_open(struct shim *s, struct err *err)
{
	int r;

	s->loop = loop_new(err);
	if (!s->loop)
		return -(err->code ?: ENOMEM);
	r = signals_open(s, err);
	if (r < 0)
		return r;
	s->report_source = (struct loop_source){.fd = s->report_fd, .on_event = on_report};
	return loop_add(s->loop, &s->report_source, 0, err);
}

static void loop_close(struct shim *s)
{
	loop_del(&s->report_source);
	if (s->loop)
		loop_signals_release(&s->signals);
	loop_free(s->loop);
	s->loop = NULL;
}

int shim_wait(struct shim *s, const bool *flag, uint64_t timeout_ms, const char *what,
	      struct err *err)
{
	uint64_t deadline = io_now_ms() + timeout_ms;

	while (!*flag) {
		uint64_t now = io_now_ms();
		int r;

		if (s->abandoned)
			return err_set(err, ECANCELED,
				       "the container was given up while it was being made");
		if (s->guest_gone)
			return err_set(err, EIO, "%s: the guest ended: %s", what, s->guest_text);
		if (now >= deadline)
			return err_set(err, ETIMEDOUT,
				       "%s: the agent did not answer within %llu seconds", what,
				       (unsigned long long)(timeout_ms + 999) / 1000);
		r = loop_step(s->loop, (int)(deadline - now));
		if (r < 0 && r != -EINTR)
			return err_sys(err, -r, "%s", what);
	}
	return 0;
}

/* ---- steps ---- */

static int session_open(struct shim *s, struct err *err)
{
	(void)s;
	if (setsid() < 0 && errno != EPERM)
		return err_sys(err, errno, "making a session");
	(void)prctl(PR_SET_NAME, "caisson-monitor");
	(void)umask(0);
	return 0;
}

/* Until the command has had systemd make the scope with this process in it */
static int wait_for_scope(struct shim *s, struct err *err)
{
	char go;
	ssize_t n;

	do
		n = recv(s->report_fd, &go, 1, 0);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0
		      : err_set(err, ECANCELED,
				"the container was given up while it was being made");
}

/* Without one a container still runs, with its limits in the guest; unless systemd was asked for it */
static int cgroup_open(struct shim *s, struct err *err)
{
	struct err why = {0};
	int r;

	if (s->args->systemd_cgroup) {
		r = wait_for_scope(s, err);
		if (r == 0)
			r = cgroup_adopt(s->state_fd, &s->cgroup_fd, err);
		return r < 0 ? r : limits_open(s, s->cgroup_fd, err);
	}
	r = cgroup_enter(s->args->config->linux_.cgroups_path, s->args->id, s->state_fd,
			 &s->cgroup_fd, &why);
	if (r < 0)
		log_info("The container has no cgroup on the host: %s", why.msg);
	return limits_open(s, s->cgroup_fd, err);
}

static void cgroup_close(struct shim *s)
{
	close_fd(&s->cgroup_fd);
}

static int container_open(struct shim *s, struct err *err)
{
	int r = stdio_connect(s, err);

	return r < 0 ? r : agent_create(s, err);
}

static void agent_close(struct shim *s)
{
	loop_timer_release(&s->agent_timer);
	ttrpc_conn_free(s->agent);
	s->agent = NULL;
}

static int serve_open(struct shim *s, struct err *err)
{
	int r = server_start(s, err);

	if (r < 0)
		return r;
	oom_start(s);
	return heartbeat_start(s, err);
}

static void serve_close(struct shim *s)
{
	pause_end(s);
	loop_timer_release(&s->oom_timer);
	loop_timer_release(&s->oom_show_timer);
	loop_timer_release(&s->ping_timer);
	loop_timer_release(&s->end_timer);
}

/* "create" as a table: done from the top, undone from the bottom */
static const struct step {
	const char *name;
	int (*run)(struct shim *shim, struct err *err);
	void (*undo)(struct shim *shim);
} steps[] = {
	{"session", session_open, NULL},
	{"descriptors", descriptors_open, descriptors_close},
	{"loop", loop_open, loop_close},
	{"network namespace", isolate_network, NULL},
	{"cgroup", cgroup_open, cgroup_close},
	{"mounts", isolate_mounts, NULL},
	{"runtime hooks", hooks_wait_runtime, NULL},
	{"createContainer hooks", hooks_create_container, NULL},
	{"network", network_open, network_release},
	{"control socket", server_open, server_release},
	{"stdio", stdio_open, stdio_release},
	{"relays", relays_open, relays_release},
	{"sockets", sockets_open, sockets_release},
	{"guest", guest_start, guest_stop},
	{"oom score", limits_last_victim, NULL},
	{"agent", agent_connect, agent_close},
	{"interfaces", network_attach, NULL},
	{"container", container_open, NULL},
	{"view", isolate_view, NULL},
	{"terminal", stdio_start, NULL},
	{"serve", serve_open, serve_close},
};

static int create(struct shim *s, size_t *done, struct err *err)
{
	for (; *done < ARRAY_SIZE(steps); ++*done) {
		int r;

		log_debug("Create: %s", steps[*done].name);
		r = steps[*done].run(s, err);
		if (r < 0) {
			++*done; /* every undo accepts what is half made */
			return r;
		}
		if (s->abandoned)
			return err_set(err, ECANCELED,
				       "the container was given up while it was being made");
	}
	return 0;
}

static void undo(struct shim *s, size_t done)
{
	while (done-- > 0)
		if (steps[done].undo)
			steps[done].undo(s);
}

static int report(struct shim *s, int r, const struct err *err)
{
	struct monitor_report message = {.code = r, .about_program = s->about_program};

	if (r < 0)
		memcpy(message.text, err->msg, sizeof(message.text));
	if (s->loop)
		loop_del(&s->report_source);
	r = io_send_fds(s->report_fd, &message, sizeof(message), NULL, 0);
	close_fd(&s->report_fd);
	return r;
}

static int serve(struct shim *s)
{
	int r;

	end_begin(s);
	r = loop_run(s->loop);
	if (r < 0) {
		log_error("The monitor's loop: %s", err_reason(-r));
		return SHIM_EXIT_GUEST_DIED;
	}
	return s->status;
}

static void shim_init(struct shim *s, const struct shim_plan *plan)
{
	*s = (struct shim){
		.args = plan->args,
		.exports = plan->exports,
		.report_fd = plan->report_fd,
		.netns_fd = plan->netns_fd,
		.state_fd = -1,
		.console_socket_fd = -1,
		.failure_fd = -1,
		.cgroup_fd = -1,
		.exe_fd = -1,
		.kvm_fd = -1,
		.kernel_fd = -1,
		.initramfs_fd = -1,
		.vmm = {.pidfd = -1, .control_fd = -1},
		.status = SHIM_EXIT_GUEST_DIED,
	};
	s->guest_log.source.fd = -1;
	s->vmm_stat_fd = -1;
	s->network.events.fd = s->network.sock = -1;
	s->network.devices = (struct net_devices){-1, -1, -1};
	s->listener.fd = -1;
	s->sockets.proc_fd = -1;
	s->stdio.master = -1;
	for (int i = 0; i < 3; i++)
		s->stdio.fds[i] = s->stdio.streams[i] = -1;
	log_set_context(plan->args->id);
}

int shim_main(const struct shim_plan *plan)
{
	cleanup_free struct shim *s = malloc(sizeof(*s));
	struct err err = {0};
	size_t done = 0;
	int r, status = SHIM_EXIT_GUEST_DIED;

	if (!s)
		return status;
	shim_init(s, plan);
	r = create(s, &done, &err);
	if (r < 0) {
		/* The undos first: whoever reads the report may count what is left */
		undo(s, done);
		(void)report(s, r, &err);
		return status;
	}
	r = report(s, 0, &err);
	if (r == 0)
		status = serve(s);
	undo(s, done);
	return status;
}
