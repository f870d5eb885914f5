/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a network namespace is, and what is left in one when a monitor could not clean up behind itself.
 *
 * A namespace by path outlives the container. Its path and identity are noted in the state directory before anything is changed
 * in it, so that `delete` can enter exactly that namespace and take away our filters, whatever killed the monitor. While a
 * tap of ours has a holder, another container lives there, who has replaced what was left: then nothing is touched.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"
#include "lib/netlink.h"
#include "shim/control.h"
#include "shim/network.h"
#include "shim/protocol.h"

#define NOTE_NAME "network"
#define NOTE_MAX 8192

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool net_is_own(int netns_fd)
{
	struct stat given, own;

	if (fstat(netns_fd, &given) < 0)
		return false;
	return (stat("/proc/self/ns/net", &own) == 0 && same(&given, &own)) ||
	       (stat("/proc/1/ns/net", &own) == 0 && same(&given, &own));
}

static void read_name(int proc_fd, const char *pid, char *name)
{
	cleanup_free char *text = NULL;
	char path[64];

	(void)snprintf(path, sizeof(path), "%.20s/comm", pid);
	name[0] = 0;
	if (io_read_file(proc_fd, path, 64, &text, NULL) <= 0)
		return;
	text[strcspn(text, "\n")] = 0;
	text_clean(text);
	(void)snprintf(name, 16, "%.15s", text);
}

int net_user(int netns_fd, char *name)
{
	DIR *proc = opendir("/proc");
	struct stat given, theirs;
	const struct dirent *entry;
	int pid = 0;

	if (!proc)
		return 0;
	while (!pid && fstat(netns_fd, &given) == 0 && (entry = readdir(proc)) != NULL) {
		char path[64];

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		(void)snprintf(path, sizeof(path), "%.20s/ns/net", entry->d_name);
		if (fstatat(dirfd(proc), path, &theirs, 0) < 0 || !same(&given, &theirs))
			continue;
		pid = atoi(entry->d_name);
		read_name(dirfd(proc), entry->d_name, name);
	}
	(void)closedir(proc);
	return pid;
}

/* ---- the note ---- */

int net_note(int state_fd, int netns_fd, const char *path, struct err *err)
{
	cleanup_close int fd = openat(state_fd, NOTE_NAME,
				      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;
	char text[NOTE_MAX];
	int n;

	if (fd < 0 || fstat(netns_fd, &st) < 0)
		return err_sys(err, errno, "noting the network namespace");
	n = snprintf(text, sizeof(text), "%llu %llu %s", (unsigned long long)st.st_dev,
		     (unsigned long long)st.st_ino, path);
	if (n < 0 || (size_t)n >= sizeof(text))
		return err_set(err, EINVAL, "the network namespace's path is too long");
	n = io_write_full(fd, text, (size_t)n) < 0 ? errno : 0;
	return n ? err_sys(err, n, "noting the network namespace") : 0;
}

void net_note_remove(int state_fd)
{
	(void)unlinkat(state_fd, NOTE_NAME, 0);
}

/* Return: the noted namespace, -ENOENT when there is none any more */
static int open_noted(int state_fd)
{
	cleanup_free char *text = NULL;
	cleanup_close int fd = -1;
	unsigned long long dev, ino;
	struct stat st;
	int at = 0;

	if (io_read_file(state_fd, NOTE_NAME, NOTE_MAX, &text, NULL) <= 0 ||
	    sscanf(text, "%llu %llu %n", &dev, &ino, &at) < 2 || !at || text[at] != '/')
		return -ENOENT;
	fd = open(text + at, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != dev || st.st_ino != ino)
		return -ENOENT;
	/* It was noted before anybody tried to enter it: config.json may name anything */
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return -ENOENT;
	return take_fd(&fd);
}

/* ---- cleaning ---- */

static bool is_lived_in(int sock)
{
	struct net_state state;
	bool alive = false;

	if (net_scan(sock, &state, NULL) < 0)
		return false;
	for (size_t i = 0; i < state.ntaps; i++) {
		if (state.taps[i].alive)
			alive = true;
		else
			net_tap_delete(sock, state.taps[i].ifindex);
	}
	net_state_release(&state);
	return alive;
}

/* In the namespace */
static int clean_here(void)
{
	struct if_nameindex *names = if_nameindex();
	cleanup_close int sock = netlink_open();

	if (names && sock >= 0 && !is_lived_in(sock)) {
		for (const struct if_nameindex *it = names; it->if_index; it++)
			net_redirect_remove(sock, (int)it->if_index);
	}
	if (names)
		if_freenameindex(names);
	return !names ? -ENOMEM : sock < 0 ? sock : 0;
}

int monitor_network_remove(int state_fd, struct err *err)
{
	cleanup_close int own = -1, netns = open_noted(state_fd);
	int r;

	if (netns < 0) {
		net_note_remove(state_fd);
		return 0;
	}
	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0 || setns(netns, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "entering the container's network namespace");
	r = clean_here();
	if (setns(own, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "leaving the container's network namespace");
	if (r < 0)
		return err_sys(err, -r, "cleaning the container's network namespace");
	net_note_remove(state_fd);
	return 0;
}
