/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's network, from the host's side: what is in its network namespace, and how that gets into the guest.
 *
 *   network_scan.c    what is there: links, addresses, routes, neighbours (netlink dumps)      struct net_state
 *   network_message.c what the agent is told of it (SetNetwork of guest/agent.proto)
 *   network_tap.c     taps, redirection, and taking both away
 *   network_resolver.c whether an engine's resolver is there
 *   network_answers.c what then does not go to the guest: answers to those who ask from the host's side
 *   network.c         following: events → scan → difference → taps, the vmm, the agent
 *
 * For each interface X of the namespace there is a tap beside it, whose other end is a network device of the guest:
 *
 *      outside ⇄ X ──ingress of X──▶ tap ⇄ vmm ⇄ the guest's interface of the same name, MAC and addresses
 *                ◀──ingress of tap──
 *
 * Both arrows are tc filters (matchall or u32, mirred redirect) on a clsact qdisc. X keeps its addresses: engines look at
 * them, and the host's stack cannot use them, since what comes in is taken before it gets there.
 *
 * Everything here is the host's word (its kernel, its administrator's interfaces) but bounded all the same. Of the guest only
 * the agent's answers come back, and nobody here acts on their content.
 */
#ifndef SHIM_NETWORK_H
#define SHIM_NETWORK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/machine.h"

#define NET_TAP_PREFIX "caisson" /* then the number of the interface that the tap serves */
#define NET_SCAN_LINKS_MAX 64	 /* in the namespace altogether, taps too */

struct net_address {
	uint8_t len; /* 4 or 16 */
	uint8_t prefix, scope;
	bool has_peer, has_broadcast;
	uint32_t flags;	   /* IFA_F_* that the guest shall have */
	uint32_t priority; /* of its route, 0: the kernel's own */
	uint8_t address[16], peer[16], broadcast[4];
};
struct net_neighbour {
	uint8_t len; /* 4 or 16 */
	uint8_t address[16], mac[6];
};
struct net_link {
	int ifindex;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu;
	bool loopback, up, noarp, no_ipv6;
	struct net_address *addresses; /* owned */
	size_t naddresses;
	struct net_neighbour *neighbours; /* owned */
	size_t nneighbours;
};
struct net_hop {
	int ifindex; /* 0: none */
	uint8_t gateway_len, gateway[16];
	uint8_t weight;
	bool onlink;
};
struct net_route {
	uint8_t family, prefix, type, scope, protocol, tos;
	uint8_t destination_len, destination[16]; /* 0: default */
	uint8_t source_len, source[16];
	uint32_t priority, mtu, advmss;
	struct net_hop *hops; /* owned */
	size_t nhops;
};
/* A tap of ours, or of another monitor's, that is in the namespace */
struct net_tap {
	int ifindex;
	uint32_t mtu;
	bool alive; /* somebody holds it */
};
struct net_state {
	struct net_link *links; /* owned: those that can be in the guest, by ifindex */
	size_t nlinks;
	struct net_route *routes; /* owned */
	size_t nroutes;
	struct net_tap taps[NET_SCAN_LINKS_MAX];
	size_t ntaps;
	int others[NET_SCAN_LINKS_MAX]; /* interfaces that are up and cannot be in the guest */
	size_t nothers;
	bool resolver; /* an engine serves names at 127.0.0.11: net_has_resolver() */
};

/* ---- network_scan.c ---- */
/* @sock, here and below: netlink_open() of lib/netlink.h, in the namespace */

/** net_scan() - Everything that is in the namespace; Return: 0, -E2BIG above the limits of lib/machine.h, -errno; @out is empty then */
int net_scan(int sock, struct net_state *out, struct err *err);
void net_state_release(struct net_state *state);
const struct net_link *net_state_find(const struct net_state *state, int ifindex);

/* ---- network_resolver.c ---- */
/** net_has_resolver() - Does a socket of the caller's namespace serve at MACHINE_RESOLVER_ADDRESS? @proc_fd: /proc/self/fd */
bool net_has_resolver(int proc_fd);
/** net_names_resolver() - Is there such a socket in @line of /proc/net/udp? */
bool net_names_resolver(const char *line);

/* ---- network_message.c ---- */

/**
 * net_message() - Pack a SetNetwork request
 * @slots:	The interface in each of the MACHINE_LATE_SLOTS, 0: none that the guest shall have
 * @out, @len:	Owned by the caller
 *
 * Links without a slot are left out, and routes over them too. Return: 0, -ENOMEM, -E2BIG
 */
int net_message(const struct net_state *state, const int *slots, uint8_t **out, size_t *len,
		struct err *err);

/* ---- network_tap.c ---- */

/* Device nodes, opened before the container's files become the root, and a way to open them anew */
struct net_devices {
	int proc_fd;  /* owned: /proc/self/fd */
	int tun_fd;   /* owned: O_PATH of /dev/net/tun; -1: there is none */
	int vhost_fd; /* owned: O_PATH of /dev/vhost-net; -1: there is none */
};
void net_devices_open(struct net_devices *devices);
void net_devices_close(struct net_devices *devices);

/**
 * net_tap_open() - A tap for @link, up, that says nothing by itself
 * @fds:	Filled with @npairs descriptors, one per queue
 * Return: the tap's ifindex, or -errno with nothing left
 */
int net_tap_open(int sock, const struct net_devices *devices, const struct net_link *link,
		 const char *alias, unsigned int npairs, int *fds, struct err *err);
/** net_vhost_open() - @npairs descriptors of /dev/vhost-net; Return: false when it cannot be had, with nothing open */
bool net_vhost_open(const struct net_devices *devices, unsigned int npairs, int *fds);
int net_tap_set_mtu(int sock, int ifindex, uint32_t mtu);
/** net_tap_delete() - Also one that somebody holds; it may be gone already */
void net_tap_delete(int sock, int ifindex);

/** net_redirect() - All that comes in at @from goes out at @to; Return: 0, -EEXIST when it is redirected already, -errno */
int net_redirect(int sock, int from, int to, struct err *err);
/** net_redirect_remove() - Take our filters from @ifindex, and the qdisc if it was ours and is not used; harmless without */
void net_redirect_remove(int sock, int ifindex);
/**
 * net_answers_add() - What comes in at @from for a connected socket of the host's side goes there, ahead of the redirection to @tap
 * Return: 0, -EEXIST when that is so already, -EPERM without CAP_BPF, -errno
 */
int net_answers_add(int sock, int from, int tap, struct err *err);
/** net_answers_remove() - Harmless without */
void net_answers_remove(int sock, int from);

/* ---- network_answers.c ---- */

#define NET_ANSWERS_MAX 160 /* instructions */

struct bpf_insn;

/** net_answers_program() - The filter's program; Return: how many instructions, into @out of NET_ANSWERS_MAX */
size_t net_answers_program(int tap, struct bpf_insn *out);
/** net_answers_load() - Give it to the kernel; Return: its descriptor or -errno */
int net_answers_load(int tap);

/* ---- network_clean.c ---- */

/** net_is_own() - Is this namespace the caller's own, or that of the host's first process? */
bool net_is_own(int netns_fd);
/** net_user() - A process that lives in the namespace; Return: its pid with @name (of 16 bytes) filled, 0 if none can be seen */
int net_user(int netns_fd, char *name);
/** net_note() - Note in the state directory that something of ours may be in this namespace; @netns_fd stays the caller's */
int net_note(int state_fd, int netns_fd, const char *path, struct err *err);
void net_note_remove(int state_fd);

#endif
