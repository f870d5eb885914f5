/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For runc the directories of an overlay are the host's. A guest has none of those; what it has is the container's own
 * tree, so that is where they are looked up, with the mounts that come before: a layer of the host's is a bind mount
 * first. The agent's own tree is none of the container's business, so the paths never reach the kernel: each is opened
 * beneath the root, and the kernel is told the descriptor.
 *
 * As in the kernel's own parser a comma or colon may be escaped by a backslash.
 */
#define _GNU_SOURCE
#include "guest/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/path.h"

/* Options whose value is a directory; lowerdir may be several */
static const char *const directories[] = {"lowerdir", "upperdir", "workdir", "lowerdir+",
					  "datadir+"};

static int append(struct overlay *out, const char *text, size_t len, struct err *err)
{
	size_t have = strlen(out->data);

	if (have + len > MOUNT_DATA_MAX)
		return err_set(err, E2BIG, "mount options are longer than %d bytes",
			       MOUNT_DATA_MAX);
	memcpy(out->data + have, text, len);
	out->data[have + len] = '\0';
	return 0;
}

/* Length up to @stop or the end, over escaped characters */
static size_t span(const char *text, size_t len, char stop)
{
	size_t i;

	for (i = 0; i < len && text[i] != stop; i++) {
		if (text[i] == '\\' && i + 1 < len)
			i++;
	}
	return i;
}

static int unescape(const char *text, size_t len, char out[PATH_MAX], struct err *err)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\\' && i + 1 < len)
			i++;
		if (n == PATH_MAX - 1)
			return err_sys(err, ENAMETOOLONG, "a directory of an overlay");
		out[n++] = text[i];
	}
	out[n] = '\0';
	return 0;
}

static int take_directory(int root, const char *text, size_t len, struct overlay *out,
			  struct err *err)
{
	char path[PATH_MAX], name[32];
	int fd, n, r = unescape(text, len, path, err);

	if (r < 0)
		return r;
	if (path[0] != '/')
		return err_set(err, EINVAL, "the overlay's directory '%.256s' is not absolute",
			       path);
	if (out->nfds == OVERLAY_LAYERS_MAX)
		return err_set(err, E2BIG, "more than %d directories in an overlay",
			       OVERLAY_LAYERS_MAX);
	fd = path_open_beneath(root, path, O_PATH | O_DIRECTORY, 0, err);
	if (fd < 0) {
		err_prefix(err, "the overlay's directories are looked up in the container");
		return fd;
	}
	out->fds[out->nfds++] = fd;
	n = snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return append(out, name, (size_t)n, err);
}

static int take_layers(int root, const char *text, size_t len, struct overlay *out, struct err *err)
{
	while (len) {
		size_t n = span(text, len, ':');
		int r = n ? take_directory(root, text, n, out, err) : 0;

		if (r < 0)
			return r;
		if (n < len) { /* two colons set layers of data apart: both are kept */
			r = append(out, ":", 1, err);
			if (r < 0)
				return r;
			n++;
		}
		text += n;
		len -= n;
	}
	return 0;
}

static int take_option(int root, const char *text, size_t len, struct overlay *out, struct err *err)
{
	const char *value = memchr(text, '=', len);
	size_t key = value ? (size_t)(value - text) : len;
	int r;

	for (size_t i = 0; value && i < ARRAY_SIZE(directories); i++) {
		if (strlen(directories[i]) != key || memcmp(directories[i], text, key) != 0)
			continue;
		r = append(out, text, key + 1, err);
		if (r < 0)
			return r;
		value++;
		len -= key + 1;
		return i == 0 ? take_layers(root, value, len, out, err)
			      : take_directory(root, value, len, out, err);
	}
	return append(out, text, len, err);
}

int overlay_open(int root, const char *data, struct overlay *out, struct err *err)
{
	size_t len = strlen(data);

	out->nfds = 0;
	out->data[0] = '\0';
	while (len) {
		size_t n = span(data, len, ',');
		int r = take_option(root, data, n, out, err);

		if (r == 0 && n < len)
			r = append(out, ",", 1, err);
		if (r < 0)
			return r;
		n += n < len;
		data += n;
		len -= n;
	}
	return 0;
}

void overlay_release(struct overlay *overlay)
{
	while (overlay->nfds)
		close_fd(&overlay->fds[--overlay->nfds]);
}
