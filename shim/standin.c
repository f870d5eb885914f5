/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stand-in of an exec'd process: what `caisson exec` (or its detached child) does after control_exec().
 *
 *   stdio of the host ⇄ relays ⇄ the process's own streams          control_fd: resize, signals, the final status
 *
 * It has the process's pid and exit code for the engine. Its own streams come from the monitor as descriptors, so a reader
 * that stalls stalls only this process. If it dies, the monitor sees the connection close and kills the process in the
 * guest.
 *
 * After the status the output is drained to its end. A grandchild may hold the pipe in the guest, then there is none: so with the
 * status comes how many bytes the process had written, and once so many have been delivered, STANDIN_QUIET_MS without another one
 * are the end too. Until then a guest that sends nothing is given as long as with the container's own output. A reader on the
 * host that is slow is waited for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/loop.h"
#include "lib/relay.h"
#include "shim/control.h"

#define STANDIN_QUIET_MS 2000
#define STANDIN_DRAIN_MS 10000 /* as SHIM_DRAIN_TIMEOUT_MS */

struct standin;

struct standin_relay {
	struct relay relay;
	struct standin *standin;
	bool active;
};

struct standin {
	struct control_exec *exec;
	struct loop *loop;
	struct loop_signals signals;
	struct loop_source control;
	struct loop_timer quiet;
	struct standin_relay relays[3];
	bool terminal, ended;
	int terminal_fd; /* owned: for its size */
	int status;
	uint64_t
		output_bytes[2]; /* with the status: what is to be delivered of stdout and stderr */
	uint64_t seen_bytes;	 /* when the quiet timer was armed */
	unsigned int silent_ms;	 /* since the last byte of a guest that has more to send */
};

static bool is_drained(const struct standin *s)
{
	return !s->relays[1].active && !s->relays[2].active;
}

static void check_end(struct standin *s)
{
	if (s->ended && is_drained(s))
		loop_quit(s->loop, 0);
}

static void on_output_done(struct relay *relay)
{
	struct standin_relay *r = container_of(relay, struct standin_relay, relay);

	r->active = false;
	check_end(r->standin);
}

static void on_input_done(struct relay *relay)
{
	struct standin_relay *r = container_of(relay, struct standin_relay, relay);
	struct standin_relay *out = &r->standin->relays[1];
	struct pollfd p = {.fd = r->standin->terminal_fd};

	r->active = false;
	/* The terminal has hung up: so does the guest's */
	if (r->standin->terminal && out->active && poll(&p, 1, 0) == 1 &&
	    (p.revents & (POLLHUP | POLLERR))) {
		relay_stop(&out->relay);
		on_output_done(&out->relay);
	}
}

static uint64_t delivered(const struct standin *s)
{
	return s->relays[1].relay.total_bytes + s->relays[2].relay.total_bytes;
}

static bool is_stalled(const struct standin *s)
{
	for (int i = 1; i < 3; i++)
		if (s->relays[i].active && s->relays[i].relay.start != s->relays[i].relay.end)
			return true;
	return false;
}

/* Has all been delivered that the process itself wrote? */
static bool is_complete(const struct standin *s)
{
	for (int i = 1; i < 3; i++)
		if (s->relays[i].active && s->relays[i].relay.total_bytes < s->output_bytes[i - 1])
			return false;
	return true;
}

static void arm_quiet(struct standin *s)
{
	s->seen_bytes = delivered(s);
	if (loop_timer_arm(s->loop, &s->quiet, STANDIN_QUIET_MS) < 0)
		loop_quit(s->loop, 0);
}

static void on_quiet(struct loop_timer *timer)
{
	struct standin *s = container_of(timer, struct standin, quiet);

	if (is_stalled(s) || delivered(s) != s->seen_bytes)
		s->silent_ms = 0;
	else
		s->silent_ms += STANDIN_QUIET_MS;
	if (s->silent_ms >= (is_complete(s) ? STANDIN_QUIET_MS : STANDIN_DRAIN_MS))
		loop_quit(s->loop, 0);
	else
		arm_quiet(s);
}

static void on_control(struct loop_source *source, uint32_t events)
{
	struct standin *s = container_of(source, struct standin, control);

	(void)events;
	loop_del(source);
	s->status = control_exec_status(s->exec, s->output_bytes);
	s->ended = true;
	if (is_drained(s))
		loop_quit(s->loop, 0);
	else
		arm_quiet(s);
}

static void pass_size(struct standin *s)
{
	struct winsize size;

	if (ioctl(s->terminal_fd, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		(void)control_exec_resize(s->exec, size.ws_row, size.ws_col);
}

static void on_signal(struct loop_signals *signals, int signo, pid_t sender)
{
	struct standin *s = container_of(signals, struct standin, signals);

	(void)sender;
	if (s->ended)
		return;
	if (signo == SIGWINCH && s->terminal)
		pass_size(s);
	else
		(void)control_exec_signal(s->exec, signo);
}

/* ---- set-up ---- */

static int signals_start(struct standin *s, struct err *err)
{
	static const int passed[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
				     SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};
	sigset_t mask;

	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++)
		sigaddset(&mask, passed[i]);
	(void)signal(SIGPIPE, SIG_IGN);
	/* A stopped background job could neither relay nor end */
	(void)signal(SIGTTOU, SIG_IGN);
	return loop_signals_init(s->loop, &s->signals, &mask, err);
}

static int relay_one(struct standin *s, int index, int from, int to, struct err *err)
{
	struct standin_relay *r = &s->relays[index];
	int result;

	r->standin = s;
	result = relay_start(&r->relay, s->loop, from, to, index ? on_output_done : on_input_done,
			     err);
	r->active = result == 0;
	return result;
}

static int pipes_start(struct standin *s, int stdio[3], struct err *err)
{
	for (int i = 2; i >= 0; i--) {
		int fd = relay_private_fd(stdio[i], i > 0), r;

		if (fd < 0)
			return err_sys(err, -fd, "standard %s",
				       i == 0	? "input"
				       : i == 1 ? "output"
						: "error");
		r = i ? relay_one(s, i, take_fd(&s->exec->streams[i]), fd, err)
		      : relay_one(s, i, fd, take_fd(&s->exec->streams[i]), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int terminal_start(struct standin *s, int stdio[3], struct err *err)
{
	int from = -1, to = -1, up = -1, down, r;

	s->terminal_fd = fcntl(stdio[0], F_DUPFD_CLOEXEC, 3);
	from = relay_private_fd(stdio[0], false);
	to = relay_private_fd(stdio[0], true);
	up = fcntl(s->exec->streams[0], F_DUPFD_CLOEXEC, 3);
	down = take_fd(&s->exec->streams[0]);
	if (s->terminal_fd < 0 || from < 0 || to < 0 || up < 0) {
		close_fd(&from);
		close_fd(&to);
		close_fd(&up);
		close_fd(&down);
		return err_set(err, EMFILE, "the terminal cannot be opened once more");
	}
	r = relay_one(s, 1, down, to, err);
	if (r < 0) {
		close_fd(&from);
		close_fd(&up);
		return r;
	}
	r = relay_one(s, 0, from, up, err);
	if (r == 0)
		pass_size(s);
	return r;
}

static int start(struct standin *s, int stdio[3], struct err *err)
{
	int r;

	s->loop = loop_new(err);
	if (!s->loop)
		return -ENOMEM;
	s->quiet.on_expire = on_quiet;
	s->signals.on_signal = on_signal;
	r = signals_start(s, err);
	if (r < 0)
		return r;
	r = s->terminal ? terminal_start(s, stdio, err) : pipes_start(s, stdio, err);
	if (r < 0)
		return r;
	s->control = (struct loop_source){.fd = s->exec->control_fd, .on_event = on_control};
	return loop_add(s->loop, &s->control, EPOLLIN, err);
}

static void release(struct standin *s)
{
	for (int i = 0; i < 3; i++)
		if (s->relays[i].active)
			relay_stop(&s->relays[i].relay);
	close_fd(&s->terminal_fd);
	if (s->loop) {
		loop_del(&s->control);
		loop_timer_release(&s->quiet);
		loop_signals_release(&s->signals);
	}
	loop_free(s->loop);
}

/* The relays have private ones: nothing else of this process keeps a pipe open */
static int close_given(int stdio[3])
{
	cleanup_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	for (int i = 0; i < 3; i++) {
		bool again = (i > 0 && stdio[i] == stdio[0]) || (i > 1 && stdio[i] == stdio[1]);

		if (stdio[i] < 0 || again)
			continue;
		if (stdio[i] > STDERR_FILENO)
			(void)close(stdio[i]);
		else
			(void)dup2(null, stdio[i]);
	}
	return 0;
}

int stdio_serve(struct control_exec *exec, int stdio[3], bool terminal, struct err *err)
{
	struct standin s = {
		.exec = exec, .terminal = terminal, .terminal_fd = -1, .status = -EPIPE};
	int r;

	r = start(&s, stdio, err);
	if (r == 0)
		r = close_given(stdio);
	if (r == 0)
		r = loop_run(s.loop);
	release(&s);
	return r < 0 ? r : s.status;
}
