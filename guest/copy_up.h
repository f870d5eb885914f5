/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tmpcopyup: a tmpfs that begins with a copy of the directory that it covers (Podman's default for --tmpfs).
 */
#ifndef GUEST_COPY_UP_H
#define GUEST_COPY_UP_H

#include "lib/err.h"

#define COPY_UP_DEPTH_MAX 64
#define COPY_UP_ENTRIES_MAX 100000u

/**
 * copy_up() - Copy what is below directory @from into directory @to: directories, files, symlinks, with mode and owner
 * @from:	O_PATH descriptor
 * Return: 0 or -errno, what was copied stays. Sockets, fifos and device nodes are left out.
 */
int copy_up(int from, const char *to, struct err *err);

#endif
