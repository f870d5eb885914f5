/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child that works: see guest/work.h.
 *
 * The last byte of a complete answer says so: a child that was killed in between leaves a pipe without it. The agent's reaper
 * takes the child as the orphan that it is to it.
 */
#define _GNU_SOURCE
#include "guest/work.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/log.h"

#define COMPLETE '.'

static void stop(struct work *work)
{
	loop_del(&work->source);
	loop_timer_release(&work->timer);
	close_fd(&work->source.fd);
	if (work->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, work->pidfd, SIGKILL, NULL, 0);
	close_fd(&work->pidfd);
	work->running = false;
}

static void finish(struct work *work, int error)
{
	struct buf answer = work->answer;

	work->answer = (struct buf){0};
	stop(work);
	if (error == 0 && (!answer.len || answer.data[answer.len - 1] != COMPLETE))
		error = -EIO;
	work->on_done(work, error, error ? NULL : answer.data, error ? 0 : answer.len - 1);
	buf_release(&answer);
}

static void on_pipe(struct loop_source *source, uint32_t events)
{
	struct work *work = container_of(source, struct work, source);
	uint8_t block[16384];
	ssize_t n = read(source->fd, block, sizeof(block));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		finish(work, n < 0 ? -errno : 0);
	else if (buf_append(&work->answer, block, (size_t)n) < 0)
		finish(work, -EMSGSIZE);
}

static void on_timer(struct loop_timer *timer)
{
	finish(container_of(timer, struct work, timer), -ETIMEDOUT);
}

static _Noreturn void be_child(const struct work_job *job, int fd)
{
	const int keep[] = {fd, job->keep};

	log_set_fd(-1);
	(void)signal(SIGPIPE, SIG_DFL);
	io_close_all_from(0, keep, ARRAY_SIZE(keep));
	if (job->run(fd, job->arg) == 0)
		(void)io_write_full(fd, &(char){COMPLETE}, 1);
	_exit(0);
}

/* Return: 0 with pipe and pidfd in @work, or -errno with no child */
static int launch(struct work *work, const struct work_job *job, struct err *err)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe in the guest");
	(void)io_set_nonblock(fds[0], true);
	pid = fork();
	if (pid == 0)
		be_child(job, fds[1]);
	(void)close(fds[1]);
	work->source.fd = fds[0];
	if (pid < 0) {
		close_fd(&work->source.fd);
		return err_sys(err, EAGAIN, "cannot fork in the guest");
	}
	/* It cannot have been reaped yet: the loop's next turn would */
	work->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}

int work_start(struct work *work, struct loop *loop, const struct work_job *job, struct err *err)
{
	int r;

	if (work->running)
		return err_set(err, EBUSY, "the same is under way");
	work->source = (struct loop_source){.fd = -1, .on_event = on_pipe};
	work->timer = (struct loop_timer){.on_expire = on_timer};
	work->answer = (struct buf){.max = job->max + 1};
	work->pidfd = -1;
	r = launch(work, job, err);
	if (r < 0)
		return r;
	work->running = true;
	r = loop_add(loop, &work->source, EPOLLIN, err);
	if (r == 0 && job->timeout_ms) {
		r = loop_timer_arm(loop, &work->timer, job->timeout_ms);
		if (r < 0)
			(void)err_sys(err, -r, "cannot set a timer in the guest");
	}
	if (r < 0)
		stop(work);
	return r;
}

void work_cancel(struct work *work)
{
	if (!work->running)
		return;
	stop(work);
	buf_release(&work->answer);
}
