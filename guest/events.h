/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host changes in bind mounts, for inotify watchers: the guest's half of kvm/fuse/events.c.
 */
#ifndef GUEST_EVENTS_H
#define GUEST_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define EVENTS_WATCHES_MAX 8192 /* as many as the server takes */

/* One watch of a process, as the control file takes it */
struct events_watch {
	uint64_t nodeid, ino;
	uint32_t mask, reserved;
};

/**
 * events_start() - Raise the host's changes in a thread of its own, for good
 * @top:	The virtio-fs mount's top directory; borrowed for the call
 * @proc:	A /proc of the pid namespace in which virtio-fs was mounted; borrowed for the call
 * Return: 0, or -errno with nothing started.
 */
int events_start(int top, int proc, struct err *err);

/** events_parse_line() - A line of /proc/PID/fdinfo/FD: a watch of inotify or fanotify on an inode that may be virtio-fs's; false: none */
int events_parse_line(const char *line, struct events_watch *out);

#endif
