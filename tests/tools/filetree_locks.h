/* SPDX-License-Identifier: Apache-2.0 */
/* Part of filetree.c: locks, and those who wait for them. */
#ifndef TESTS_TOOLS_FILETREE_LOCKS_H
#define TESTS_TOOLS_FILETREE_LOCKS_H

#include "tests/tools/filetree.h"

static int lock_range(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

	return fcntl(fd, cmd, &fl);
}

/* Of another process: what stands in the way of a write lock on [start, start+len) */
static struct flock who_locks(const char *path, off_t start, off_t len)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	int fd = open(path, O_RDWR);

	CHECK(fcntl(fd, F_GETLK, &fl) == 0);
	close(fd);
	return fl;
}

/* Over /dev/fuse (not virtio-fs) the kernel tells the server of a last close only afterwards */
static int flock_soon(int fd, int op)
{
	for (int i = 0; i < 100 && flock(fd, op) < 0; i++)
		usleep(10000);
	return flock(fd, op);
}

static void test_fcntl_locks(void)
{
	int fd = open("a", O_CREAT | O_RDWR, 0644), other;
	pid_t parent = getpid();

	CHECK(lock_range(fd, F_SETLK, F_WRLCK, 0, 100) == 0);
	CHECK(lock_range(fd, F_SETLK, F_UNLCK, 40, 20) == 0); /* now two ranges */
	CHECK(lock_range(fd, F_SETLK, F_RDLCK, 200, 0) == 0);
	IN_CHILD({
		struct flock fl = who_locks("a", 0, 0);

		CHECK(fl.l_type == F_WRLCK && fl.l_start == 0 && fl.l_len == 40 &&
		      fl.l_pid == parent);
		fl = who_locks("a", 45, 0);
		CHECK(fl.l_type == F_WRLCK && fl.l_start == 60 && fl.l_len == 40);
		CHECK(who_locks("a", 40, 20).l_type == F_UNLCK);
		fl = who_locks("a", 150, 100);
		CHECK(fl.l_type == F_RDLCK && fl.l_start == 200 && fl.l_len == 0);
		other = open("a", O_RDWR);
		FAILS(lock_range(other, F_SETLK, F_RDLCK, 30, 5), EAGAIN);
		CHECK(lock_range(other, F_SETLK, F_RDLCK, 300, 5) == 0);
		FAILS(lock_range(other, F_SETLK, F_WRLCK, 300, 5), EAGAIN);
		CHECK(lock_range(other, F_SETLK, F_WRLCK, 40, 20) == 0);
	});
	CHECK(lock_range(fd, F_SETLK, F_WRLCK, 40, 20) == 0); /* the child's ended with it */
	other = open("a", O_RDONLY);
	FAILS(lock_range(other, F_SETLK, F_WRLCK, 0, 1), EBADF);
	close(other); /* closing any descriptor ends all of the process's locks */
	IN_CHILD(CHECK(who_locks("a", 0, 0).l_type == F_UNLCK));
	CHECK(lock_range(fd, F_OFD_SETLK, F_WRLCK, 0, 0) == 0);
	other = open("a", O_RDWR);
	FAILS(lock_range(other, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
	close(fd);
	CHECK(flock_soon(other, LOCK_EX) == 0 &&
	      lock_range(other, F_OFD_SETLKW, F_WRLCK, 5, 1) == 0);
	close(other);
}

static void test_flock(void)
{
	int a = open("a", O_CREAT | O_RDWR, 0644), b = open("a", O_RDONLY), copy = dup(a);

	CHECK(flock(a, LOCK_SH) == 0 && flock(b, LOCK_SH | LOCK_NB) == 0);
	FAILS(flock(a, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	CHECK(flock(b, LOCK_UN) == 0 && flock(a, LOCK_EX | LOCK_NB) == 0);
	FAILS(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	close(a);
	FAILS(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK); /* the duplicate keeps it */
	close(copy);
	CHECK(flock_soon(b, LOCK_EX | LOCK_NB) == 0); /* a read-only descriptor may */
	IN_CHILD({
		a = open("a", O_RDWR);
		FAILS(flock(a, LOCK_SH | LOCK_NB), EWOULDBLOCK);
		CHECK(lock_range(a, F_SETLK, F_WRLCK, 0, 0) ==
		      0); /* the two kinds do not see each other */
	});
	close(b);
}

/* A child that waits for a lock on "a"; returns when it is surely waiting or about to */
static pid_t waiter(bool use_flock, void (*prepare)(void))
{
	int pipe_fds[2];
	char c = 0;
	pid_t pid;

	CHECK(pipe(pipe_fds) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int fd = open("a", O_RDWR), r;

		if (prepare)
			prepare();
		(void)!write(pipe_fds[1], &c, 1);
		r = use_flock ? flock(fd, LOCK_EX) : lock_range(fd, F_SETLKW, F_WRLCK, 0, 0);
		_exit(r == 0 ? 0 : errno == EINTR ? 42 : 1 + (errno & 31));
	}
	CHECK(read(pipe_fds[0], &c, 1) == 1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	usleep(300000); /* not a wait for an event: only to have it sleep in the kernel; nothing breaks if it does not */
	return pid;
}

static int signals_seen;
static void on_signal(int signal)
{
	(void)signal;
	signals_seen++;
}
static void handle_signal(void)
{
	struct sigaction act = {.sa_handler = on_signal};

	sigaction(SIGUSR1, &act, NULL);
}
static void handle_and_restart(void)
{
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigaction(SIGUSR1, &act, NULL);
}

/* How long after @signal it takes @pid to end; its status in @status */
static double ends_after(pid_t pid, int signal, int *status)
{
	double start = seconds();

	CHECK(kill(pid, signal) == 0);
	while (waitpid(pid, status, WNOHANG) == 0) {
		if (seconds() - start > 20) {
			printf("# pid %d does not end\n", pid);
			failed = true;
			return 20;
		}
		usleep(5000);
	}
	return seconds() - start;
}

static void test_killed_waiter(void)
{
	int fd = open("a", O_CREAT | O_RDWR, 0644), status = 0;
	double slow = getenv("SLOW") ? atof(getenv("SLOW")) : 1, took;
	pid_t pid;

	for (int use_flock = 0; use_flock < 2; use_flock++) {
		CHECK(use_flock ? flock(fd, LOCK_EX) == 0
				: lock_range(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
		took = ends_after(waiter(use_flock, NULL), SIGKILL, &status);
		printf("# a killed waiter ended after %.3f s\n", took);
		CHECK(took < slow && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		took = ends_after(waiter(use_flock, NULL), SIGTERM, &status);
		CHECK(took < slow && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
		took = ends_after(waiter(use_flock, handle_signal), SIGUSR1, &status);
		printf("# an interrupted waiter returned after %.3f s\n", took);
		CHECK(took < slow && WIFEXITED(status) && WEXITSTATUS(status) == 42);
		/* with SA_RESTART it goes on waiting, and gets the lock in the end */
		pid = waiter(use_flock, handle_and_restart);
		CHECK(kill(pid, SIGUSR1) == 0);
		usleep(500000);
		CHECK(waitpid(pid, &status, WNOHANG) == 0);
		CHECK(use_flock ? flock(fd, LOCK_UN) == 0
				: lock_range(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
		      WEXITSTATUS(status) == 0);
	}
	close(fd);
}

static void test_waiter_gets_lock(void)
{
	int fd = open("a", O_CREAT | O_RDWR, 0644), status;
	pid_t pid;

	CHECK(lock_range(fd, F_SETLK, F_WRLCK, 10, 5) == 0);
	pid = waiter(false, NULL);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	close(fd);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	fd = open("a", O_RDWR);
	CHECK(flock(fd, LOCK_SH) == 0);
	pid = waiter(true, NULL);
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	CHECK(flock(fd, LOCK_UN) == 0); /* closing would not do: the child has the open file too */
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(fd);
}

static void test_deadlock(void)
{
	int fd = open("a", O_CREAT | O_RDWR, 0644), status, pipe_fds[2];
	char c;
	pid_t pid;

	CHECK(lock_range(fd, F_SETLK, F_WRLCK, 0, 1) == 0 && pipe(pipe_fds) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int other = open("a", O_RDWR);

		if (lock_range(other, F_SETLK, F_WRLCK, 1, 1) < 0 ||
		    write(pipe_fds[1], "x", 1) != 1)
			_exit(1);
		_exit(lock_range(other, F_SETLKW, F_WRLCK, 0, 1) < 0);
	}
	CHECK(read(pipe_fds[0], &c, 1) == 1);
	usleep(300000);
	alarm(20);
	FAILS(lock_range(fd, F_SETLKW, F_WRLCK, 1, 1), EDEADLK);
	alarm(0);
	close(fd);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_hundred_waiters(void)
{
	int fd = open("a", O_CREAT | O_RDWR, 0644), status, gone = 0;
	double alone, beside, start;
	pid_t pids[100];
	char name[32];

	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK(put(name, name) == 0);
	}
	start = seconds();
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK(holds(name, name));
	}
	alone = seconds() - start;
	CHECK(lock_range(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
	fflush(stdout);
	for (int i = 0; i < 100; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			int other = open("a", O_RDWR);

			_exit(lock_range(other, F_SETLKW, F_WRLCK, 0, 0) < 0);
		}
	}
	usleep(1000000);
	start = seconds();
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		CHECK(holds(name, name));
	}
	beside = seconds() - start;
	printf("# 200 files read in %.3f s alone, %.3f s beside 100 waiters\n", alone, beside);
	CHECK(beside < 10 * alone + 2);
	for (int i = 0; i < 100; i++)
		gone += waitpid(pids[i], &status, WNOHANG) != 0;
	CHECK(gone == 0);
	close(fd);
	for (int i = 0; i < 100; i++)
		CHECK(waitpid(pids[i], &status, 0) == pids[i] && status == 0);
}

#endif
