/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host changes in bind mounts, raised as events of this guest's own kernel (kvm/fuse/events.c has the protocol).
 *
 * Two jobs for one thread, which sleeps in read(2) between them:
 *
 *   SCAN     who watches what? /proc/PID/fdinfo shows the watches of each inotify and fanotify descriptor with a file handle, which for
 *            FUSE is the nodeid. All are sent as one list; nothing is sent while it stays the same.
 *   others   one change: the system call that raises its event. The server knows this thread and only pretends; so calls here
 *            must go nowhere but to the control file's own file system.
 *
 * The kernel shows no handle (CONFIG_EXPORTFS off in a kernel of one's own): nobody is found, nothing is raised.
 */
#define _GNU_SOURCE
#include "guest/events.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"

#define CONTROL_NAME ".caisson-events"
#define FUSE_MAGIC 0x65735546
#define HANDLE_TYPE 0x81u /* FILEID_INO64_GEN, as FUSE makes it */
#define RECORD_MAX 16384
#define SEND_MAX 2048 /* watches in one write */
#define FAILED_PAUSE_US 100000

enum { EVENT_SCAN = 1, EVENT_CONTENT, EVENT_CREATE, EVENT_DELETE, EVENT_RENAME };

struct record {
	uint32_t what, bits;
	uint16_t path_len, name_len, path2_len, name2_len;
};

/* A record, taken apart */
struct change {
	uint32_t what, bits;
	char path[4097], name[256], path2[4097], name2[256];
};

/* Guarded by there being one thread */
static struct {
	int top, proc, control;
	struct events_watch list[EVENTS_WATCHES_MAX + 1];
	size_t n;
	uint64_t sent; /* a digest of the list that the server has */
} events = {-1, -1, -1, {{0}}, 0, 0};

/* ---- who watches what ---- */

int events_parse_line(const char *line, struct events_watch *out)
{
	unsigned int type, bytes, mask, b[12];
	const char *handle = strstr(line, "fhandle-bytes:"), *ino = strstr(line, "ino:"),
		   *bits = strstr(line, " mask:");
	unsigned long long inode;
	uint64_t high, low;

	if ((strncmp(line, "inotify ", 8) != 0 && strncmp(line, "fanotify ", 9) != 0) || !handle ||
	    !ino || !bits || sscanf(ino, "ino:%llx", &inode) != 1 ||
	    sscanf(bits, " mask:%x", &mask) != 1 ||
	    sscanf(handle, "fhandle-bytes:%x fhandle-type:%x f_handle:%2x%2x%2x%2x%2x%2x%2x%2x",
		   &bytes, &type, b, b + 1, b + 2, b + 3, b + 4, b + 5, b + 6, b + 7) != 10 ||
	    bytes != 12 || type != HANDLE_TYPE)
		return 0;
	high = b[0] | b[1] << 8 | b[2] << 16 | (uint64_t)b[3] << 24;
	low = b[4] | b[5] << 8 | b[6] << 16 | (uint64_t)b[7] << 24;
	*out = (struct events_watch){.nodeid = high << 32 | low, .ino = inode, .mask = mask};
	return out->nodeid != 0;
}

static void scan_descriptor(int pid_fd, const char *name)
{
	char path[64], line[512];
	cleanup_close int fd = -1;
	FILE *file;

	(void)snprintf(path, sizeof(path), "fdinfo/%.32s", name);
	fd = openat(pid_fd, path, O_RDONLY | O_CLOEXEC);
	file = fd < 0 ? NULL : fdopen(fd, "re");
	if (!file)
		return;
	(void)take_fd(&fd);
	while (events.n < EVENTS_WATCHES_MAX && fgets(line, sizeof(line), file))
		events.n += (size_t)events_parse_line(line, &events.list[events.n]);
	(void)fclose(file);
}

static void scan_process(const char *pid)
{
	cleanup_close int pid_fd = openat(events.proc, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = pid_fd < 0 ? -1 : openat(pid_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close_fd(&fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		char target[64];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

		if (n <= 0)
			continue;
		target[n] = 0;
		if (!strcmp(target, "anon_inode:inotify") ||
		    !strcmp(target, "anon_inode:[fanotify]"))
			scan_descriptor(pid_fd, entry->d_name);
	}
	(void)closedir(dir);
}

static uint64_t digest(void)
{
	const uint8_t *p = (const uint8_t *)events.list;
	uint64_t sum = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < events.n * sizeof(events.list[0]); i++)
		sum = (sum ^ p[i]) * 0x100000001b3ull;
	return sum;
}

static int send_list(void)
{
	uint64_t sum = digest();

	if (sum == events.sent)
		return 0;
	events.list[events.n] = (struct events_watch){0}; /* the end */
	for (size_t at = 0; at <= events.n;) {
		size_t n = events.n + 1 - at < SEND_MAX ? events.n + 1 - at : SEND_MAX;

		if (write(events.control, &events.list[at], n * sizeof(events.list[0])) < 0)
			return -errno;
		at += n;
	}
	events.sent = sum;
	return 0;
}

static int scan(void)
{
	int fd = openat(events.proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close_fd(&fd);
		return 0;
	}
	events.n = 0;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			scan_process(entry->d_name);
	}
	(void)closedir(dir);
	return send_list();
}

/* ---- raising ---- */

/* A place of the server's; never of another file system that somebody has mounted over it */
static int open_place(const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(O_PATH | O_CLOEXEC | O_NOFOLLOW | flags),
			       .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
					  RESOLVE_BENEATH};
	int fd = (int)syscall(SYS_openat2, events.top, path, &how, sizeof(how));
	struct statfs fs;

	if (fd >= 0 && (fstatfs(fd, &fs) < 0 || fs.f_type != FUSE_MAGIC))
		close_fd(&fd);
	return fd;
}

static void raise_content(const struct change *c)
{
	const struct timespec modify[2] = {{.tv_nsec = UTIME_OMIT}, {0}}, attrib[2] = {{0}, {0}};
	char path[4097 + 256 + 1], proc[32];
	cleanup_close int fd = -1, written = -1;
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s%s%s", c->path, c->name[0] ? "/" : "", c->name);
	fd = open_place(path, 0); /* this look-up drops what the guest has of the old content */
	if (fd < 0)
		return;
	if (c->bits & IN_ATTRIB)
		(void)utimensat(fd, "", attrib, AT_EMPTY_PATH);
	if (c->bits & IN_MODIFY)
		(void)utimensat(fd, "", modify, AT_EMPTY_PATH);
	if (!(c->bits & IN_CLOSE_WRITE) || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	(void)snprintf(proc, sizeof(proc), "self/fd/%d", fd);
	written = openat(events.proc, proc, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static void raise_name(const struct change *c)
{
	bool is_dir = c->bits & IN_ISDIR;
	cleanup_close int dir = open_place(c->path, O_DIRECTORY);
	cleanup_close int dir2 = -1;

	if (dir < 0)
		return;
	if (c->what == EVENT_CREATE) {
		(void)(is_dir ? mkdirat(dir, c->name, 0700)
			      : mknodat(dir, c->name, S_IFREG | 0600, 0));
	} else if (c->what == EVENT_DELETE) {
		(void)unlinkat(dir, c->name, is_dir ? AT_REMOVEDIR : 0);
	} else if (c->what == EVENT_RENAME) {
		dir2 = open_place(c->path2, O_DIRECTORY);
		if (dir2 >= 0)
			(void)renameat(dir, c->name, dir2, c->name2);
	}
}

static bool take_text(const char **at, size_t *left, char *out, size_t size, size_t len)
{
	if (len > *left || len >= size)
		return false;
	memcpy(out, *at, len);
	out[len] = 0;
	*at += len;
	*left -= len;
	return true;
}

static int one_round(void)
{
	static struct change c;
	static char data[RECORD_MAX];
	ssize_t n = read(events.control, data, sizeof(data));
	const char *at = data + sizeof(struct record);
	struct record record;
	size_t left;

	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(record))
		return -ENODATA;
	memcpy(&record, data, sizeof(record));
	left = (size_t)n - sizeof(record);
	c.what = record.what;
	c.bits = record.bits;
	if (c.what == EVENT_SCAN)
		return scan();
	if (!take_text(&at, &left, c.path, sizeof(c.path), record.path_len) ||
	    !take_text(&at, &left, c.name, sizeof(c.name), record.name_len) ||
	    !take_text(&at, &left, c.path2, sizeof(c.path2), record.path2_len) ||
	    !take_text(&at, &left, c.name2, sizeof(c.name2), record.name2_len))
		return -ENODATA;
	if (c.what == EVENT_CONTENT)
		raise_content(&c);
	else
		raise_name(&c);
	return 0;
}

static void *events_main(void *arg)
{
	int r;

	(void)arg;
	do {
		r = one_round();
		if (r < 0) /* one that answers without need must not keep us busy */
			(void)usleep(FAILED_PAUSE_US);
	} while (r == 0 || r == -EINTR || r == -ENODATA);
	return NULL;
}

int events_start(int top, int proc, struct err *err)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int r;

	events.control = openat(top, CONTROL_NAME, O_RDWR | O_CLOEXEC);
	events.top = openat(top, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	events.proc = openat(proc, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = events.control < 0 || events.top < 0 || events.proc < 0 ? errno : 0;
	if (r == 0)
		r = pthread_attr_init(&attr);
	if (r == 0) {
		(void)sigfillset(&all);
		(void)pthread_sigmask(SIG_SETMASK, &all, &old);
		r = pthread_create(&thread, &attr, events_main, NULL);
		(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
		(void)pthread_attr_destroy(&attr);
	}
	if (r == 0) {
		(void)pthread_detach(thread);
		return 0;
	}
	close_fd(&events.control);
	close_fd(&events.top);
	close_fd(&events.proc);
	return err_sys(err, r, "control file of events");
}
