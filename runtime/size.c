/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's size: see runtime/size.h, and docs/limits.md for people.
 *
 * Memory: what the container may use, and what the guest's kernel takes for itself: a constant, and one page structure of 64 bytes
 * per page of 4096. vCPUs: as many as can be busy at a time under the quota and on the CPUs of the set. Neither
 * is more than the host has, unless vm.hwConfig says so: a limit is often written as "all and more".
 */
#include "runtime/size.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "runtime/settings.h"

#define MIB (1ull << 20)
#define MEMORY_LEAST (128 * MIB) /* with a limit set: below, the guest's kernel has no room */
#define MEMORY_KERNEL (64 * MIB) /* the guest's kernel and agent */
#define MEMORY_PAGES 64		 /* one byte in as many describes the others */
#define MEMORY_STEP (2 * MIB)
#define PERIOD_DEFAULT 100000

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP;
}

/* ---- memory ---- */

uint64_t size_memory_for(uint64_t limit, uint64_t host_bytes, uint64_t max_bytes)
{
	uint64_t bytes;

	/* As good as none, and each page of a guest costs its kernel something */
	if (limit > host_bytes)
		limit = host_bytes;
	bytes = round_up(limit + limit / MEMORY_PAGES) + MEMORY_KERNEL;
	if (bytes < MEMORY_LEAST)
		bytes = MEMORY_LEAST;
	return bytes > max_bytes ? max_bytes / MEMORY_STEP * MEMORY_STEP : bytes;
}

static int wanted_memory(uint64_t wanted, const struct settings *settings, uint64_t host_bytes,
			 uint64_t *out, struct err *err)
{
	bool is_host = host_bytes <= settings->max_memory_bytes;
	uint64_t max = is_host ? host_bytes : settings->max_memory_bytes;

	if (wanted < SIZE_MEMORY_MIN || wanted > max)
		return err_set(
			err, EINVAL,
			"config.json: vm.hwConfig.memory: %llu bytes is not between %llu and "
			"%s %llu",
			(unsigned long long)wanted, SIZE_MEMORY_MIN,
			is_host ? "the host's" : "the configured maximum,",
			(unsigned long long)max);
	*out = round_up(wanted);
	return 0;
}

int size_memory(const struct oci_config *config, const struct settings *settings,
		uint64_t host_bytes, uint64_t *out, struct err *err)
{
	int64_t limit = config->linux_.resources.memory.limit.value;
	uint64_t bytes = settings->default_memory_bytes;

	if (config->vm.memory_bytes)
		return wanted_memory(config->vm.memory_bytes, settings, host_bytes, out, err);
	if (limit > 0) {
		*out = size_memory_for((uint64_t)limit, host_bytes, settings->max_memory_bytes);
		return 0;
	}
	/* What is built in holds on the smallest host, too: memory is taken when it is used */
	if (bytes > host_bytes && bytes > SIZE_MEMORY_DEFAULT)
		return err_set(err, EINVAL,
			       "default-memory-bytes: %llu is more than the host's memory, %llu",
			       (unsigned long long)bytes, (unsigned long long)host_bytes);
	*out = round_up(bytes);
	return 0;
}

/* ---- vCPUs ---- */

uint32_t size_vcpus_for(int64_t quota, uint64_t period_us, uint32_t host_cpus)
{
	uint64_t period = period_us ? period_us : PERIOD_DEFAULT, n;

	if (quota <= 0)
		return 0;
	n = (uint64_t)quota / period + ((uint64_t)quota % period != 0);
	return n < host_cpus ? (uint32_t)n : host_cpus;
}

int size_vcpus(const struct oci_config *config, const struct settings *settings, uint32_t host_cpus,
	       uint32_t *out, struct err *err)
{
	const struct oci_resources *resources = &config->linux_.resources;
	uint32_t max = (uint32_t)settings->max_vcpus, cpus = host_cpus < max ? host_cpus : max;
	uint32_t quota = size_vcpus_for(resources->cpu.quota.value, resources->cpu.period.value,
					cpus);
	int set = resources->cpu.cpus ? oci_list_count(resources->cpu.cpus) : 0;
	uint64_t n = settings->default_vcpus;

	if (config->vm.vcpus > max)
		return err_set(err, EINVAL, "config.json: vm.hwConfig.vcpus: at most %u", max);
	if (set > 0)
		n = (uint64_t)set;
	if (quota && (set <= 0 || quota < n))
		n = quota;
	n = n > cpus ? cpus : n;
	*out = config->vm.vcpus ? config->vm.vcpus : (uint32_t)n;
	return 0;
}

/* ---- this host ---- */

int size_host_memory(uint64_t *out, struct err *err)
{
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return err_sys(err, errno, "the host's memory");
	*out = (uint64_t)info.totalram * info.mem_unit;
	return 0;
}

uint32_t size_host_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (uint32_t)n : 1;
}

int size_guest(const struct oci_config *config, const struct settings *settings,
	       struct limits_machine *out, struct err *err)
{
	struct limits_machine size = {0};
	uint64_t host_bytes = 0;
	int r = size_host_memory(&host_bytes, err);

	if (r == 0)
		r = size_vcpus(config, settings, size_host_cpus(), &size.nvcpus, err);
	if (r == 0)
		r = size_memory(config, settings, host_bytes, &size.memory_bytes, err);
	if (r == 0)
		*out = size;
	return r;
}
