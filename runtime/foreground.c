/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing before a container (`run`) or an exec's stand-in (`exec --tty`): pass signals on, relay
 * the terminal, wait.
 *
 *   pidfd readable ──▶ ended; the pty's last bytes are still relayed: its end comes with the other side's end
 *   SIGWINCH ──▶ the size of the person's terminal becomes the pty's, whose other side learns it by the same signal
 *   other signals ──▶ the process, which passes them into the guest
 *
 * Signals are blocked and read by the loop, so that nothing ends this process while the terminal is
 * raw.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/relay.h"
#include "runtime/terminal.h"

#define DRAIN_MS 2000 /* without a byte after the process has ended */

struct foreground {
	pid_t pid;
	int pidfd;  /* borrowed */
	int master; /* owned, for its size; -1 without terminal or when it has ended */
	struct host_terminal *terminal; /* borrowed */
	struct loop *loop;
	struct loop_signals signals;
	struct loop_source process;
	struct loop_timer drain;
	struct relay in, out;
	bool out_active, ended;
	uint64_t drained_bytes;
};

static void check_end(struct foreground *f)
{
	if (f->ended && !f->out_active)
		loop_quit(f->loop, 0);
}

static void on_out_done(struct relay *relay)
{
	struct foreground *f = container_of(relay, struct foreground, out);

	f->out_active = false;
	/* Nobody reads any more: with the last descriptor the other side sees a hang-up */
	relay_stop(&f->in);
	close_fd(&f->master);
	check_end(f);
}

static void on_drain(struct loop_timer *timer)
{
	struct foreground *f = container_of(timer, struct foreground, drain);
	bool stalled = f->out.start != f->out.end;

	if (!stalled && f->out.total_bytes == f->drained_bytes) {
		loop_quit(f->loop, 0);
		return;
	}
	f->drained_bytes = f->out.total_bytes;
	if (loop_timer_arm(f->loop, timer, DRAIN_MS) < 0)
		loop_quit(f->loop, 0);
}

static void on_process(struct loop_source *source, uint32_t events)
{
	struct foreground *f = container_of(source, struct foreground, process);

	(void)events;
	loop_del(source);
	f->ended = true;
	f->drained_bytes = f->out.total_bytes;
	check_end(f);
	if (f->out_active && loop_timer_arm(f->loop, &f->drain, DRAIN_MS) < 0)
		loop_quit(f->loop, 0);
}

static void pass_size(struct foreground *f)
{
	struct winsize size;

	if (f->master >= 0 && ioctl(f->terminal->fd, TIOCGWINSZ, &size) == 0 && size.ws_row &&
	    size.ws_col)
		(void)ioctl(f->master, TIOCSWINSZ, &size);
}

static void on_signal(struct loop_signals *signals, int signo, pid_t sender)
{
	struct foreground *f = container_of(signals, struct foreground, signals);

	(void)sender;
	if (signo == SIGWINCH && f->terminal)
		pass_size(f);
	else if (!f->ended && syscall(SYS_pidfd_send_signal, f->pidfd, signo, NULL, 0) < 0)
		log_debug("Passing signal %d on: %s", signo, err_reason(errno));
}

static int catch_signals(struct foreground *f, struct err *err)
{
	static const int own[] = {SIGCHLD, SIGPIPE, SIGURG,  SIGSEGV, SIGBUS,
				  SIGFPE,  SIGILL,  SIGTRAP, SIGSYS,  SIGABRT};
	sigset_t mask;

	(void)sigfillset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		(void)sigdelset(&mask, own[i]);
	f->signals.on_signal = on_signal;
	return loop_signals_init(f->loop, &f->signals, &mask, err);
}

static int start_relays(struct foreground *f, struct err *err)
{
	int from_person = relay_private_fd(STDIN_FILENO, false),
	    to_person = relay_private_fd(STDOUT_FILENO, true);
	int to_pty = relay_private_fd(f->master, true),
	    from_pty = relay_private_fd(f->master, false);
	int r = -EMFILE;

	if (from_person >= 0 && to_person >= 0 && to_pty >= 0 && from_pty >= 0) {
		r = relay_start(&f->out, f->loop, take_fd(&from_pty), take_fd(&to_person),
				on_out_done, err);
		f->out_active = r == 0;
		if (r == 0)
			r = relay_start(&f->in, f->loop, take_fd(&from_person), take_fd(&to_pty),
					NULL, err);
	} else {
		(void)err_sys(err, -r, "the terminal");
	}
	close_fd(&from_person);
	close_fd(&to_person);
	close_fd(&to_pty);
	close_fd(&from_pty);
	return r;
}

static int start(struct foreground *f, struct err *err)
{
	int r;

	f->loop = loop_new(err);
	if (!f->loop)
		return -ENOMEM;
	r = catch_signals(f, err);
	if (r < 0)
		return r;
	f->drain.on_expire = on_drain;
	f->process = (struct loop_source){.fd = f->pidfd, .on_event = on_process};
	r = loop_add(f->loop, &f->process, EPOLLIN, err);
	if (r < 0 || f->master < 0)
		return r;
	r = io_set_nonblock(f->master, true);
	if (r < 0)
		return err_sys(err, -r, "the terminal");
	pass_size(f);
	return start_relays(f, err);
}

struct foreground *foreground_new(pid_t pid, int pidfd, int master, struct host_terminal *terminal,
				  struct err *err)
{
	struct foreground *f = calloc(1, sizeof(*f));

	if (!f) {
		close_fd(&master);
		(void)err_sys(err, ENOMEM, "waiting for the container");
		return NULL;
	}
	f->pid = pid;
	f->pidfd = pidfd;
	f->master = master;
	f->terminal = terminal;
	if (start(f, err) < 0) {
		foreground_free(f);
		return NULL;
	}
	return f;
}

int foreground_wait(struct foreground *f, struct err *err)
{
	int status, r = loop_run(f->loop);

	if (r < 0)
		return err_sys(err, -r, "waiting for the container");
	do {
		r = waitpid(f->pid, &status, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(err, errno, "waiting for the container");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void foreground_free(struct foreground *f)
{
	if (!f)
		return;
	relay_stop(&f->in);
	if (f->out_active)
		relay_stop(&f->out);
	close_fd(&f->master);
	if (f->loop) {
		loop_del(&f->process);
		loop_timer_release(&f->drain);
		loop_signals_release(&f->signals);
	}
	loop_free(f->loop);
	free(f);
}
