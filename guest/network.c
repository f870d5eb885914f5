/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The difference between two states of the network, applied; see guest/network.h for the order.
 *
 * An interface is "touched" when it is new, has gone up or down, or has lost or got an address. The kernel drops routes and, on
 * its way down, IPv6 addresses on such occasions, so everything of a touched interface is set again: setting what is there
 * already does nothing.
 */
#define _GNU_SOURCE
#include "guest/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/log.h"

#include "lib/netlink.h"
#include "guest/network_rtnl.h"
#include "guest/slots.h"

#define LOOPBACK_IFINDEX 1

typedef Caisson__Agent__SetNetworkRequest network_state;
typedef Caisson__Agent__NetworkInterface network_interface;
typedef Caisson__Agent__NetworkRoute network_route;

const struct network_slots network_slots_machine = {slot_bind, slot_unbind, slot_netdev};

struct apply {
	struct network *network;
	const network_state *old, *new;
	int fd;	    /* netlink socket, where the interfaces are */
	int target; /* network namespace, for move_interfaces() */
	/* by slot */
	bool fresh[MACHINE_NET_INTERFACES_MAX];	  /* just bound or moved */
	bool touched[MACHINE_NET_INTERFACES_MAX]; /* see above */
	struct err first;			  /* the first failure */
};

/* ---- failures ---- */

static void failed(struct apply *a, const struct err *err)
{
	if (!a->first.code)
		a->first = *err;
	else
		log_debug("Network: %s", err->msg);
}

static void check(struct apply *a, int r, const network_interface *it, const char *what)
{
	struct err err = {0};

	if (r >= 0)
		return;
	(void)err_sys(&err, -r, "interface '%s': cannot %s", it->name, what);
	failed(a, &err);
}

static const char *show(char out[INET6_ADDRSTRLEN + 8], const ProtobufCBinaryData *address,
			uint32_t prefix)
{
	static const uint8_t zeros[16];
	char text[INET6_ADDRSTRLEN];

	if (!inet_ntop(address->len == 4 ? AF_INET : AF_INET6, address->len ? address->data : zeros,
		       text, sizeof(text)))
		text[0] = 0;
	(void)snprintf(out, INET6_ADDRSTRLEN + 8, "%s/%u", text, prefix);
	return out;
}

/* ---- comparing ---- */

static bool bytes_equal(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
	return a->len == b->len && (!a->len || memcmp(a->data, b->data, a->len) == 0);
}

static const network_interface *find_slot(const network_state *state, uint32_t slot)
{
	for (size_t i = 0; state && i < state->n_interfaces; i++) {
		if (state->interfaces[i]->slot == slot)
			return state->interfaces[i];
	}
	return NULL;
}

static bool address_equal(const Caisson__Agent__NetworkAddress *a,
			  const Caisson__Agent__NetworkAddress *b)
{
	return bytes_equal(&a->address, &b->address) && a->prefix == b->prefix &&
	       bytes_equal(&a->peer, &b->peer) && bytes_equal(&a->broadcast, &b->broadcast) &&
	       a->scope == b->scope && a->flags == b->flags && a->priority == b->priority;
}

static bool has_address(const network_interface *it, const Caisson__Agent__NetworkAddress *address)
{
	for (size_t i = 0; it && i < it->n_addresses; i++) {
		if (address_equal(it->addresses[i], address))
			return true;
	}
	return false;
}

static bool has_neighbour(const network_interface *it,
			  const Caisson__Agent__NetworkNeighbour *neighbour)
{
	for (size_t i = 0; it && i < it->n_neighbours; i++) {
		if (bytes_equal(&it->neighbours[i]->address, &neighbour->address) &&
		    bytes_equal(&it->neighbours[i]->mac, &neighbour->mac))
			return true;
	}
	return false;
}

static uint32_t slot_of(const network_state *state, const Caisson__Agent__NetworkHop *hop)
{
	return state->interfaces[hop->interface]->slot;
}

static bool route_equal(const network_state *sa, const network_route *a, const network_state *sb,
			const network_route *b)
{
	if (a->family != b->family || a->prefix != b->prefix || a->type != b->type ||
	    a->scope != b->scope || a->protocol != b->protocol || a->tos != b->tos ||
	    a->priority != b->priority || a->mtu != b->mtu || a->advmss != b->advmss ||
	    a->n_hops != b->n_hops || !bytes_equal(&a->destination, &b->destination) ||
	    !bytes_equal(&a->source, &b->source))
		return false;
	for (size_t i = 0; i < a->n_hops; i++) {
		if (slot_of(sa, a->hops[i]) != slot_of(sb, b->hops[i]) ||
		    !bytes_equal(&a->hops[i]->gateway, &b->hops[i]->gateway) ||
		    a->hops[i]->weight != b->hops[i]->weight ||
		    a->hops[i]->onlink != b->hops[i]->onlink)
			return false;
	}
	return true;
}

static bool has_route(const network_state *state, const network_state *of,
		      const network_route *route)
{
	for (size_t i = 0; state && i < state->n_routes; i++) {
		if (route_equal(state, state->routes[i], of, route))
			return true;
	}
	return false;
}

/* ---- taking back ---- */

/* Return: false when one of its interfaces is gone */
static bool find_hops(struct apply *a, const network_state *state, const network_route *route,
		      int hops[MACHINE_NET_HOPS_MAX])
{
	for (size_t i = 0; i < route->n_hops; i++) {
		hops[i] = a->network->ifindex[slot_of(state, route->hops[i])];
		if (!hops[i])
			return false;
	}
	return true;
}

static void remove_routes(struct apply *a)
{
	int hops[MACHINE_NET_HOPS_MAX];

	for (size_t i = 0; a->old && i < a->old->n_routes; i++) {
		const network_route *route = a->old->routes[i];

		if (!has_route(a->new, a->old, route) && find_hops(a, a->old, route, hops))
			(void)rtnl_route(a->fd, route, hops, false);
	}
}

static void remove_addresses(struct apply *a, const network_interface *old,
			     const network_interface *new)
{
	int ifindex = a->network->ifindex[old->slot];

	for (size_t i = 0; i < old->n_addresses; i++) {
		if (has_address(new, old->addresses[i]))
			continue;
		a->touched[old->slot] = true;
		check(a, rtnl_address(a->fd, ifindex, old->addresses[i], false), old,
		      "remove an address");
	}
	for (size_t i = 0; i < old->n_neighbours; i++) {
		if (!has_neighbour(new, old->neighbours[i]))
			check(a, rtnl_neighbour(a->fd, ifindex, old->neighbours[i], false), old,
			      "remove a neighbour");
	}
}

static void remove_interfaces(struct apply *a)
{
	struct err err = {0};

	for (size_t i = 0; a->old && i < a->old->n_interfaces; i++) {
		const network_interface *old = a->old->interfaces[i];
		const network_interface *new = find_slot(a->new, old->slot);

		if (!a->network->ifindex[old->slot])
			continue;
		if (new || !old->slot) {
			remove_addresses(a, old, new);
			continue;
		}
		if (a->network->slots->unbind(old->slot - 1, &err) < 0)
			failed(a, &err);
		a->network->ifindex[old->slot] = 0;
	}
}

/* ---- slots and names ---- */

/* Slots are few: network_check() */
static void name_for_now(char out[IFNAMSIZ], uint32_t slot)
{
	(void)snprintf(out, IFNAMSIZ, "caisson%hhu", (unsigned char)slot);
}

/* Out of everybody's way, then to where the interfaces are; resolve() finds it there */
static int hand_over(const struct apply *a, const network_interface *it, const char *name,
		     struct err *err)
{
	unsigned int ifindex = if_nametoindex(name);
	char temporary[IFNAMSIZ];
	cleanup_close int fd = netlink_open();
	int r;

	name_for_now(temporary, it->slot);
	if (fd < 0 || !ifindex)
		return err_sys(err, fd < 0 ? -fd : ENODEV, "interface '%s': looking for '%s'",
			       it->name, name);
	r = rtnl_rename(fd, (int)ifindex, temporary);
	if (r == 0 && a->network->netns_fd >= 0)
		r = rtnl_move(fd, (int)ifindex, a->network->netns_fd);
	return r < 0 ? err_sys(err, -r, "interface '%s': cannot take over '%s'", it->name, name)
		     : 0;
}

/* New ones appear in the agent's own namespace */
static void bind_slots(struct apply *a)
{
	const struct network_slots *slots = a->network->slots;

	a->network->ifindex[0] = LOOPBACK_IFINDEX;
	for (size_t i = 0; i < a->new->n_interfaces; i++) {
		const network_interface *it = a->new->interfaces[i];
		char name[IFNAMSIZ];
		struct err err = {0};
		int r;

		if (a->network->ifindex[it->slot])
			continue;
		r = slots->bind(it->slot - 1, &err);
		if (r == 0)
			r = slots->netdev(it->slot - 1, name, &err);
		if (r == 0)
			r = hand_over(a, it, name, &err);
		if (r == 0)
			a->fresh[it->slot] = true;
		else
			failed(a, &err);
	}
}

/* The numbers of those that have been handed over */
static void resolve(struct apply *a)
{
	char temporary[IFNAMSIZ];

	for (size_t i = 0; i < a->new->n_interfaces; i++) {
		const network_interface *it = a->new->interfaces[i];

		if (!a->fresh[it->slot])
			continue;
		name_for_now(temporary, it->slot);
		a->network->ifindex[it->slot] = (int)if_nametoindex(temporary);
		a->touched[it->slot] = true;
		if (!a->network->ifindex[it->slot])
			check(a, -ENODEV, it, "find it again");
	}
}

static bool wants_name(const struct apply *a, const network_interface *it)
{
	const network_interface *old = find_slot(a->old, it->slot);

	return it->slot && a->network->ifindex[it->slot] &&
	       (a->fresh[it->slot] || a->network->partial || !old ||
		strcmp(old->name, it->name) != 0);
}

/* In two rounds, because they may swap their names */
static void rename_interfaces(struct apply *a)
{
	char temporary[IFNAMSIZ];

	for (size_t i = 0; i < a->new->n_interfaces; i++) {
		const network_interface *it = a->new->interfaces[i];

		name_for_now(temporary, it->slot);
		if (wants_name(a, it) && !a->fresh[it->slot])
			check(a, rtnl_rename(a->fd, a->network->ifindex[it->slot], temporary), it,
			      "rename it");
	}
	for (size_t i = 0; i < a->new->n_interfaces; i++) {
		const network_interface *it = a->new->interfaces[i];

		if (wants_name(a, it))
			check(a, rtnl_rename(a->fd, a->network->ifindex[it->slot], it->name), it,
			      "give it its name");
	}
}

/* ---- interfaces ---- */

static void set_sysctl(struct apply *a, const network_interface *it, const char *family,
		       const char *key, const char *value)
{
	char path[128], name[IFNAMSIZ];
	cleanup_close int fd = -1;

	/* It may be called otherwise by now, or still */
	if (!if_indextoname((unsigned int)a->network->ifindex[it->slot], name))
		return;
	(void)snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name, key);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		log_debug("Network: cannot set '%s' to %s: %s, ignoring", path, value,
			  err_reason(errno));
}

/* Before it is up for the first time */
static void prepare_interface(struct apply *a, const network_interface *it)
{
	check(a, rtnl_no_link_local(a->fd, a->network->ifindex[it->slot]), it,
	      "set its IPv6 address mode");
	set_sysctl(a, it, "ipv4", "arp_notify", "1");
	set_sysctl(a, it, "ipv6", "ndisc_notify", "1");
}

static void set_link(struct apply *a, const network_interface *it, const network_interface *old)
{
	int ifindex = a->network->ifindex[it->slot];
	bool all = !old || a->fresh[it->slot] || a->network->partial;

	if (a->fresh[it->slot])
		prepare_interface(a, it);
	if (all ? it->no_ipv6 : it->no_ipv6 != old->no_ipv6) {
		set_sysctl(a, it, "ipv6", "disable_ipv6", it->no_ipv6 ? "1" : "0");
		a->touched[it->slot] = true;
	}
	if (all || it->mtu != old->mtu)
		check(a, rtnl_set_mtu(a->fd, ifindex, it->mtu), it, "set its MTU");
	if (all || !bytes_equal(&it->mac, &old->mac))
		check(a, rtnl_set_mac(a->fd, ifindex, &it->mac), it, "set its MAC address");
	if (all || it->up != old->up || it->noarp != old->noarp)
		check(a, rtnl_set_flags(a->fd, ifindex, it->up, it->noarp), it,
		      it->up ? "bring it up" : "take it down");
	if (all || it->up != old->up)
		a->touched[it->slot] = true;
}

static void set_address(struct apply *a, const network_interface *it,
			const Caisson__Agent__NetworkAddress *address)
{
	int r = rtnl_address(a->fd, a->network->ifindex[it->slot], address, true);
	char text[INET6_ADDRSTRLEN + 8];
	struct err err = {0};

	if (r == 0)
		return;
	(void)err_sys(&err, -r, "interface '%s': cannot set the address %s", it->name,
		      show(text, &address->address, address->prefix));
	failed(a, &err);
}

static void set_interface(struct apply *a, const network_interface *it)
{
	const network_interface *old = find_slot(a->old, it->slot);
	int ifindex = a->network->ifindex[it->slot];

	if (!ifindex)
		return;
	if (it->slot)
		set_link(a, it, old);
	else if (a->network->partial || !old)
		a->touched[0] = true;
	for (size_t i = 0; i < it->n_addresses; i++)
		a->touched[it->slot] |= !has_address(old, it->addresses[i]);
	for (size_t i = 0; a->touched[it->slot] && i < it->n_addresses; i++)
		set_address(a, it, it->addresses[i]);
	/* Announces the addresses, and forgets neighbours: before those are set */
	if (it->slot && it->up && a->touched[it->slot] && it->n_addresses)
		check(a, rtnl_set_mac(a->fd, ifindex, &it->mac), it, "announce its addresses");
	for (size_t i = 0; i < it->n_neighbours; i++) {
		if (a->touched[it->slot] || !has_neighbour(old, it->neighbours[i]))
			check(a, rtnl_neighbour(a->fd, ifindex, it->neighbours[i], true), it,
			      "set a neighbour");
	}
}

/* ---- routes ---- */

static bool has_gateway(const network_route *route)
{
	for (size_t i = 0; i < route->n_hops; i++) {
		if (route->hops[i]->gateway.len)
			return true;
	}
	return false;
}

static bool is_touched(const struct apply *a, const network_route *route)
{
	for (size_t i = 0; i < route->n_hops; i++) {
		if (a->touched[slot_of(a->new, route->hops[i])])
			return true;
	}
	return a->network->partial || !has_route(a->old, a->new, route);
}

static void set_route(struct apply *a, const network_route *route)
{
	char text[INET6_ADDRSTRLEN + 8];
	int hops[MACHINE_NET_HOPS_MAX], r;
	struct err err = {0};

	if (!find_hops(a, a->new, route, hops))
		return; /* that has been said */
	r = rtnl_route(a->fd, route, hops, true);
	if (r == 0)
		return;
	(void)err_sys(&err, -r, "cannot set the route to %s",
		      route->destination.len ? show(text, &route->destination, route->prefix)
					     : (route->family == AF_INET ? "0.0.0.0/0" : "::/0"));
	failed(a, &err);
}

static void set_routes(struct apply *a)
{
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < a->new->n_routes; i++) {
			const network_route *route = a->new->routes[i];

			if (has_gateway(route) == (round == 1) && is_touched(a, route))
				set_route(a, route);
		}
	}
}

/* ---- the whole ---- */

static void take_back(struct apply *a)
{
	remove_routes(a);
	remove_interfaces(a);
}

static void set_up(struct apply *a)
{
	resolve(a);
	rename_interfaces(a);
	for (size_t i = 0; i < a->new->n_interfaces; i++)
		set_interface(a, a->new->interfaces[i]);
	set_routes(a);
}

/* @run with a netlink socket and /proc/sys/net of where the interfaces are; both are this thread's alone */
static void where_they_are(struct apply *a, void (*run)(struct apply *))
{
	cleanup_close int own = -1, fd = -1;
	struct err err = {0};

	if (a->network->netns_fd >= 0) {
		own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
		if (own < 0 || setns(a->network->netns_fd, CLONE_NEWNET) < 0) {
			(void)err_sys(&err, errno, "cannot enter the container's network");
			failed(a, &err);
			return;
		}
	}
	fd = netlink_open();
	a->fd = fd;
	if (fd < 0) {
		(void)err_sys(&err, -fd, "cannot open a netlink socket");
		failed(a, &err);
	} else {
		run(a);
	}
	if (own >= 0 && setns(own, CLONE_NEWNET) < 0)
		log_error("The agent cannot return to its network: %s", err_reason(errno));
}

static int finish(struct apply *a, struct err *err)
{
	a->network->partial = a->first.code != 0;
	if (a->first.code && err)
		*err = a->first;
	return -a->first.code;
}

int network_set(struct network *network, network_state *request, struct err *err)
{
	struct apply a = {.network = network, .old = network->now, .new = request};
	int r = network_check(request, err);

	if (r < 0) {
		caisson__agent__set_network_request__free_unpacked(request, NULL);
		return r;
	}
	where_they_are(&a, take_back);
	bind_slots(&a);
	where_they_are(&a, set_up);
	if (network->now)
		caisson__agent__set_network_request__free_unpacked(network->now, NULL);
	network->now = request;
	return finish(&a, err);
}

/* From where they are to a->target, under names that are in nobody's way; resolve() finds them there */
static void move_interfaces(struct apply *a)
{
	char temporary[IFNAMSIZ];

	for (size_t i = 0; i < a->new->n_interfaces; i++) {
		const network_interface *it = a->new->interfaces[i];
		int ifindex = a->network->ifindex[it->slot], r;

		if (!it->slot || !ifindex)
			continue;
		name_for_now(temporary, it->slot);
		r = rtnl_rename(a->fd, ifindex, temporary);
		if (r == 0)
			r = rtnl_move(a->fd, ifindex, a->target);
		a->fresh[it->slot] = r == 0;
		check(a, r, it, "move it to another network namespace");
	}
}

static int move_to(struct network *network, int target, int kept, struct err *err)
{
	static const network_state nothing = CAISSON__AGENT__SET_NETWORK_REQUEST__INIT;
	struct apply a = {.network = network, .new = network->now ?: &nothing, .target = target};

	where_they_are(&a, move_interfaces);
	close_fd(&network->netns_fd);
	network->netns_fd = kept;
	where_they_are(&a, set_up);
	return finish(&a, err);
}

int network_enter(struct network *network, int netns_fd, struct err *err)
{
	int kept;

	if (network->netns_fd >= 0)
		return err_set(err, EBUSY,
			       "the guest's network belongs to another container's user namespace");
	kept = fcntl(netns_fd, F_DUPFD_CLOEXEC, 3);
	if (kept < 0)
		return err_sys(err, errno, "cannot keep the container's network");
	return move_to(network, kept, kept, err);
}

int network_leave(struct network *network, struct err *err)
{
	cleanup_close int own = -1;

	if (network->netns_fd < 0)
		return 0;
	own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return err_sys(err, errno, "cannot open the agent's network");
	return move_to(network, own, -1, err);
}

void network_release(struct network *network)
{
	if (network->now)
		caisson__agent__set_network_request__free_unpacked(network->now, NULL);
	network->now = NULL;
	close_fd(&network->netns_fd);
}
