/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.sysctl by the guest's /proc: what is set there is the writer's own namespaces', and the container need not have a /proc.
 *
 * runc takes only what belongs to a namespace, for the rest is its host's. Here every key is taken: the kernel is the
 * container's own.
 */
#define _GNU_SOURCE
#include "guest/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/path.h"

void sysctl_path(char *key)
{
	char *first = key + strcspn(key, "./");

	if (*first == '/')
		return;
	/* A slash in a key with dots is a dot of a name: net.ipv4.conf.eth0/100.forwarding */
	for (; *key; key++)
		*key = *key == '.' ? '/' : *key == '/' ? '.' : *key;
}

static int write_value(int base, const char *path, const char *value)
{
	cleanup_close int fd = path_open_beneath(base, path, O_WRONLY, 0, NULL);
	size_t len = strlen(value);

	if (fd < 0)
		return fd;
	return write(fd, value, len) == (ssize_t)len ? 0 : -errno;
}

static int set_one(int base, const struct oci_pair *pair, uid_t owner, struct err *err)
{
	cleanup_free char *path = strdup(pair->key);
	int r;

	if (!path)
		return err_sys(err, ENOMEM, "cannot set linux.sysctl");
	sysctl_path(path);
	r = write_value(base, path, pair->value);
	if ((r == -EACCES || r == -EPERM) && owner) {
		/* The raw calls: this process has one thread */
		if (syscall(SYS_setresuid, -1, owner, -1) == 0)
			r = write_value(base, path, pair->value);
		if (syscall(SYS_setresuid, -1, 0, -1) < 0)
			return err_sys(err, errno, "cannot return to the guest's root");
	}
	if (r < 0)
		return err_sys(err, -r, "linux.sysctl: cannot set '%.256s' to '%.128s'", pair->key,
			       pair->value);
	return 0;
}

static bool is_wanted(const char *key, enum sysctl_part part)
{
	bool user = strncmp(key, "user", 4) == 0 && (key[4] == '.' || key[4] == '/');

	return part == SYSCTL_ALL || user == (part == SYSCTL_USER);
}

int sysctl_apply(const struct oci_pairs *sysctl, enum sysctl_part part, uid_t owner,
		 struct err *err)
{
	cleanup_close int base = -1;

	if (!sysctl->n)
		return 0;
	base = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return err_sys(err, errno, "cannot open /proc/sys");
	for (size_t i = 0; i < sysctl->n; i++) {
		int r = is_wanted(sysctl->items[i].key, part)
				? set_one(base, &sysctl->items[i], owner, err)
				: 0;

		if (r < 0)
			return r;
	}
	return 0;
}
