/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending lock waits of interrupted threads: the guest's half of kvm/fuse/control.c.
 */
#ifndef GUEST_LOCKS_H
#define GUEST_LOCKS_H

#include "lib/err.h"

/**
 * locks_start() - Watch over the lock waits of this guest, in a thread of its own, for good
 * @top:	The virtio-fs mount's top directory (where "0", "1", … are); borrowed for the call
 * @proc:	A /proc of the pid namespace in which virtio-fs was mounted; borrowed for the call
 *
 * Call it once after mounting, before the first container. The thread has all signals blocked, allocates nothing, and sleeps in
 * one read(2) while no lock request waits. It ends when the file system goes away.
 * Return: 0, or -errno with nothing started.
 */
int locks_start(int top, int proc, struct err *err);

/** locks_round() - One turn of that thread, for tests: waits for a report and cancels; Return: 0, -ENODATA when nobody was reported, or -errno */
int locks_round(int control, int proc);

#endif
