/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vmm's jail, see jail.c.
 */
#ifndef KVM_JAIL_H
#define KVM_JAIL_H

#include "lib/err.h"

/**
 * jail_enter() - Lock this process up, for good
 * @proc_fd:	Gets an O_PATH descriptor of this process's /proc/self/fd; owned by the caller
 *
 * Called once, by a single-threaded process that is root in user, mount and pid namespaces of its own and pid 1 of the
 * latter. Descriptors that are open stay open. Return: 0, or -errno with @err filled (the process must then end).
 */
int jail_enter(int *proc_fd, struct err *err);

#endif
