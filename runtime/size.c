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

#define MIB (1ull << 20)
#define MEMORY_DEFAULT (512 * MIB)
#define MEMORY_LEAST (128 * MIB) /* with a limit set: below, the guest's kernel has no room */
#define MEMORY_KERNEL (64 * MIB) /* the guest's kernel and agent */
#define MEMORY_PAGES 64		 /* one byte in as many describes the others */
#define MEMORY_STEP (2 * MIB)
#define MEMORY_MIN (64 * MIB) /* VMM_MEMORY_MIN */
#define VCPUS_DEFAULT 1
#define VCPUS_MAX 254 /* VMM_VCPUS_MAX */
#define PERIOD_DEFAULT 100000

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP;
}

/* A whole number from an annotation; Return: 1, 0 when it is absent, -EINVAL */
static int annotation(const struct oci_config *config, const char *key, uint64_t min, uint64_t max,
		      uint64_t *out, struct err *err)
{
	const char *text = oci_annotation(config, key);
	unsigned long long value;
	char *end;

	if (!text)
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || errno || *end || value < min || value > max)
		return err_set(
			err, EINVAL,
			"config.json: annotations: %s: '%.64s' is not a number from %llu to %llu",
			key, text, (unsigned long long)min, (unsigned long long)max);
	*out = value;
	return 1;
}

/* ---- memory ---- */

uint64_t size_memory_for(uint64_t limit, uint64_t host_bytes)
{
	uint64_t bytes;

	/* As good as none, and each page of a guest costs its kernel something */
	if (limit > host_bytes)
		limit = host_bytes;
	bytes = round_up(limit + limit / MEMORY_PAGES) + MEMORY_KERNEL;
	return bytes < MEMORY_LEAST ? MEMORY_LEAST : bytes;
}

int size_memory(const struct oci_config *config, uint64_t host_bytes, uint64_t *out,
		struct err *err)
{
	uint64_t wanted = config->vm.memory_bytes, bytes = MEMORY_DEFAULT;
	int r;

	if (wanted) {
		if (wanted < MEMORY_MIN || wanted > host_bytes)
			return err_set(err, EINVAL,
				       "config.json: vm.hwConfig.memory: %llu bytes is not between "
				       "%llu and the host's %llu",
				       (unsigned long long)wanted, (unsigned long long)MEMORY_MIN,
				       (unsigned long long)host_bytes);
		*out = round_up(wanted);
		return 0;
	}
	if (config->linux_.resources.memory.limit.value > 0) {
		*out = size_memory_for((uint64_t)config->linux_.resources.memory.limit.value,
				       host_bytes);
		return 0;
	}
	r = annotation(config, SIZE_DEFAULT_MEMORY_KEY, MEMORY_MIN, host_bytes, &bytes, err);
	if (r < 0)
		return r;
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

int size_vcpus(const struct oci_config *config, uint32_t host_cpus, uint32_t *out, struct err *err)
{
	const struct oci_resources *resources = &config->linux_.resources;
	uint32_t quota = size_vcpus_for(resources->cpu.quota.value, resources->cpu.period.value,
					host_cpus);
	int set = resources->cpu.cpus ? oci_list_count(resources->cpu.cpus) : 0;
	uint64_t n = VCPUS_DEFAULT;
	int r;

	if (config->vm.vcpus > VCPUS_MAX)
		return err_set(err, EINVAL, "config.json: vm.hwConfig.vcpus: at most %d",
			       VCPUS_MAX);
	r = annotation(config, SIZE_DEFAULT_VCPUS_KEY, 1, VCPUS_MAX, &n, err);
	if (r < 0)
		return r;
	if (set > 0)
		n = (uint64_t)set;
	if (quota && (set <= 0 || quota < n))
		n = quota;
	n = n > host_cpus ? host_cpus : n;
	n = config->vm.vcpus ? config->vm.vcpus : n;
	*out = n > VCPUS_MAX ? VCPUS_MAX : (uint32_t)n;
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

int size_guest(const struct oci_config *config, struct limits_machine *out, struct err *err)
{
	struct limits_machine size = {0};
	uint64_t host_bytes = 0;
	int r = size_host_memory(&host_bytes, err);

	if (r == 0)
		r = size_vcpus(config, size_host_cpus(), &size.nvcpus, err);
	if (r == 0)
		r = size_memory(config, host_bytes, &size.memory_bytes, err);
	if (r == 0)
		*out = size;
	return r;
}
