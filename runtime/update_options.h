/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `update` is told: a document or options, as one struct.
 */
#ifndef RUNTIME_UPDATE_OPTIONS_H
#define RUNTIME_UPDATE_OPTIONS_H

#include "oci/config.h"
#include "runtime/cli.h"

struct update_options {
	const char *resources;
	const char *blkio_weight, *pids_limit;
	const char *cpu_period, *cpu_quota, *cpu_burst, *cpu_shares, *cpu_idle;
	const char *cpu_rt_period, *cpu_rt_runtime;
	const char *cpuset_cpus, *cpuset_mems;
	const char *memory, *memory_reservation, *memory_swap;
	const char *kernel_memory, *kernel_memory_tcp;
	const char *l3_cache_schema, *mem_bw_schema;
};

extern const struct cli_option update_cli_options[];

/**
 * update_read() - The resources that are asked for, checked; from the document if there is one, as with runc
 * @out:	The caller's to free
 */
int update_read(const struct update_options *options, struct oci_resources **out, struct err *err);

/** update_bytes() - "512m", "1.5GiB", "4096" or "-1"; Return: 0 or -EINVAL */
int update_bytes(const char *text, int64_t *out);

#endif
