/* SPDX-License-Identifier: Apache-2.0 */
/* What `caisson check` looks at besides KVM. */
#ifndef RUNTIME_CHECK_H
#define RUNTIME_CHECK_H

#include <stddef.h>

#include "kvm/probe.h"
#include "runtime/cli.h"

#define CHECK_HOST_RESULTS 16
#define CHECK_RESULTS_MAX (KVM_PROBE_RESULTS_MAX + CHECK_HOST_RESULTS)

/** check_host() - Memory, cgroups, guest files, limits, namespaces, mounts; Return: number of results in @out */
size_t check_host(const struct globals *globals, struct kvm_probe_result *out, size_t max);

/** check_is_kernel() - Do these first bytes of a file look like an x86-64 kernel, an ELF file or a bzImage? */
bool check_is_kernel(const unsigned char *head, size_t len);

#endif
