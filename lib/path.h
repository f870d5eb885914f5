/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths below a root that somebody else controls.
 *
 * Every step is taken by the kernel with openat2(2) RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: a symlink in a container's
 * tree resolves inside that tree, never outside of it, whatever is renamed meanwhile.
 */
#ifndef LIB_PATH_H
#define LIB_PATH_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/err.h"

/**
 * path_open_beneath() - Open @path as if @dirfd were "/"
 * @flags:	open(2) flags, O_CLOEXEC is added
 * Return: a descriptor or -errno; @err names the path.
 */
int path_open_beneath(int dirfd, const char *path, int flags, mode_t mode, struct err *err);

/**
 * path_make_beneath() - Make a directory (with parents) or an empty file below @dirfd and return it O_PATH
 * @is_dir:	What to make when it does not exist; an existing object of either kind is accepted
 * Return: a descriptor or -errno
 */
int path_make_beneath(int dirfd, const char *path, bool is_dir, mode_t mode, struct err *err);

/** path_remove_tree() - Remove @name below @dirfd with everything in it, without following symlinks or crossing mounts */
int path_remove_tree(int dirfd, const char *name, struct err *err);

/**
 * path_is_kernel_interface() - Does @fd (O_PATH is enough) lie in a file system that is the kernel's own face: proc, sysfs,
 * cgroup, debugfs and their like? Their files act on the kernel or on processes, not on data.
 */
bool path_is_kernel_interface(int fd);

#endif
