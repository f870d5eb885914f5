/* SPDX-License-Identifier: Apache-2.0 */
/* From what is in the namespace to what the agent is told (shim/network.h). The same state is always the same bytes. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "guest/agent.pb-c.h"
#include "lib/cleanup.h"
#include "shim/network.h"

typedef Caisson__Agent__NetworkInterface message_interface;
typedef Caisson__Agent__NetworkRoute message_route;
typedef Caisson__Agent__NetworkHop message_hop;

/* Everything that the message points to; counted first, then filled */
struct message {
	Caisson__Agent__SetNetworkRequest request;
	message_interface *interfaces, **interface_list;
	Caisson__Agent__NetworkAddress *addresses, **address_list;
	Caisson__Agent__NetworkNeighbour *neighbours, **neighbour_list;
	message_route *routes, **route_list;
	message_hop *hops, **hop_list;
	size_t naddresses, nneighbours, nroutes, nhops; /* used so far */
	int ifindexes[MACHINE_NET_INTERFACES_MAX];	/* of request.interfaces */
};

static ProtobufCBinaryData bytes(const uint8_t *data, size_t len)
{
	return (ProtobufCBinaryData){.len = len, .data = len ? (uint8_t *)data : NULL};
}

static void *list_of(size_t n, size_t size)
{
	return calloc(n + 1, size);
}

static bool allocate(struct message *m, const struct net_state *state)
{
	size_t naddresses = 0, nneighbours = 0, nhops = 0;

	for (size_t i = 0; i < state->nlinks; i++) {
		naddresses += state->links[i].naddresses;
		nneighbours += state->links[i].nneighbours;
	}
	for (size_t i = 0; i < state->nroutes; i++)
		nhops += state->routes[i].nhops;
	m->interfaces = list_of(state->nlinks, sizeof(*m->interfaces));
	m->interface_list = list_of(state->nlinks, sizeof(*m->interface_list));
	m->addresses = list_of(naddresses, sizeof(*m->addresses));
	m->address_list = list_of(naddresses, sizeof(*m->address_list));
	m->neighbours = list_of(nneighbours, sizeof(*m->neighbours));
	m->neighbour_list = list_of(nneighbours, sizeof(*m->neighbour_list));
	m->routes = list_of(state->nroutes, sizeof(*m->routes));
	m->route_list = list_of(state->nroutes, sizeof(*m->route_list));
	m->hops = list_of(nhops, sizeof(*m->hops));
	m->hop_list = list_of(nhops, sizeof(*m->hop_list));
	return m->interfaces && m->interface_list && m->addresses && m->address_list &&
	       m->neighbours && m->neighbour_list && m->routes && m->route_list && m->hops &&
	       m->hop_list;
}

static void message_release(struct message *m)
{
	free(m->interfaces);
	free(m->interface_list);
	free(m->addresses);
	free(m->address_list);
	free(m->neighbours);
	free(m->neighbour_list);
	free(m->routes);
	free(m->route_list);
	free(m->hops);
	free(m->hop_list);
}

static void add_address(struct message *m, const struct net_address *a)
{
	Caisson__Agent__NetworkAddress *out = &m->addresses[m->naddresses];

	caisson__agent__network_address__init(out);
	out->address = bytes(a->address, a->len);
	out->prefix = a->prefix;
	out->peer = bytes(a->peer, a->has_peer ? a->len : 0);
	out->broadcast = bytes(a->broadcast, a->has_broadcast ? sizeof(a->broadcast) : 0);
	out->scope = a->scope;
	out->flags = a->flags;
	out->priority = a->priority;
	m->address_list[m->naddresses++] = out;
}

static void add_neighbour(struct message *m, const struct net_neighbour *n)
{
	Caisson__Agent__NetworkNeighbour *out = &m->neighbours[m->nneighbours];

	caisson__agent__network_neighbour__init(out);
	out->address = bytes(n->address, n->len);
	out->mac = bytes(n->mac, sizeof(n->mac));
	m->neighbour_list[m->nneighbours++] = out;
}

static void add_interface(struct message *m, const struct net_link *link, uint32_t slot)
{
	size_t n = m->request.n_interfaces++;
	message_interface *out = &m->interfaces[n];

	caisson__agent__network_interface__init(out);
	out->slot = slot;
	out->name = (char *)link->name;
	if (!link->loopback) {
		out->mac = bytes(link->mac, sizeof(link->mac));
		out->mtu = link->mtu;
		out->up = link->up;
		out->noarp = link->noarp;
		out->no_ipv6 = link->no_ipv6;
	}
	out->addresses = m->address_list + m->naddresses;
	out->n_addresses = link->naddresses;
	for (size_t i = 0; i < link->naddresses; i++)
		add_address(m, &link->addresses[i]);
	out->neighbours = m->neighbour_list + m->nneighbours;
	out->n_neighbours = link->nneighbours;
	for (size_t i = 0; i < link->nneighbours; i++)
		add_neighbour(m, &link->neighbours[i]);
	m->interface_list[n] = out;
	m->ifindexes[n] = link->ifindex;
}

static void add_interfaces(struct message *m, const struct net_state *state, const int *slots)
{
	for (size_t i = 0; i < state->nlinks; i++) {
		const struct net_link *link = &state->links[i];

		/* The guest's is there: only what was added to it is told */
		if (link->loopback && link->naddresses)
			add_interface(m, link, 0);
		for (uint32_t slot = 0; !link->loopback && slot < MACHINE_LATE_SLOTS; slot++) {
			if (slots[slot] == link->ifindex)
				add_interface(m, link, slot + 1);
		}
	}
}

/* Return: false when the guest does not have the interface */
static bool add_hop(struct message *m, const struct net_hop *hop)
{
	message_hop *out = &m->hops[m->nhops];

	for (size_t i = 0; i < m->request.n_interfaces; i++) {
		if (m->ifindexes[i] != hop->ifindex)
			continue;
		caisson__agent__network_hop__init(out);
		out->interface = (uint32_t)i;
		out->gateway = bytes(hop->gateway, hop->gateway_len);
		out->weight = hop->weight;
		out->onlink = hop->onlink;
		m->hop_list[m->nhops++] = out;
		return true;
	}
	return false;
}

static void add_route(struct message *m, const struct net_route *route)
{
	message_route *out = &m->routes[m->nroutes];

	caisson__agent__network_route__init(out);
	out->family = route->family;
	out->destination = bytes(route->destination, route->destination_len);
	out->prefix = route->prefix;
	out->type = route->type;
	out->scope = route->scope;
	out->protocol = route->protocol;
	out->tos = route->tos;
	out->priority = route->priority;
	out->source = bytes(route->source, route->source_len);
	out->mtu = route->mtu;
	out->advmss = route->advmss;
	out->hops = m->hop_list + m->nhops;
	for (size_t i = 0; i < route->nhops; i++)
		out->n_hops += add_hop(m, &route->hops[i]);
	if (out->n_hops || !route->nhops)
		m->route_list[m->nroutes++] = out;
}

static int pack(struct message *m, uint8_t **out, size_t *len, struct err *err)
{
	size_t size = caisson__agent__set_network_request__get_packed_size(&m->request);

	if (size > MACHINE_NET_REQUEST_MAX)
		return err_set(err, E2BIG, "the network's description has more than %u bytes",
			       MACHINE_NET_REQUEST_MAX);
	*out = malloc(size + 1);
	if (!*out)
		return err_sys(err, ENOMEM, "describing the network");
	*len = caisson__agent__set_network_request__pack(&m->request, *out);
	return 0;
}

int net_message(const struct net_state *state, const int *slots, uint8_t **out, size_t *len,
		struct err *err)
{
	struct message m = {.request = CAISSON__AGENT__SET_NETWORK_REQUEST__INIT};
	int r;

	if (allocate(&m, state)) {
		add_interfaces(&m, state, slots);
		/* Without any interface there is nothing to route */
		for (size_t i = 0; m.request.n_interfaces && i < state->nroutes; i++)
			add_route(&m, &state->routes[i]);
		m.request.interfaces = m.interface_list;
		m.request.routes = m.route_list;
		m.request.n_routes = m.nroutes;
		m.request.resolver = state->resolver;
		r = pack(&m, out, len, err);
	} else {
		r = err_sys(err, ENOMEM, "describing the network");
	}
	message_release(&m);
	return r;
}
