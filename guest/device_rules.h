/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices a container may open and make: linux.resources.devices as a BPF program of its cgroup.
 *
 * A file system that a container can write may hold any device node, so what counts is not which nodes exist but what the
 * kernel lets be done with them: it asks the program at each open and mknod. Nothing is allowed but by a rule, and after the
 * configuration's rules come those of runc's defaults (null, zero, full, random, urandom, tty, ptmx, pts, tun; mknod of all),
 * which the configuration cannot take away.
 */
#ifndef GUEST_DEVICE_RULES_H
#define GUEST_DEVICE_RULES_H

#include <linux/bpf.h>
#include <stddef.h>

#include "lib/err.h"
#include "oci/config.h"

/**
 * device_rules_compile() - The program (BPF_PROG_TYPE_CGROUP_DEVICE) for @rules and the default ones
 * @out:	The caller's to free, set on success
 *
 * Of the rules that are about a device the last one decides, for read, write and mknod each. A rule of type 'a' is about all
 * devices and accesses, as in cgroup v1.
 * Return: the number of instructions, -E2BIG (some thousand rules are taken), or -ENOMEM.
 */
int device_rules_compile(const struct oci_device_rule *rules, size_t n, struct bpf_insn **out);

/**
 * device_rules_apply() - Load the program and attach it to a cgroup
 * @program_fd:	In: the one that it takes the place of, or -1; out: the new one (owned by the caller)
 *
 * Cgroups below may have further programs, which can only take away. Return: 0, or -errno with the old program in force.
 */
int device_rules_apply(int cgroup_fd, const struct oci_device_rule *rules, size_t n,
		       int *program_fd, struct err *err);

#endif
