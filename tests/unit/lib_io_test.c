/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/io.c: caps, atomic replacement, descriptors over sockets, and system calls that fail.
 *
 * LDFLAGS: -Wl,--wrap=fsync -Wl,--wrap=syscall -Wl,--wrap=read -Wl,--wrap=write
 */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/io.h"

int __real_fsync(int fd);
int __wrap_fsync(int fd);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
ssize_t __real_read(int fd, void *buf, size_t len);
ssize_t __wrap_read(int fd, void *buf, size_t len);
ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);

static int fsync_error, old_kernel, interruptions;

int __wrap_fsync(int fd)
{
	if (!fsync_error)
		return __real_fsync(fd);
	errno = fsync_error;
	return -1;
}

long __wrap_syscall(long number, ...)
{
	long a[3];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 3; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (old_kernel && number == SYS_close_range) {
		errno = ENOSYS;
		return -1;
	}
	return __real_syscall(number, a[0], a[1], a[2]);
}

static bool interrupted(void)
{
	if (interruptions <= 0)
		return false;
	interruptions--;
	errno = EINTR;
	return true;
}

ssize_t __wrap_read(int fd, void *buf, size_t len)
{
	return interrupted() ? -1 : __real_read(fd, buf, len > 2 && interruptions < 0 ? 2 : len);
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	return interrupted() ? -1 : __real_write(fd, buf, len > 2 && interruptions < 0 ? 2 : len);
}

static char dir[] = "/tmp/caisson-io-XXXXXX";
static int dirfd_;

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)unlinkat(dirfd_, "f", 0);
	(void)unlinkat(dirfd_, "fifo", 0);
	(void)close(dirfd_);
	return rmdir(dir);
}

static size_t entries(void)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n - 2;
}

static void read_and_write_full(void **state)
{
	int p[2];
	char out[8] = "";

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(io_write_full(p[1], "abcdef", 6), 0);
	assert_int_equal(io_read_full(p[0], out, 3), 0);
	assert_string_equal(out, "abc");
	(void)close(p[1]);
	assert_int_equal(io_read_full(p[0], out, 4), -EPIPE);
	(void)close(p[0]);
	assert_int_equal(io_read_full(p[0], out, 1), -EBADF);
	assert_int_equal(io_write_full(p[0], out, 1), -EBADF);
}

static void write_replaces_and_read_returns(void **state)
{
	cleanup_free char *text = NULL;
	struct err err = {0};
	struct stat st;

	(void)state;
	assert_int_equal(io_write_file(dirfd_, "f", "first", 5, 0640, &err), 0);
	assert_int_equal(io_write_file(dirfd_, "f", "second\0x", 8, 0600, &err), 0);
	assert_int_equal(io_read_file(dirfd_, "f", 8, &text, &err), 8);
	assert_memory_equal(text, "second\0x\0", 9);
	assert_int_equal(fstatat(dirfd_, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(entries(), 1);
}

static void read_has_a_cap(void **state)
{
	char *text = (char *)"untouched";
	struct err err = {0};

	(void)state;
	assert_int_equal(io_write_file(dirfd_, "f", "12345678", 8, 0600, &err), 0);
	assert_int_equal(io_read_file(dirfd_, "f", 7, &text, &err), -EFBIG);
	assert_string_equal(text, "untouched");
	assert_string_equal(err.msg, "'f' is larger than 7 bytes");
	assert_int_equal(io_read_file(AT_FDCWD, "/dev/zero", 100000, &text, &err), -EFBIG);
}

static void read_of_an_empty_file(void **state)
{
	cleanup_free char *text = NULL;

	(void)state;
	assert_int_equal(io_write_file(dirfd_, "f", "", 0, 0600, NULL), 0);
	assert_int_equal(io_read_file(dirfd_, "f", 0, &text, NULL), 0);
	assert_string_equal(text, "");
}

static void read_refuses_what_is_no_file(void **state)
{
	cleanup_free char *text = NULL;
	char *none = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(io_read_file(AT_FDCWD, dir, 10, &none, &err), -EISDIR);
	assert_int_equal(io_read_file(dirfd_, "missing", 10, &none, &err), -ENOENT);
	assert_string_equal(err.msg, "cannot open 'missing': missing");
	(void)unlinkat(dirfd_, "fifo", 0);
	assert_int_equal(mkfifoat(dirfd_, "fifo", 0600), 0);
	assert_int_equal(io_read_file(dirfd_, "fifo", 10, &text, &err),
			 0); /* nobody writes: no hang */
}

static void read_of_a_pipe_waits_for_its_end(void **state)
{
	cleanup_free char *text = NULL;
	char path[40];
	int p[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(p[0]);
		(void)usleep(20000);
		_exit(io_write_full(p[1], "{}", 2) == 0 ? 0 : 1);
	}
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", p[0]);
	(void)close(p[1]);
	assert_int_equal(io_read_file(AT_FDCWD, path, 10, &text, NULL), 2);
	assert_string_equal(text, "{}");
	(void)close(p[0]);
	(void)waitpid(pid, NULL, 0);
}

static void failed_write_leaves_nothing(void **state)
{
	struct rlimit old, small = {.rlim_cur = 1000};
	static char big[5000];
	struct err err = {0};
	size_t before;
	int r;

	(void)state;
	assert_int_equal(io_write_file(dirfd_, "f", "kept", 4, 0600, NULL), 0);
	before = entries();
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = io_write_file(dirfd_, "f", big, sizeof(big), 0600, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(err.msg, "cannot write 'f'"));
	assert_int_equal(entries(), before);
	assert_int_equal(io_write_file(AT_FDCWD, "/nonexistent/f", "x", 1, 0600, &err), -ENOENT);
	assert_int_equal(io_write_file(dirfd_, "d/", "x", 1, 0600, &err), -EISDIR);
}

static void fds_travel(void **state)
{
	int sv[2], p[2], got[4];
	char out[16] = "";
	size_t n = 99;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(io_send_fds(sv[0], "hello", 5, p, 2), 0);
	assert_int_equal(io_recv_fds(sv[1], out, sizeof(out), got, 4, &n), 5);
	assert_string_equal(out, "hello");
	assert_int_equal(n, 2);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(got[1], "x", 1), 1);
	assert_int_equal(read(p[0], out, 1), 1);
	for (int i = 0; i < 2; i++) {
		(void)close(got[i]);
		(void)close(p[i]);
	}
	assert_int_equal(io_send_fds(sv[0], "y", 1, NULL, 0), 0);
	assert_int_equal(io_recv_fds(sv[1], out, sizeof(out), got, 4, &n), 1);
	assert_int_equal(n, 0);
	(void)close(sv[0]);
	assert_int_equal(io_recv_fds(sv[1], out, sizeof(out), got, 4, &n), 0);
	assert_int_equal(io_send_fds(sv[1], "z", 1, NULL, 0), -EPIPE); /* and no SIGPIPE */
	assert_int_equal(io_send_fds(sv[1], "z", 1, got, IO_PASS_FDS_MAX + 1), -EINVAL);
	(void)close(sv[1]);
}

static void interruptions_and_short_counts(void **state)
{
	cleanup_free char *text = NULL;
	char out[8] = "";
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	interruptions = 3;
	assert_int_equal(io_write_full(p[1], "abcdef", 6), 0);
	interruptions = 3;
	assert_int_equal(io_read_full(p[0], out, 6), 0);
	assert_string_equal(out, "abcdef");
	interruptions = -1; /* two bytes at a time */
	assert_int_equal(io_write_full(p[1], "abcde", 5), 0);
	assert_int_equal(io_read_full(p[0], out, 5), 0);
	assert_int_equal(io_write_file(dirfd_, "f", "12345", 5, 0600, NULL), 0);
	assert_int_equal(io_read_file(dirfd_, "f", 5, &text, NULL), 5);
	assert_string_equal(text, "12345");
	interruptions = 0;
	(void)close(p[0]);
	(void)close(p[1]);
}

static void a_disk_that_fails_late(void **state)
{
	struct err err = {0};
	size_t before;

	(void)state;
	assert_int_equal(io_write_file(dirfd_, "f", "kept", 4, 0600, NULL), 0);
	before = entries();
	fsync_error = EIO;
	assert_int_equal(io_write_file(dirfd_, "f", "new", 3, 0600, &err), -EIO);
	fsync_error = EINVAL; /* a file system that has no fsync */
	assert_int_equal(io_write_file(dirfd_, "f", "other", 5, 0600, &err), 0);
	fsync_error = 0;
	assert_int_equal(entries(), before);
	assert_int_equal(mkdirat(dirfd_, "d", 0700), 0); /* rename fails */
	assert_int_equal(io_write_file(dirfd_, "d", "x", 1, 0600, &err), -EISDIR);
	assert_int_equal(unlinkat(dirfd_, "d", AT_REMOVEDIR), 0);
	assert_int_equal(entries(), before);
}

static void sockets_that_take_a_part(void **state)
{
	static char big[600000], got[600000];
	int sv[2], p[2], fds[2], status = -1;
	size_t n = 0;
	pid_t pid;
	ssize_t first;

	(void)state;
	memset(big, 's', sizeof(big));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		_exit(io_send_fds(sv[0], big, sizeof(big), p, 1) == 0 ? 0 : 1);
	first = io_recv_fds(sv[1], got, sizeof(got), fds, 2, &n);
	assert_true(first > 0);
	assert_int_equal(n, 1);
	assert_int_equal(io_read_full(sv[1], got + first, sizeof(got) - (size_t)first), 0);
	assert_memory_equal(got, big, sizeof(big));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	(void)close(fds[0]);
	for (int i = 0; i < 2; i++) {
		(void)close(sv[i]);
		(void)close(p[i]);
	}
}

static int open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

static void surplus_fds_are_closed(void **state)
{
	int sv[2], many[IO_PASS_FDS_MAX], got[1], before;
	char out[4];
	size_t n = 7;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	for (size_t i = 0; i < IO_PASS_FDS_MAX; i++)
		many[i] = sv[0];
	before = open_fds();
	assert_int_equal(io_send_fds(sv[0], "a", 1, many, IO_PASS_FDS_MAX), 0);
	assert_int_equal(io_recv_fds(sv[1], out, sizeof(out), got, 1, &n), -EMSGSIZE);
	assert_int_equal(io_send_fds(sv[0], "longer", 6, many, 1), 0);
	assert_int_equal(io_recv_fds(sv[1], out, sizeof(out), got, 1, &n), -EMSGSIZE);
	assert_int_equal(n, 7);
	assert_int_equal(open_fds(), before);
	(void)close(sv[0]);
	(void)close(sv[1]);
}

static void nonblock_is_set_and_cleared(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(io_set_nonblock(p[0], true), 0);
	assert_true(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	assert_int_equal(io_set_nonblock(p[0], false), 0);
	assert_false(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	(void)close(p[0]);
	(void)close(p[1]);
	assert_int_equal(io_set_nonblock(p[0], true), -EBADF);
}

static void close_all_keeps_what_is_named(void **state)
{
	int status = -1;
	pid_t pid;

	old_kernel = *state != NULL;
	pid = fork();
	if (pid == 0) {
		int a = dup2(0, 100), b = dup2(0, 105), c = dup2(0, 101);
		int keep[] = {b, 3, -1, a, b};
		bool ok;

		io_close_all_from(50, keep, ARRAY_SIZE(keep));
		ok = fcntl(a, F_GETFD) >= 0 && fcntl(b, F_GETFD) >= 0 && fcntl(c, F_GETFD) < 0 &&
		     fcntl(0, F_GETFD) >= 0;
		io_close_all_from(50, NULL, 0);
		_exit(ok && fcntl(a, F_GETFD) < 0 && fcntl(2, F_GETFD) >= 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	old_kernel = 0;
}

static void start_time_identifies_a_process(void **state)
{
	uint64_t mine = 0, again = 0, first = 0;

	(void)state;
	assert_int_equal(io_proc_start_time(getpid(), &mine), 0);
	assert_int_equal(io_proc_start_time(getpid(), &again), 0);
	assert_true(mine == again && mine > 0);
	assert_int_equal(io_proc_start_time(1, &first), 0);
	assert_true(first <= mine);
	assert_int_equal(io_proc_start_time(0, &first), -ESRCH);
	assert_int_equal(io_proc_start_time(0x7ffffff0, &first), -ESRCH);
}

static void now_goes_forward(void **state)
{
	uint64_t a = io_now_ms();

	(void)state;
	(void)usleep(3000);
	assert_true(io_now_ms() > a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_and_write_full),
		cmocka_unit_test(write_replaces_and_read_returns),
		cmocka_unit_test(read_has_a_cap),
		cmocka_unit_test(read_of_an_empty_file),
		cmocka_unit_test(read_refuses_what_is_no_file),
		cmocka_unit_test(read_of_a_pipe_waits_for_its_end),
		cmocka_unit_test(failed_write_leaves_nothing),
		cmocka_unit_test(fds_travel),
		cmocka_unit_test(surplus_fds_are_closed),
		cmocka_unit_test(nonblock_is_set_and_cleared),
		cmocka_unit_test(interruptions_and_short_counts),
		cmocka_unit_test(a_disk_that_fails_late),
		cmocka_unit_test(sockets_that_take_a_part),
		cmocka_unit_test(close_all_keeps_what_is_named),
		{"close_all_without_close_range", close_all_keeps_what_is_named, NULL, NULL,
		 (void *)"old"},
		cmocka_unit_test(start_time_identifies_a_process),
		cmocka_unit_test(now_goes_forward),
	};

	return cmocka_run_group_tests_name("lib/io", tests, set_up, tear_down);
}
