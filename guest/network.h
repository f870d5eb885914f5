/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's network, as SetNetwork (guest/agent.proto) describes it: a whole state each time, of which the difference to
 * the one before is applied.
 *
 *   taken back   what the last state had and the new one has not: routes, addresses, neighbours, then whole slots
 *   bound        slots that are new: their interfaces get names of ours first, so that no two names meet on the way
 *   renamed      to the host's names
 *   set          MTU, MAC, flags, addresses; then up; IPv6 addresses without duplicate detection (the host has done it)
 *   announced    the kernel does it (arp_notify, ndisc_notify) as the interface's own MAC is set once more
 *   routed       neighbours, routes without gateway, routes with one
 *
 * What a program in the container changed by itself stays as long as the host's state does not speak of it: an interface that
 * has not changed is not touched, and nothing that an earlier state did not set is ever removed. A part that fails does not
 * stop the rest; the first error is the answer, and the next call sets everything again.
 *
 * The interfaces are in the guest's first network namespace or, when the container has one of its own (a user namespace),
 * in that one from network_enter() on.
 */
#ifndef GUEST_NETWORK_H
#define GUEST_NETWORK_H

#include <net/if.h>
#include <stdbool.h>

#include "lib/err.h"
#include "lib/machine.h"

#include "guest/agent.pb-c.h"

/* guest/slots.h, or a test's own */
struct network_slots {
	int (*bind)(unsigned int slot, struct err *err);
	int (*unbind)(unsigned int slot, struct err *err);
	int (*netdev)(unsigned int slot, char name[IFNAMSIZ], struct err *err);
};
extern const struct network_slots network_slots_machine;

/* Zero-initialise, set slots and netns_fd */
struct network {
	const struct network_slots *slots;	 /* borrowed */
	int ifindex[MACHINE_NET_INTERFACES_MAX]; /* by the message's slot; 0: not bound */
	int netns_fd; /* owned: where they are; -1: in the agent's own namespace */
	bool partial; /* the last state could not be set as a whole */
	Caisson__Agent__SetNetworkRequest *now; /* owned: the last state */
};

/** network_check() - Sizes, names and references of a state; Return: 0 or -EINVAL with @err. Nothing else needs to be checked */
int network_check(const Caisson__Agent__SetNetworkRequest *request, struct err *err);

/**
 * network_set() - Make the guest's network what @request says
 * @request:	Taken over, whatever happens
 * Return: 0 or -errno with the first error in @err
 */
int network_set(struct network *network, Caisson__Agent__SetNetworkRequest *request,
		struct err *err);

/** network_enter() - Move all interfaces to this namespace, and later ones too; @netns_fd stays the caller's. Return: as network_set() */
int network_enter(struct network *network, int netns_fd, struct err *err);

/** network_leave() - The reverse, when that namespace's container is gone; Return: as network_set() */
int network_leave(struct network *network, struct err *err);

void network_release(struct network *network);

#endif
