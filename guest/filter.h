/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's system call filter: a program that the host has compiled from linux.seccomp (lib/seccomp.h), loaded by each of
 * the container's processes right before execve.
 */
#ifndef GUEST_FILTER_H
#define GUEST_FILTER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/seccomp.h"

struct filter {
	struct sysfilter_program program; /* owned; none without a filter */
	uint32_t flags;			  /* SECCOMP_FILTER_FLAG_* */
};

/**
 * filter_take() - Check and copy what came in a request
 * @bytes:	Instructions of 8 bytes, at most BPF_MAXINSNS of them; the kernel checks what they say
 * Return: 0, -EINVAL with @err, -ENOMEM
 */
int filter_take(struct filter *filter, const uint8_t *bytes, size_t len, uint32_t flags,
		struct err *err);
void filter_release(struct filter *filter);

/** filter_load() - For this process from now on; needs CAP_SYS_ADMIN or no_new_privs. Return: 0 or -errno with @err */
int filter_load(const struct filter *filter, struct err *err);

#endif
