/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev of a container: the nodes and symlinks that runc promises, linux.devices, and the terminal.
 */
#ifndef GUEST_DEVICES_H
#define GUEST_DEVICES_H

#include "lib/err.h"
#include "guest/rootfs.h"

/** devices_make() - Default nodes and links, then linux.devices; nothing when /dev is a bind mount, as in runc */
int devices_make(struct rootfs *rootfs, struct err *err);
/** devices_prepare() - For a user namespace: make the nodes before it is entered, in a mount namespace of the caller's own */
int devices_prepare(struct rootfs *rootfs, struct err *err);

/** devices_is_common() - Is @fd (O_PATH will do) a device that every container has anyway: null, zero, tty and so on? */
bool devices_is_common(int fd);

/**
 * terminal_open() - Open a new terminal from the container's own /dev/ptmx
 * @root:	The container's "/"
 * @rows, @columns: First size, 0: leave
 * Return: 0 with both descriptors, or -errno.
 */
int terminal_open(int root, unsigned int rows, unsigned int columns, int *master, int *slave,
		  struct err *err);
/** terminal_mount_console() - Bind the terminal at /dev/console */
int terminal_mount_console(struct rootfs *rootfs, int slave, struct err *err);

#endif
