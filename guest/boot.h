/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest needs before the agent can serve: file systems, a root that can be pivoted from, the loopback device.
 */
#ifndef GUEST_BOOT_H
#define GUEST_BOOT_H

#include "lib/err.h"

#define BOOT_ROOTS_DIR "/run/roots"
#define BOOT_STAGE_DIR "/run/stage"
#define BOOT_CGROUP_DIR "/sys/fs/cgroup"

/** boot_system() - Run every step, in order; Return: 0, or -errno with @err naming the one that failed */
int boot_system(struct err *err);

/** boot_raise_loopback() - Bring up "lo" of the caller's network namespace */
int boot_raise_loopback(struct err *err);

/** boot_listen() - Listen on a vsock port; Return: a non-blocking descriptor or -errno */
int boot_listen(unsigned int port, struct err *err);

#endif
