/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large a container's guest is: from vm.hwConfig, else from linux.resources, else by default.
 */
#ifndef RUNTIME_SIZE_H
#define RUNTIME_SIZE_H

#include <stdint.h>

#include "lib/err.h"
#include "oci/config.h"
#include "oci/limits.h"

#define SIZE_MEMORY_DEFAULT (512ull << 20)
#define SIZE_MEMORY_MIN (64ull << 20) /* VMM_MEMORY_MIN */
#define SIZE_VCPUS_DEFAULT 1
#define SIZE_VCPUS_MAX 254 /* VMM_VCPUS_MAX */

struct settings;

/** size_guest() - The guest's size on this host; Return: 0 or -EINVAL */
int size_guest(const struct oci_config *config, const struct settings *settings,
	       struct limits_machine *out, struct err *err);

/** size_memory() - Its memory; @host_bytes is what the host has */
int size_memory(const struct oci_config *config, const struct settings *settings,
		uint64_t host_bytes, uint64_t *out, struct err *err);
/** size_memory_for() - What a guest needs so that its container can use @limit bytes (> 0); no more than @max_bytes */
uint64_t size_memory_for(uint64_t limit, uint64_t host_bytes, uint64_t max_bytes);

/** size_vcpus() - Its vCPUs; @host_cpus is how many CPUs the host has */
int size_vcpus(const struct oci_config *config, const struct settings *settings, uint32_t host_cpus,
	       uint32_t *out, struct err *err);
/** size_vcpus_for() - How many a quota (us per @period_us, 0: 100 ms) asks for, at most the host's; 0: it says nothing */
uint32_t size_vcpus_for(int64_t quota, uint64_t period_us, uint32_t host_cpus);

/** size_host_memory(), size_host_cpus() - What this host has */
int size_host_memory(uint64_t *out, struct err *err);
uint32_t size_host_cpus(void);

#endif
