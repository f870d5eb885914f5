/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine's resolver, 127.0.0.11, in the guest.
 *
 * Engines serve the names of their networks from a socket in the container's network namespace, on the host: on a free port of
 * 127.0.0.11, to which a NAT rule leads port 53. While there is one (SetNetwork says so) the same is true in the guest:
 *
 *   program ─▶ 127.0.0.11:53 ─ BPF ─▶ 127.0.0.11:free port: the agent │ vsock │ monitor ─▶ 127.0.0.11:53 of the namespace
 *
 * Port 53 itself stays free, so that a name server can run in the container. BPF programs of the guest's first cgroup rewrite the
 * addresses of connect, sendto, recvfrom and getpeername, in this network namespace alone: those that an engine in the
 * container makes have 127.0.0.11 of their own.
 *
 * A flow is a client's UDP port with a connection to the monitor. It ends when each query has its answer, after
 * RESOLVER_FLOW_MS, or when it is the oldest and a new one needs the place. What there is no room for is lost, as UDP is.
 */
#ifndef GUEST_RESOLVER_H
#define GUEST_RESOLVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/frames.h"

#include "guest/passage.h"

#define RESOLVER_FLOWS_MAX 64
#define RESOLVER_FLOW_MS 30000
#define RESOLVER_EARLY_MAX 4 /* datagrams that wait for a flow's connection */
#define RESOLVER_PROGRAMS 4

struct resolver_flow {
	struct resolver *resolver;
	struct resolver_flow *next;
	struct sockaddr_in client;
	uint64_t deadline_ms;
	unsigned int unanswered;
	struct dial dial;
	struct frames frames;
	bool connected;
	struct {
		uint8_t *data; /* owned */
		size_t len;
	} early[RESOLVER_EARLY_MAX];
	unsigned int nearly;
};

/* Zero-initialise, set passages, cgroup_fd and the descriptors to -1 */
struct resolver {
	struct passages *passages;    /* borrowed: loop, token, and connections over TCP */
	int cgroup_fd;		      /* borrowed: the first cgroup; -1: no BPF, for tests */
	struct loop_source udp, tcp;  /* .fd owned, -1 */
	int links[RESOLVER_PROGRAMS]; /* owned, -1 */
	uint16_t port;		      /* ours, host byte order */
	struct resolver_flow *flows;  /* owned, newest first */
	size_t nflows;
	struct loop_timer timer;
	bool timer_armed, on;
};

void resolver_init(struct resolver *resolver, struct passages *passages, int cgroup_fd);
/**
 * resolver_set() - Serve, or no longer; nothing happens when that is so already
 * @netns_fd:	Where: a network namespace (borrowed), -1: the caller's. To serve in another one, end serving first
 * Return: 0 or -errno, then nothing is served
 */
int resolver_set(struct resolver *resolver, bool on, int netns_fd, struct err *err);

/** resolver_hook() - Have 127.0.0.11:53 of the network namespace of @sock be @port; Return: 0 or -errno; @links filled */
int resolver_hook(int cgroup_fd, int sock, uint16_t port, int links[RESOLVER_PROGRAMS],
		  struct err *err);

#endif
