/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending lock waits of interrupted threads.
 *
 * A thread that waits for a file lock on virtio-fs waits for the host's answer, and the driver cannot interrupt a request: without
 * help a killed process would stay until it gets the lock. So the file server lists its waiters in a control file, and this
 * thread reads the list (the read returns only while some wait), finds those that were interrupted, and writes their
 * numbers back; the server answers them EINTR. The guest's kernel then does what it does on a local file system: it ends the
 * process, runs the handler, or restarts the call (FUSE turns EINTR of a lock request into a restart).
 *
 * Who was interrupted? The FUSE client sleeps interruptibly (state S) until a signal arrives, and then goes on sleeping in
 * a wait that only a fatal signal ends, or none (state D). A waiter cannot be anywhere else until it is answered. So state D says
 * exactly "the kernel has woken this thread for a signal", whatever masks and handlers there are; stops and the cgroup freezer
 * count too, as they should. Cancelling a thread that has no signal pending would show it an error that no program knows.
 */
#include "guest/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define CONTROL_NAME ".caisson-locks"
#define NOTHING_PAUSE_US 200000
#define WAITERS_MAX 512 /* as many as the server has */

struct waiter { /* struct control_waiter of the server */
	uint64_t unique;
	uint32_t pid, reserved;
};

/* Guarded by there being one thread */
static struct {
	int control, proc;
} locks = {-1, -1};

/* The state letter of thread @pid, 0 if it is gone */
static char thread_state(int proc, uint32_t pid)
{
	char path[32], text[256], *end;
	cleanup_close int fd = -1;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%u/stat", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	end = strrchr(text,
		      ')'); /* the name before it may hold anything; it is at most 64 bytes long */
	return end && end[1] == ' ' ? end[2] : 0;
}

int locks_round(int control, int proc)
{
	struct waiter waiters[WAITERS_MAX];
	uint64_t cancel[WAITERS_MAX];
	size_t n, count = 0;
	ssize_t len = read(control, waiters, sizeof(waiters));

	if (len < 0)
		return -errno;
	if (len == 0)
		return -ENODATA;
	n = (size_t)len / sizeof(waiters[0]);
	for (size_t i = 0; i < n; i++) {
		/* pid 0: of a pid namespace that is not below ours; nobody can tell */
		if (waiters[i].pid != 0 && thread_state(proc, waiters[i].pid) == 'D')
			cancel[count++] = waiters[i].unique;
	}
	if (count > 0 && write(control, cancel, count * sizeof(cancel[0])) < 0)
		return -errno;
	return 0;
}

static void *locks_main(void *arg)
{
	int r;

	(void)arg;
	do {
		r = locks_round(locks.control, locks.proc);
		/* The server answers when somebody waits; one that answers without must not keep us busy */
		if (r == -ENODATA)
			(void)usleep(NOTHING_PAUSE_US);
	} while (r == 0 || r == -EINTR || r == -ENODATA);
	close_fd(&locks.control);
	close_fd(&locks.proc);
	return NULL;
}

int locks_start(int top, int proc, struct err *err)
{
	cleanup_close int control = openat(top, CONTROL_NAME, O_RDWR | O_CLOEXEC);
	cleanup_close int own_proc = -1;
	sigset_t all, old;
	pthread_t thread;
	int r;

	if (control < 0)
		return err_sys(err, errno, "lock control file");
	own_proc = openat(proc, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (own_proc < 0)
		return err_sys(err, errno, "/proc");
	locks.control = control;
	locks.proc = own_proc;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, NULL, locks_main, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0) {
		locks.control = locks.proc = -1;
		return err_sys(err, r, "lock thread");
	}
	(void)pthread_detach(thread);
	(void)take_fd(&control);
	(void)take_fd(&own_proc);
	return 0;
}
