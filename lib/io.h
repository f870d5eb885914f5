/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading, writing, and files that others read.
 *
 * Everything here retries EINTR, opens O_CLOEXEC and bounds what it reads.
 */
#ifndef LIB_IO_H
#define LIB_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

#define IO_PASS_FDS_MAX 253 /* SCM_MAX_FD of the kernel */

/** io_read_full() - Read exactly @len bytes; Return: 0, -EPIPE at an early end, or -errno */
int io_read_full(int fd, void *buf, size_t len);
/** io_write_full() - Write all of @buf to a blocking descriptor; Return: 0 or -errno */
int io_write_full(int fd, const void *buf, size_t len);

/**
 * io_read_file() - Read a whole file of at most @max bytes into a new, NUL-terminated buffer
 * @dirfd:	As for openat(2)
 * @out:	Owned by the caller, set on success only
 *
 * Return: the length (>= 0), -EFBIG when larger than @max, or -errno; @err names the path.
 */
ssize_t io_read_file(int dirfd, const char *path, size_t max, char **out, struct err *err);

/** io_open_regular() - Open a regular file for reading, without ever blocking; Return: its descriptor, -EINVAL for anything else, -errno */
int io_open_regular(const char *path);
/** io_read_open() - io_read_file() of an open descriptor, borrowed; errors call it @path */
ssize_t io_read_open(int fd, const char *path, size_t max, char **out, struct err *err);

/**
 * io_write_file() - Replace a file atomically: temporary file beside it, fsync, rename
 * @mode:	Permissions of the new file
 *
 * Return: 0, or -errno with nothing left behind; @err names the path.
 */
int io_write_file(int dirfd, const char *path, const void *buf, size_t len, mode_t mode,
		  struct err *err);

/**
 * io_rewrite_file() - The same for somebody else's file: it keeps its owner and mode; 0644 when it is new
 * @path:	Followed when it is a symbolic link
 */
int io_rewrite_file(const char *path, const void *buf, size_t len, struct err *err);

/**
 * io_send_fds() - Send one message with descriptors over a Unix socket (MSG_NOSIGNAL)
 * @nfds:	0 to IO_PASS_FDS_MAX
 * Return: 0 or -errno; -EAGAIN only if the socket is non-blocking.
 */
int io_send_fds(int sock, const void *buf, size_t len, const int *fds, size_t nfds);

/**
 * io_recv_fds() - Receive one message and its descriptors (O_CLOEXEC)
 * @max_fds:	Room in @fds; surplus descriptors are closed and the message fails with -EMSGSIZE
 * @nfds:	Set on success; the descriptors are the caller's
 * Return: the length (0: the peer closed), or -errno; -EMSGSIZE when the message was longer than @len.
 */
ssize_t io_recv_fds(int sock, void *buf, size_t len, int *fds, size_t max_fds, size_t *nfds);

/** io_set_nonblock() - Set or clear O_NONBLOCK; Return: 0 or -errno */
int io_set_nonblock(int fd, bool on);
/** io_close_all_from() - close_range(2) from @first to the end, except the @nkeep descriptors in @keep (any order) */
void io_close_all_from(int first, const int *keep, size_t nkeep);
/** io_now_ms() - CLOCK_MONOTONIC in milliseconds */
uint64_t io_now_ms(void);
/** io_proc_start_time() - Field 22 of /proc/PID/stat (clock ticks since boot); Return: 0, or -ESRCH when there is no such process */
int io_proc_start_time(pid_t pid, uint64_t *ticks);

#endif
