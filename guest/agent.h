/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: PID 1 of the guest, the monitor's hand inside it.
 *
 *   monitor ──ttrpc (port AGENT)──▶ service.c ──▶ container.c ──▶ process.c ──clone3──▶ child.c ──execve──▶ the program
 *           ──streams (port STREAM)▶ streams.c ──▶ stdio.c  ⇄ pipes or terminal ⇄────────────────────────────┘
 *
 * One thread (beside those of guest/locks.h and guest/events.h), one event loop, which never waits for a container's files or processes: whatever may block (mounts, look-ups,
 * name spaces) happens in the child, which reports over a socket pair. One reaper for every process of the guest.
 *
 * What the monitor asks is trusted; what processes of a container do is not, but it can only harm their own guest.
 * Limits below keep an honest mistake from becoming an out-of-memory of PID 1.
 */
#ifndef GUEST_AGENT_H
#define GUEST_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/loop.h"
#include "lib/machine.h"
#include "lib/ttrpc.h"

#include "guest/memory.h"
#include "guest/network.h"
#include "guest/passage.h"
#include "guest/resolver.h"
#include "guest/sockets.h"
#include "guest/streams.h"

#define AGENT_CONTAINERS_MAX 64	      /* containers at a time */
#define AGENT_PROCESSES_MAX 1024      /* processes per container that the monitor has not deleted */
#define AGENT_WAITERS_MAX 16	      /* Wait calls under way per process */
#define AGENT_ID_MAX 200	      /* bytes of a container's or process's id */
#define AGENT_SETUP_TIMEOUT_MS 120000 /* for a killed container to be gone */
#define AGENT_PID_BUCKETS 256

/* What differs between a guest and a test on an ordinary host; filled by main.c or by the test, borrowed for ever */
struct agent_config {
	int agent_fd, stream_fd; /* listening sockets, non-blocking */
	bool vsock;		 /* they are vsock: only the host (CID 2) may connect */
	const char *roots_dir;	 /* export N is <roots_dir>/N */
	const char *
		stage_dir; /* has the empty directories root, scratch and mask: mount points for children */
	const char *cgroup_dir;		   /* a cgroup2 directory for containers' cgroups */
	const struct network_slots *slots; /* NULL: guest/slots.h */
	int (*connect_host)(void);	   /* NULL: dial_vsock(); a test has no BPF then */
	void (*notify)(uint32_t what,
		       uint16_t argument); /* MACHINE_AGENT_*; POWER_OFF does not return */
};

struct container;
struct process;

struct agent {
	const struct agent_config *config; /* borrowed */
	struct loop *loop;		   /* owned */
	struct loop_signals signals;	   /* SIGCHLD: the reaper */
	struct loop_source listener;	   /* config->agent_fd */
	struct ttrpc_conn *control;	   /* the monitor's connection, NULL before it came */
	struct ttrpc_service services[2];  /* ours, and the end */
	struct streams streams;
	struct container *containers; /* all, newest first */
	size_t ncontainers;
	struct process
		*by_pid[AGENT_PID_BUCKETS]; /* those not yet reaped, chained by next_by_pid */
	uint16_t export_users[MACHINE_EXPORTS_MAX]; /* containers that use an export */
	struct network network;
	struct memory memory;
	struct passages passages; /* to the host's sockets */
	struct resolver resolver;
	struct sockets sockets;
	bool greeted;  /* Hello has been answered */
	int cgroup_fd; /* config->cgroup_dir */
};

/**
 * agent_run() - Serve until the monitor's connection closes or it asks for a shutdown
 * @config:	Borrowed until the end
 *
 * Tells READY when it listens. Return: only on failure, -errno with @err filled.
 */
int agent_run(const struct agent_config *config, struct err *err);

/** agent_power_off() - End everything and tell the machine to power off; with @sync_files later, when file systems are written back */
void agent_power_off(struct agent *agent, bool sync_files);

/** agent_container() - The container of this id, or NULL */
struct container *agent_container(struct agent *agent, const char *id);

/** agent_watch_pid(), agent_unwatch_pid() - Have process_on_exit() called when the process's pid is reaped */
void agent_watch_pid(struct agent *agent, struct process *process);
void agent_unwatch_pid(struct agent *agent, struct process *process);

/** agent_follow_network() - After a change of agent->network; @moved: to another namespace. Return: 0 or -errno */
int agent_follow_network(struct agent *agent, bool moved, struct err *err);

/** agent_release_exports() - A container no longer uses these exports (bits of MACHINE_EXPORTS_MAX) */
void agent_release_exports(struct agent *agent, const uint8_t *exports);
void agent_use_exports(struct agent *agent, const uint8_t *exports);

/* The service's methods, ended by a NULL name; their argument is the agent (guest/service.c) */
extern const struct ttrpc_method agent_methods[];

#endif
