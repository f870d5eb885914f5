/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading, writing, and files that others read: see lib/io.h.
 *
 * Used by every process of ours. The bytes are foreign in most cases (a bundle's config.json, a peer on a socket), so each
 * reader has a cap given by its caller, and nothing here trusts the size that stat(2) reports. io_read_file() opens without
 * blocking, so that a fifo without a writer, put in the place of a file, is an empty file and hangs nobody; a pipe with a
 * writer (`--process <(…)`) is read to its end. No state; usable from several threads.
 */
#include "lib/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/close_range.h>

#include "lib/buf.h"
#include "lib/cleanup.h"

#define READ_STEP 16384u /* bytes per read(2) of a file */

int io_read_full(int fd, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EPIPE;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_write_full(int fd, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Opens for reading without blocking on a fifo, and makes later reads blocking */
static int open_readable(int dirfd, const char *path)
{
	cleanup_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode) && fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	return take_fd(&fd);
}

static int read_all(int fd, struct buf *b)
{
	uint8_t step[READ_STEP];

	for (;;) {
		ssize_t n = read(fd, step, sizeof(step));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		r = buf_append(b, step, (size_t)n);
		if (r < 0)
			return r == -EMSGSIZE ? -EFBIG : r;
	}
}

int io_open_regular(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? take_fd(&fd) : -EINVAL;
}

ssize_t io_read_open(int fd, const char *path, size_t max, char **out, struct err *err)
{
	struct buf b = {.max = max};
	int r = read_all(fd, &b);

	if (r == 0) {
		b.max = SIZE_MAX; /* the NUL is ours, not part of the file */
		r = buf_append(&b, "", 1);
	}
	if (r < 0) {
		buf_release(&b);
		if (r == -EFBIG)
			return err_set(err, EFBIG, "'%s' is larger than %zu bytes", path, max);
		return err_sys(err, -r, "cannot read '%s'", path);
	}
	*out = (char *)b.data;
	return (ssize_t)(b.len - 1);
}

ssize_t io_read_file(int dirfd, const char *path, size_t max, char **out, struct err *err)
{
	cleanup_close int fd = open_readable(dirfd, path);

	if (fd < 0)
		return err_sys(err, -fd, "cannot open '%s'", path);
	return io_read_open(fd, path, max, out, err);
}

/* Whose a new file is, and what may be done with it; -1: the caller's */
struct owner {
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

/* Writes and syncs a new file at @path; on failure nothing is left */
static int write_new(int dirfd, const char *path, const void *buf, size_t len,
		     const struct owner *owner)
{
	cleanup_close int fd = -1;
	int r;

	fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = io_write_full(fd, buf, len);
	if (r == 0 && fchown(fd, owner->uid, owner->gid) < 0)
		r = -errno;
	if (r == 0 && fchmod(fd, owner->mode) < 0)
		r = -errno;
	if (r == 0 && fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		r = -errno;
	if (r == 0 && close(take_fd(&fd)) < 0 && errno != EINTR)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dirfd, path, 0);
	return r;
}

/* ".NAME.PID.tmp" in the directory of @path: hidden, and of the same file system */
static int temporary_name(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	static unsigned int serial;
	int n;

	if (*name == '\0')
		return -EISDIR;
	n = snprintf(out, size, "%.*s.%.100s.%d-%u.tmp", (int)(name - path), path, name,
		     (int)getpid(), __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED));
	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	return 0;
}

static int replace(int dirfd, const char *path, const void *buf, size_t len,
		   const struct owner *owner, struct err *err)
{
	char tmp[PATH_MAX];
	int r;

	r = temporary_name(path, tmp, sizeof(tmp));
	if (r < 0)
		return err_sys(err, -r, "cannot write '%s'", path);
	r = write_new(dirfd, tmp, buf, len, owner);
	if (r == -EEXIST &&
	    unlinkat(dirfd, tmp, 0) == 0) /* left by a killed process that had our pid */
		r = write_new(dirfd, tmp, buf, len, owner);
	if (r < 0)
		return err_sys(err, -r, "cannot write '%s'", path);
	if (renameat(dirfd, tmp, dirfd, path) < 0) {
		r = -errno;
		(void)unlinkat(dirfd, tmp, 0);
		return err_sys(err, -r, "cannot write '%s'", path);
	}
	return 0;
}

int io_write_file(int dirfd, const char *path, const void *buf, size_t len, mode_t mode,
		  struct err *err)
{
	const struct owner owner = {.mode = mode, .uid = (uid_t)-1, .gid = (gid_t)-1};

	return replace(dirfd, path, buf, len, &owner, err);
}

int io_rewrite_file(const char *path, const void *buf, size_t len, struct err *err)
{
	struct owner owner = {.mode = 0644, .uid = (uid_t)-1, .gid = (gid_t)-1};
	cleanup_free char *real = realpath(path, NULL);
	struct stat st;

	if (!real && errno != ENOENT)
		return err_sys(err, errno, "cannot write '%s'", path);
	if (real) {
		if (stat(real, &st) < 0)
			return err_sys(err, errno, "cannot write '%s'", path);
		owner = (struct owner){st.st_mode & 07777, st.st_uid, st.st_gid};
	}
	return replace(AT_FDCWD, real ? real : path, buf, len, &owner, err);
}

int io_send_fds(int sock, const void *buf, size_t len, const int *fds, size_t nfds)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * IO_PASS_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (nfds > IO_PASS_FDS_MAX)
		return -EINVAL;
	if (nfds > 0) {
		struct cmsghdr *c = &control.align;

		memset(&control, 0, sizeof(control));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* A stream socket may take a part; the descriptors went with the first byte */
	if ((size_t)n < len) {
		const uint8_t *rest = (const uint8_t *)buf + n;

		return io_send_fds(sock, rest, len - (size_t)n, NULL, 0);
	}
	return 0;
}

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)close(fds[i]);
}

/* Collects the descriptors of a received message; those without room are closed. Return: how many came */
static size_t collect_fds(struct msghdr *msg, int *fds, size_t max)
{
	size_t total = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (total < max)
				fds[total] = fd;
			else
				(void)close(fd);
			total++;
		}
	}
	return total;
}

ssize_t io_recv_fds(int sock, void *buf, size_t len, int *fds, size_t max_fds, size_t *nfds)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * IO_PASS_FDS_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	size_t total;
	ssize_t n;

	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	total = collect_fds(&msg, fds, max_fds);
	if (total > max_fds || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		close_all(fds, total < max_fds ? total : max_fds);
		return -EMSGSIZE;
	}
	*nfds = total;
	return n;
}

int io_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);
	int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;

	if (flags < 0)
		return -errno;
	if (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)
		return -errno;
	return 0;
}

/* close_range() through syscall(2): it must work where the C library is older than the kernel */
static void close_between(unsigned int first, unsigned int last)
{
	if (first > last)
		return;
	if (syscall(SYS_close_range, first, last, 0) == 0 || errno != ENOSYS)
		return;
	for (unsigned int fd = first; fd <= last && fd < 65536; fd++)
		(void)close((int)fd);
}

void io_close_all_from(int first, const int *keep, size_t nkeep)
{
	unsigned int from = first < 0 ? 0 : (unsigned int)first;

	for (;;) {
		unsigned int next =
			UINT_MAX; /* the smallest kept descriptor that is not below from */

		for (size_t i = 0; i < nkeep; i++) {
			if (keep[i] >= 0 && (unsigned int)keep[i] >= from &&
			    (unsigned int)keep[i] < next)
				next = (unsigned int)keep[i];
		}
		if (next == UINT_MAX) {
			close_between(from, UINT_MAX);
			return;
		}
		if (next > from)
			close_between(from, next - 1);
		from = next + 1;
	}
}

uint64_t io_now_ms(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int io_proc_start_time(pid_t pid, uint64_t *ticks)
{
	char path[64], *p, *end;
	cleanup_free char *text = NULL;
	unsigned long long value;
	ssize_t n;

	if (pid <= 0)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	n = io_read_file(AT_FDCWD, path, 4096, &text, NULL);
	if (n == -ENOENT || n == -ESRCH)
		return -ESRCH;
	if (n < 0)
		return (int)n;
	p = strrchr(text, ')'); /* field 2 is the command's name, which may hold anything */
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EPROTO;
	errno = 0;
	value = strtoull(p + 1, &end, 10);
	if (errno != 0 || end == p + 1)
		return -EPROTO;
	*ticks = value;
	return 0;
}
