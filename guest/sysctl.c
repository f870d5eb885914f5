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
#include <stdlib.h>
#include <string.h>
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

static int set_one(int base, const struct oci_pair *pair, struct err *err)
{
	cleanup_free char *path = strdup(pair->key);
	cleanup_close int fd = -1;
	size_t len = strlen(pair->value);

	if (!path)
		return err_sys(err, ENOMEM, "cannot set linux.sysctl");
	sysctl_path(path);
	fd = path_open_beneath(base, path, O_WRONLY, 0, NULL);
	if (fd < 0)
		return err_sys(err, -fd, "linux.sysctl: cannot open '%.256s'", pair->key);
	if (write(fd, pair->value, len) != (ssize_t)len)
		return err_sys(err, errno, "linux.sysctl: cannot set '%.256s' to '%.128s'",
			       pair->key, pair->value);
	return 0;
}

int sysctl_apply(const struct oci_pairs *sysctl, struct err *err)
{
	cleanup_close int base = -1;

	if (!sysctl->n)
		return 0;
	base = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return err_sys(err, errno, "cannot open /proc/sys");
	for (size_t i = 0; i < sysctl->n; i++) {
		int r = set_one(base, &sysctl->items[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}
