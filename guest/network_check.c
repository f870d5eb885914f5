/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a description of the network must be like (guest/network.h). The monitor is trusted, so this is against honest
 * mistakes: nothing too large for PID 1, no name that is a path, no length that a structure of the kernel does not have.
 */
#include "guest/network.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#define MAC_LEN 6
#define WEIGHT_MAX 255

static bool is_name(const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= IFNAMSIZ || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		if (*name == '/' || *name == ':' || (unsigned char)*name <= ' ' || *name == 0x7f)
			return false;
	}
	return true;
}

static size_t family_len(uint32_t family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static bool is_address(const ProtobufCBinaryData *bytes)
{
	return bytes->len == 4 || bytes->len == 16;
}

static bool is_len_or_none(const ProtobufCBinaryData *bytes, size_t len)
{
	return bytes->len == 0 || bytes->len == len;
}

static bool is_interface_address(const Caisson__Agent__NetworkAddress *a)
{
	return is_address(&a->address) && a->prefix <= a->address.len * 8 &&
	       is_len_or_none(&a->peer, a->address.len) && is_len_or_none(&a->broadcast, 4) &&
	       a->scope <= 255;
}

static int check_interface(const Caisson__Agent__NetworkInterface *it, struct err *err)
{
	if (!is_name(it->name))
		return err_set(err, EINVAL, "an interface has no valid name");
	if (it->slot > MACHINE_LATE_SLOTS)
		return err_set(err, EINVAL, "interface '%s': there is no slot %u", it->name,
			       it->slot);
	if (it->mac.len != (it->slot ? MAC_LEN : 0))
		return err_set(err, EINVAL, "interface '%s': a MAC address of %zu bytes", it->name,
			       it->mac.len);
	if (it->n_addresses > MACHINE_NET_ADDRESSES_MAX ||
	    it->n_neighbours > MACHINE_NET_NEIGHBOURS_MAX)
		return err_set(err, EINVAL, "interface '%s': too many addresses or neighbours",
			       it->name);
	for (size_t i = 0; i < it->n_addresses; i++) {
		if (!is_interface_address(it->addresses[i]))
			return err_set(err, EINVAL, "interface '%s': address %zu is none", it->name,
				       i);
	}
	for (size_t i = 0; i < it->n_neighbours; i++) {
		if (!is_address(&it->neighbours[i]->address) ||
		    it->neighbours[i]->mac.len != MAC_LEN)
			return err_set(err, EINVAL, "interface '%s': neighbour %zu is none",
				       it->name, i);
	}
	return 0;
}

static int check_unique(const Caisson__Agent__SetNetworkRequest *request, struct err *err)
{
	for (size_t i = 0; i < request->n_interfaces; i++) {
		for (size_t j = 0; j < i; j++) {
			const Caisson__Agent__NetworkInterface *a = request->interfaces[i],
							       *b = request->interfaces[j];

			if (a->slot == b->slot || strcmp(a->name, b->name) == 0)
				return err_set(err, EINVAL, "interfaces '%s' and '%s' are the same",
					       a->name, b->name);
		}
	}
	return 0;
}

static bool is_route(const Caisson__Agent__SetNetworkRequest *request,
		     const Caisson__Agent__NetworkRoute *route)
{
	size_t len = family_len(route->family);

	if (!len || !is_len_or_none(&route->destination, len) ||
	    !is_len_or_none(&route->source, len) || route->prefix > route->destination.len * 8 ||
	    route->type > __RTN_MAX || route->scope > 255 || route->protocol > 255 ||
	    route->tos > 255 || route->n_hops > MACHINE_NET_HOPS_MAX)
		return false;
	for (size_t i = 0; i < route->n_hops; i++) {
		const Caisson__Agent__NetworkHop *hop = route->hops[i];

		if (hop->interface >= request->n_interfaces ||
		    (hop->gateway.len && !is_address(&hop->gateway)) || hop->weight > WEIGHT_MAX)
			return false;
		/* An IPv4 route may have an IPv6 gateway (RTA_VIA), not the reverse */
		if (route->family == AF_INET6 && hop->gateway.len == 4)
			return false;
	}
	return true;
}

int network_check(const Caisson__Agent__SetNetworkRequest *request, struct err *err)
{
	if (request->n_interfaces > MACHINE_NET_INTERFACES_MAX)
		return err_set(err, EINVAL, "more than %d interfaces", MACHINE_NET_INTERFACES_MAX);
	if (request->n_routes > MACHINE_NET_ROUTES_MAX)
		return err_set(err, EINVAL, "more than %d routes", MACHINE_NET_ROUTES_MAX);
	for (size_t i = 0; i < request->n_interfaces; i++) {
		int r = check_interface(request->interfaces[i], err);

		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < request->n_routes; i++) {
		if (!is_route(request, request->routes[i]))
			return err_set(err, EINVAL, "route %zu is none", i);
	}
	return check_unique(request, err);
}
