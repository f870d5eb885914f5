/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in the network namespace: four dumps of rtnetlink(7).
 *
 * What the guest's kernel makes by itself is left out: routes and addresses of kernel and of router advertisements, the
 * loopback interface's own addresses; and what cannot be carried as Ethernet frames.
 */
#include "shim/network.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"
#include "lib/netlink.h"

#define DUMP_TRIES 8 /* of one that the kernel says was disturbed */
#define IFA_PROTO_ATTRIBUTE 11
#define IFA_PROTO_KERNEL_RA 2

struct scan {
	struct net_state *state;
	struct err *err;
	int error; /* -errno: the callback gave up */
};

void net_state_release(struct net_state *state)
{
	for (size_t i = 0; i < state->nlinks; i++) {
		free(state->links[i].addresses);
		free(state->links[i].neighbours);
	}
	for (size_t i = 0; i < state->nroutes; i++)
		free(state->routes[i].hops);
	free(state->links);
	free(state->routes);
	*state = (struct net_state){0};
}

static struct net_link *find_link(struct net_state *state, int ifindex)
{
	for (size_t i = 0; i < state->nlinks; i++) {
		if (state->links[i].ifindex == ifindex)
			return &state->links[i];
	}
	return NULL;
}

const struct net_link *net_state_find(const struct net_state *state, int ifindex)
{
	return find_link((struct net_state *)state, ifindex);
}

/* Room for one more element; @items: the address of a pointer to the list. Return: it, zeroed, or NULL with the scan given up */
static void *grow(struct scan *scan, void *items, size_t *n, size_t size, size_t max,
		  const char *what)
{
	void *list, *grown;

	if (*n >= max) {
		scan->error = err_set(scan->err, E2BIG,
				      "the network namespace has more than %zu %s, which is more "
				      "than a guest can be given",
				      max, what);
		return NULL;
	}
	memcpy(&list, items, sizeof(list));
	grown = reallocarray(list, *n + 1, size);
	if (!grown) {
		scan->error = err_sys(scan->err, ENOMEM, "looking at the network");
		return NULL;
	}
	memcpy(items, &grown, sizeof(grown));
	grown = (char *)grown + *n * size;
	memset(grown, 0, size);
	++*n;
	return grown;
}

/* The attribute's bytes, if it has 4 or 16; Return: how many, 0 without */
static uint8_t take_address(const struct netlink_attribute *attribute, uint8_t out[16])
{
	if (!attribute->data || (attribute->len != 4 && attribute->len != 16))
		return 0;
	memcpy(out, attribute->data, attribute->len);
	return (uint8_t)attribute->len;
}

static bool take_bytes(const struct netlink_attribute *attribute, void *out, size_t len)
{
	if (!attribute->data || attribute->len != len)
		return false;
	memcpy(out, attribute->data, len);
	return true;
}

/* ---- links ---- */

static bool is_kind(const struct netlink_attribute *tb, const char *kind)
{
	struct netlink_attribute info[IFLA_INFO_KIND + 1];

	netlink_nested(&tb[IFLA_LINKINFO], info, IFLA_INFO_KIND);
	return info[IFLA_INFO_KIND].len > strlen(kind) &&
	       memcmp(info[IFLA_INFO_KIND].data, kind, strlen(kind) + 1) == 0;
}

static bool has_ipv6_disabled(const struct netlink_attribute *tb)
{
	struct netlink_attribute families[AF_INET6 + 1], inet6[IFLA_INET6_CONF + 1];
	int32_t conf[DEVCONF_DISABLE_IPV6 + 1];

	netlink_nested(&tb[IFLA_AF_SPEC], families, AF_INET6);
	netlink_nested(&families[AF_INET6], inet6, IFLA_INET6_CONF);
	if (inet6[IFLA_INET6_CONF].len < sizeof(conf))
		return false;
	memcpy(conf, inet6[IFLA_INET6_CONF].data, sizeof(conf));
	return conf[DEVCONF_DISABLE_IPV6] != 0;
}

/* Ethernet with an address; a bridge's ports are the bridge's business */
static bool is_carried(const struct ifinfomsg *link, const struct netlink_attribute *tb)
{
	static const uint8_t none[6];
	uint8_t mac[6];

	if (link->ifi_flags & IFF_LOOPBACK)
		return true;
	return link->ifi_type == ARPHRD_ETHER && take_bytes(&tb[IFLA_ADDRESS], mac, sizeof(mac)) &&
	       memcmp(mac, none, sizeof(none)) != 0;
}

static void note_tap(struct scan *scan, const struct ifinfomsg *link,
		     const struct netlink_attribute *tb)
{
	struct net_state *state = scan->state;
	uint8_t carrier = 0;

	if (state->ntaps < NET_SCAN_LINKS_MAX)
		state->taps[state->ntaps++] = (struct net_tap){
			.ifindex = link->ifi_index,
			.mtu = netlink_u32(&tb[IFLA_MTU], 0),
			.alive = take_bytes(&tb[IFLA_CARRIER], &carrier, 1) && carrier,
		};
}

static void note_link(struct scan *scan, const struct ifinfomsg *link, const char *name,
		      const struct netlink_attribute *tb)
{
	struct net_state *state = scan->state;
	struct net_link *out;

	if (tb[IFLA_MASTER].data)
		return;
	if (!is_carried(link, tb)) {
		if ((link->ifi_flags & IFF_UP) && state->nothers < NET_SCAN_LINKS_MAX)
			state->others[state->nothers++] = link->ifi_index;
		return;
	}
	out = grow(scan, &state->links, &state->nlinks, sizeof(*out), MACHINE_NET_INTERFACES_MAX,
		   "interfaces");
	if (!out)
		return;
	out->ifindex = link->ifi_index;
	(void)snprintf(out->name, sizeof(out->name), "%s", name);
	out->mtu = netlink_u32(&tb[IFLA_MTU], 0);
	out->loopback = link->ifi_flags & IFF_LOOPBACK;
	out->up = link->ifi_flags & IFF_UP;
	out->noarp = link->ifi_flags & IFF_NOARP;
	out->no_ipv6 = has_ipv6_disabled(tb);
	if (!out->loopback)
		(void)take_bytes(&tb[IFLA_ADDRESS], out->mac, sizeof(out->mac));
}

static void on_link(const struct netlink_entry *entry, void *arg)
{
	const struct ifinfomsg *link = entry->fixed;
	struct netlink_attribute tb[IFLA_CARRIER + 1];
	char name[IFNAMSIZ] = "";
	struct scan *scan = arg;

	if (scan->error || entry->type != RTM_NEWLINK)
		return;
	netlink_attributes(entry->attributes, entry->attributes_len, tb, IFLA_CARRIER);
	if (!tb[IFLA_IFNAME].data || tb[IFLA_IFNAME].len > sizeof(name))
		return;
	memcpy(name, tb[IFLA_IFNAME].data, tb[IFLA_IFNAME].len);
	name[sizeof(name) - 1] = 0;
	if (strncmp(name, NET_TAP_PREFIX, strlen(NET_TAP_PREFIX)) == 0 && is_kind(tb, "tun"))
		note_tap(scan, link, tb);
	else
		note_link(scan, link, name, tb);
}

/* ---- addresses ---- */

static bool is_loopbacks_own(const struct net_address *a)
{
	static const uint8_t one4[4] = {127, 0, 0, 1}, one6[16] = {[15] = 1};

	return a->len == 4 ? memcmp(a->address, one4, 4) == 0 : memcmp(a->address, one6, 16) == 0;
}

/* Router advertisements reach the guest, which makes such addresses by itself */
static bool is_autoconfigured(const struct ifaddrmsg *fixed, uint32_t flags,
			      const struct netlink_attribute *protocol)
{
	uint8_t by = 0;

	if (fixed->ifa_family != AF_INET6)
		return false;
	return (take_bytes(protocol, &by, 1) && by == IFA_PROTO_KERNEL_RA) ||
	       (flags & IFA_F_TEMPORARY);
}

static void note_address(struct scan *scan, struct net_link *link, const struct ifaddrmsg *fixed,
			 const struct netlink_attribute *tb)
{
	const struct netlink_attribute *local = tb[IFA_LOCAL].data ? &tb[IFA_LOCAL]
								   : &tb[IFA_ADDRESS];
	struct net_address a = {.prefix = fixed->ifa_prefixlen, .scope = fixed->ifa_scope}, *out;

	a.flags = netlink_u32(&tb[IFA_FLAGS], fixed->ifa_flags) &
		  (IFA_F_NOPREFIXROUTE | IFA_F_MANAGETEMPADDR | IFA_F_HOMEADDRESS);
	a.priority = netlink_u32(&tb[IFA_RT_PRIORITY], 0);
	a.len = take_address(local, a.address);
	if (!a.len || (link->loopback && is_loopbacks_own(&a)))
		return;
	a.has_peer = take_bytes(&tb[IFA_ADDRESS], a.peer, a.len) &&
		     memcmp(a.peer, a.address, a.len) != 0;
	a.has_broadcast = a.len == 4 && take_bytes(&tb[IFA_BROADCAST], a.broadcast, 4);
	out = grow(scan, &link->addresses, &link->naddresses, sizeof(a), MACHINE_NET_ADDRESSES_MAX,
		   "addresses on one interface");
	if (out)
		*out = a;
}

static void on_address(const struct netlink_entry *entry, void *arg)
{
	const struct ifaddrmsg *fixed = entry->fixed;
	struct netlink_attribute tb[IFA_PROTO_ATTRIBUTE + 1];
	struct scan *scan = arg;
	struct net_link *link;
	uint32_t flags;

	if (scan->error || entry->type != RTM_NEWADDR)
		return;
	netlink_attributes(entry->attributes, entry->attributes_len, tb, IFA_PROTO_ATTRIBUTE);
	link = find_link(scan->state, (int)fixed->ifa_index);
	flags = netlink_u32(&tb[IFA_FLAGS], fixed->ifa_flags);
	if (link && !(flags & IFA_F_DADFAILED) &&
	    !is_autoconfigured(fixed, flags, &tb[IFA_PROTO_ATTRIBUTE]))
		note_address(scan, link, fixed, tb);
}

/* ---- neighbours ---- */

static void on_neighbour(const struct netlink_entry *entry, void *arg)
{
	const struct ndmsg *fixed = entry->fixed;
	struct netlink_attribute tb[NDA_LLADDR + 1];
	struct net_neighbour n = {0}, *out;
	struct scan *scan = arg;
	struct net_link *link;

	if (scan->error || entry->type != RTM_NEWNEIGH || !(fixed->ndm_state & NUD_PERMANENT) ||
	    (fixed->ndm_flags & NTF_PROXY))
		return;
	netlink_attributes(entry->attributes, entry->attributes_len, tb, NDA_LLADDR);
	link = find_link(scan->state, fixed->ndm_ifindex);
	n.len = take_address(&tb[NDA_DST], n.address);
	if (!link || link->loopback || !n.len || !take_bytes(&tb[NDA_LLADDR], n.mac, sizeof(n.mac)))
		return;
	out = grow(scan, &link->neighbours, &link->nneighbours, sizeof(n),
		   MACHINE_NET_NEIGHBOURS_MAX, "static neighbours on one interface");
	if (out)
		*out = n;
}

/* ---- routes ---- */

static bool is_wanted_route(const struct rtmsg *fixed)
{
	if (fixed->rtm_table != RT_TABLE_MAIN || (fixed->rtm_flags & RTM_F_CLONED) ||
	    fixed->rtm_src_len || fixed->rtm_protocol == RTPROT_KERNEL ||
	    fixed->rtm_protocol == RTPROT_RA || fixed->rtm_protocol == RTPROT_REDIRECT)
		return false;
	switch (fixed->rtm_type) {
	case RTN_UNICAST:
	case RTN_BLACKHOLE:
	case RTN_UNREACHABLE:
	case RTN_PROHIBIT:
	case RTN_THROW:
		return true;
	default:
		return false;
	}
}

/* An IPv4 route's gateway may be an IPv6 address: struct rtvia */
static void take_gateway(const struct netlink_attribute *tb, struct net_hop *hop)
{
	const struct netlink_attribute *via = &tb[RTA_VIA];

	hop->gateway_len = take_address(&tb[RTA_GATEWAY], hop->gateway);
	if (!hop->gateway_len && via->data && via->len == 2 + sizeof(hop->gateway)) {
		hop->gateway_len = sizeof(hop->gateway);
		memcpy(hop->gateway, (const uint8_t *)via->data + 2, sizeof(hop->gateway));
	}
}

static struct net_hop *add_hop(struct scan *scan, struct net_route *route)
{
	return grow(scan, &route->hops, &route->nhops, sizeof(*route->hops), MACHINE_NET_HOPS_MAX,
		    "ways of one route");
}

static void note_hops(struct scan *scan, struct net_route *route,
		      const struct netlink_attribute *list)
{
	const uint8_t *at = list->data;
	size_t left = list->len;
	struct rtnexthop hop;

	while (left >= sizeof(hop)) {
		struct netlink_attribute tb[RTA_VIA + 1];
		struct net_hop *out;
		size_t step;

		memcpy(&hop, at, sizeof(hop));
		if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > left ||
		    !(out = add_hop(scan, route)))
			return;
		netlink_attributes(at + sizeof(hop), hop.rtnh_len - sizeof(hop), tb, RTA_VIA);
		out->ifindex = hop.rtnh_ifindex;
		out->weight = hop.rtnh_hops;
		out->onlink = hop.rtnh_flags & RTNH_F_ONLINK;
		take_gateway(tb, out);
		step = RTNH_ALIGN(hop.rtnh_len);
		if (step >= left)
			return;
		left -= step;
		at += step;
	}
}

static void take_metrics(struct net_route *route, const struct netlink_attribute *metrics)
{
	struct netlink_attribute tb[RTAX_ADVMSS + 1];

	netlink_nested(metrics, tb, RTAX_ADVMSS);
	route->mtu = netlink_u32(&tb[RTAX_MTU], 0);
	route->advmss = netlink_u32(&tb[RTAX_ADVMSS], 0);
}

static void note_route(struct scan *scan, const struct rtmsg *fixed,
		       const struct netlink_attribute *tb)
{
	struct net_state *state = scan->state;
	struct net_route *out = grow(scan, &state->routes, &state->nroutes, sizeof(*out),
				     MACHINE_NET_ROUTES_MAX, "routes");
	struct net_hop *hop;

	if (!out)
		return;
	out->family = fixed->rtm_family;
	out->prefix = fixed->rtm_dst_len;
	out->type = fixed->rtm_type;
	out->scope = fixed->rtm_scope;
	out->protocol = fixed->rtm_protocol;
	out->tos = fixed->rtm_tos;
	out->destination_len = take_address(&tb[RTA_DST], out->destination);
	out->source_len = take_address(&tb[RTA_PREFSRC], out->source);
	out->priority = netlink_u32(&tb[RTA_PRIORITY], 0);
	take_metrics(out, &tb[RTA_METRICS]);
	if (out->type != RTN_UNICAST)
		return; /* IPv6 names the loopback interface as their way */
	if (tb[RTA_MULTIPATH].data) {
		note_hops(scan, out, &tb[RTA_MULTIPATH]);
	} else if (tb[RTA_OIF].data && (hop = add_hop(scan, out))) {
		hop->ifindex = (int)netlink_u32(&tb[RTA_OIF], 0);
		hop->onlink = fixed->rtm_flags & RTNH_F_ONLINK;
		take_gateway(tb, hop);
	}
}

static void on_route(const struct netlink_entry *entry, void *arg)
{
	const struct rtmsg *fixed = entry->fixed;
	struct netlink_attribute tb[RTA_VIA + 1];
	struct scan *scan = arg;

	if (scan->error || entry->type != RTM_NEWROUTE || !is_wanted_route(fixed))
		return;
	netlink_attributes(entry->attributes, entry->attributes_len, tb, RTA_VIA);
	if (fixed->rtm_family == AF_INET || fixed->rtm_family == AF_INET6)
		note_route(scan, fixed, tb);
}

/* ---- dumps ---- */

static const struct dump {
	uint16_t type;
	void (*on_entry)(const struct netlink_entry *entry, void *arg);
	size_t fixed_len;
} dumps[] = {
	/* Links first: what follows is of links that are wanted */
	{RTM_GETLINK, on_link, sizeof(struct ifinfomsg)},
	{RTM_GETADDR, on_address, sizeof(struct ifaddrmsg)},
	{RTM_GETNEIGH, on_neighbour, sizeof(struct ndmsg)},
	{RTM_GETROUTE, on_route, sizeof(struct rtmsg)},
};

static int scan_once(int sock, struct scan *scan)
{
	/* All zeros: every family, no filter */
	const uint8_t fixed[sizeof(struct ifinfomsg)] = {0};

	for (size_t i = 0; i < ARRAY_SIZE(dumps); i++) {
		int r = netlink_dump(sock, dumps[i].type, fixed, dumps[i].fixed_len,
				     dumps[i].on_entry, scan);

		if (r < 0 || scan->error)
			return r;
	}
	return 0;
}

int net_scan(int sock, struct net_state *out, struct err *err)
{
	struct net_state state = {0};
	struct scan scan = {.state = &state, .err = err};
	int r = -EINTR;

	*out = (struct net_state){0};
	for (int i = 0; i < DUMP_TRIES && r == -EINTR; i++) {
		net_state_release(&state);
		scan.error = 0;
		r = scan_once(sock, &scan);
	}
	if (r == 0 && !scan.error) {
		*out = state;
		return 0;
	}
	net_state_release(&state);
	return scan.error ?: err_sys(err, -r, "looking at the network");
}
