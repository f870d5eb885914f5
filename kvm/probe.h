/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this host's KVM run an ordinary guest kernel? `caisson check` asks, and create asks when a guest fails to start.
 *
 * The probe enters a tiny guest (long mode, paging, the instructions ordinary kernels use) and measures what comes back, so
 * that a software or crippled KVM is recognised by what it does, not by what it claims.
 */
#ifndef KVM_PROBE_H
#define KVM_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

#define KVM_PROBE_RESULTS_MAX 32

enum kvm_probe_status { KVM_PROBE_OK = 0, KVM_PROBE_WARN, KVM_PROBE_FAIL };

struct kvm_probe_result {
	const char *name; /* "kvm-device", "kvm-api", "kvm-instructions" …; static */
	enum kvm_probe_status status;
	char text[256]; /* what was found */
	char fix[256];	/* what to do about it; "" when ok */
};

/** kvm_probe() - Run all probes on @kvm_path ("/dev/kvm"); Return: number of results in @out (each name once), no error path */
size_t kvm_probe(const char *kvm_path, struct kvm_probe_result *out, size_t max);

#endif
