/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent has no compiler of filters and needs none: it takes a program from the monitor, which it trusts, keeps it with the
 * container, and hands it to the kernel, whose verifier looks at each instruction. Raw system calls, so that there is nothing
 * between the kernel's answer and ours.
 */
#include "guest/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAGS_KNOWN (SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW)

int filter_take(struct filter *filter, const uint8_t *bytes, size_t len, uint32_t flags,
		struct err *err)
{
	if (len == 0 || len % sizeof(struct sock_filter) || len > SYSFILTER_BYTES_MAX)
		return err_set(err, EINVAL, "a seccomp filter cannot have %zu bytes", len);
	if (flags & ~(uint32_t)FLAGS_KNOWN)
		return err_set(err, EINVAL, "a seccomp filter cannot have the flags %#x", flags);
	filter->program.insns = malloc(len);
	if (!filter->program.insns)
		return err_sys(err, ENOMEM, "cannot prepare the seccomp filter");
	memcpy(filter->program.insns, bytes, len);
	filter->program.n = len / sizeof(struct sock_filter);
	filter->flags = flags;
	return 0;
}

void filter_release(struct filter *filter)
{
	free(filter->program.insns);
	*filter = (struct filter){0};
}

int filter_load(const struct filter *filter, struct err *err)
{
	const struct sock_fprog program = {.len = (unsigned short)filter->program.n,
					   .filter = filter->program.insns};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter->flags, &program) < 0)
		return err_sys(err, errno, "cannot load the seccomp filter");
	return 0;
}
