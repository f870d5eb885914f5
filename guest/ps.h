/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's processes, for `ps`: who is in its cgroup, and what /proc says of them.
 *
 * Read in a child (guest/work.h), because a look at a process's arguments may wait for that process. Processes come and go
 * meanwhile: one that has gone is left out. Numbers are those of the container's pid namespace, which is what a
 * `kill` in the container takes.
 */
#ifndef GUEST_PS_H
#define GUEST_PS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/ttrpc.h"

#include "guest/agent.pb-c.h"
#include "guest/work.h"

#define PS_PROCESSES_MAX 4096	    /* listed; more are left out, and it is said */
#define PS_COMMAND_MAX 4096	    /* bytes of one command line */
#define PS_COMMANDS_MAX (512 << 10) /* bytes of all of them */
#define PS_ANSWER_MAX (1 << 20)
#define PS_WAITING_MAX 16
#define PS_TIMEOUT_MS 20000

struct container;

/* Embedded in struct container, zero-initialised */
struct ps {
	struct work work;
	struct ttrpc_call *calls[PS_WAITING_MAX]; /* the first one is being worked for */
	size_t ncalls;
};

/** ps_list() - Answer @call with ProcessesResponse */
void ps_list(struct container *container, struct ttrpc_call *call);
/** ps_release() - The container goes away: calls under way fail */
void ps_release(struct container *container);

/* What the agent reads of one process, beside what goes into the answer */
struct ps_entry {
	Caisson__Agent__ProcessInfo info;
	int32_t agent_pid, agent_parent; /* in the agent's pid namespace */
	char name[16];
	uint8_t *command; /* owned */
	uint64_t start_ticks;
};

/** ps_parse_stat() - /proc/PID/stat into @entry; @hz: ticks per second, @page: bytes; Return: 0 or -EINVAL */
int ps_parse_stat(const char *text, long hz, long page, struct ps_entry *entry);
/**
 * ps_parse_status() - /proc/PID/status into @entry: ids, and the numbers in the pid namespace @level below the agent's
 * Return: 0; -ESRCH when the process is not in such a namespace; -EINVAL
 */
int ps_parse_status(const char *text, unsigned int level, struct ps_entry *entry);

#endif
