/* SPDX-License-Identifier: Apache-2.0 */
/* See guest/network_rtnl.h; the messages are those of rtnetlink(7). Lengths were checked by network_check(). */
#include "guest/network_rtnl.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/netlink.h"

#define ADDR_GEN_MODE_NONE 1 /* the kernel's IN6_ADDR_GEN_MODE_NONE */

static uint8_t family_of(const ProtobufCBinaryData *address)
{
	return address->len == 4 ? AF_INET : AF_INET6;
}

static void put_bytes(struct netlink_message *m, uint16_t type, const ProtobufCBinaryData *bytes)
{
	netlink_put(m, type, bytes->data, bytes->len);
}

/* ---- links ---- */

static void begin_link(struct netlink_message *m, int ifindex, unsigned int flags,
		       unsigned int change)
{
	const struct ifinfomsg link = {.ifi_family = AF_UNSPEC,
				       .ifi_index = ifindex,
				       .ifi_flags = flags,
				       .ifi_change = change};

	netlink_begin(m, RTM_NEWLINK, 0, &link, sizeof(link));
}

int rtnl_rename(int fd, int ifindex, const char *name)
{
	struct netlink_message m;

	begin_link(&m, ifindex, 0, 0);
	netlink_put(&m, IFLA_IFNAME, name, strlen(name) + 1);
	return netlink_send(fd, &m);
}

int rtnl_move(int fd, int ifindex, int netns_fd)
{
	struct netlink_message m;

	begin_link(&m, ifindex, 0, 0);
	netlink_put_u32(&m, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	return netlink_send(fd, &m);
}

int rtnl_set_mac(int fd, int ifindex, const ProtobufCBinaryData *mac)
{
	struct netlink_message m;

	begin_link(&m, ifindex, 0, 0);
	put_bytes(&m, IFLA_ADDRESS, mac);
	return netlink_send(fd, &m);
}

int rtnl_set_mtu(int fd, int ifindex, uint32_t mtu)
{
	struct netlink_message m;

	begin_link(&m, ifindex, 0, 0);
	netlink_put_u32(&m, IFLA_MTU, mtu);
	return netlink_send(fd, &m);
}

int rtnl_set_flags(int fd, int ifindex, bool up, bool noarp)
{
	struct netlink_message m;

	begin_link(&m, ifindex, (up ? IFF_UP : 0u) | (noarp ? IFF_NOARP : 0u), IFF_UP | IFF_NOARP);
	return netlink_send(fd, &m);
}

int rtnl_no_link_local(int fd, int ifindex)
{
	const uint8_t mode = ADDR_GEN_MODE_NONE;
	struct netlink_message m;
	size_t spec, inet6;
	int r;

	begin_link(&m, ifindex, 0, 0);
	spec = netlink_nest(&m, IFLA_AF_SPEC);
	inet6 = netlink_nest(&m, AF_INET6);
	netlink_put(&m, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
	netlink_nest_end(&m, inet6);
	netlink_nest_end(&m, spec);
	r = netlink_send(fd, &m);
	return r == -EAFNOSUPPORT ? 0 : r;
}

/* ---- addresses, neighbours ---- */

int rtnl_address(int fd, int ifindex, const Caisson__Agent__NetworkAddress *a, bool add)
{
	const struct ifaddrmsg fixed = {
		.ifa_family = family_of(&a->address),
		.ifa_prefixlen = (uint8_t)a->prefix,
		.ifa_scope = (uint8_t)a->scope,
		.ifa_index = (uint32_t)ifindex,
	};
	uint32_t flags = a->flags &
			 (IFA_F_NOPREFIXROUTE | IFA_F_MANAGETEMPADDR | IFA_F_HOMEADDRESS);
	struct netlink_message m;
	int r;

	if (fixed.ifa_family == AF_INET6)
		flags |= IFA_F_NODAD;
	netlink_begin(&m, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_REPLACE : 0,
		      &fixed, sizeof(fixed));
	put_bytes(&m, IFA_LOCAL, &a->address);
	put_bytes(&m, IFA_ADDRESS, a->peer.len ? &a->peer : &a->address);
	if (a->broadcast.len && add)
		put_bytes(&m, IFA_BROADCAST, &a->broadcast);
	if (add)
		netlink_put_u32(&m, IFA_FLAGS, flags);
	if (add && a->priority)
		netlink_put_u32(&m, IFA_RT_PRIORITY, a->priority);
	r = netlink_send(fd, &m);
	if (!add && (r == -EADDRNOTAVAIL || r == -ENODEV))
		return 0;
	return r == -EEXIST ? 0 : r;
}

int rtnl_neighbour(int fd, int ifindex, const Caisson__Agent__NetworkNeighbour *n, bool add)
{
	const struct ndmsg fixed = {
		.ndm_family = family_of(&n->address),
		.ndm_ifindex = ifindex,
		.ndm_state = NUD_PERMANENT,
	};
	struct netlink_message m;
	int r;

	netlink_begin(&m, add ? RTM_NEWNEIGH : RTM_DELNEIGH, add ? NLM_F_CREATE | NLM_F_REPLACE : 0,
		      &fixed, sizeof(fixed));
	put_bytes(&m, NDA_DST, &n->address);
	if (add)
		put_bytes(&m, NDA_LLADDR, &n->mac);
	r = netlink_send(fd, &m);
	return !add && (r == -ENOENT || r == -ENXIO) ? 0 : r;
}

/* ---- routes ---- */

static void put_gateway(struct netlink_message *m, uint32_t family,
			const ProtobufCBinaryData *gateway)
{
	struct {
		uint16_t family;
		uint8_t address[16];
	} via = {.family = AF_INET6};

	if (!gateway->len)
		return;
	if (family == AF_INET && gateway->len == 16) {
		memcpy(via.address, gateway->data, sizeof(via.address));
		netlink_put(m, RTA_VIA, &via, sizeof(via));
		return;
	}
	put_bytes(m, RTA_GATEWAY, gateway);
}

static uint8_t hop_flags(const Caisson__Agent__NetworkHop *hop)
{
	return hop->onlink ? RTNH_F_ONLINK : 0;
}

static void put_hops(struct netlink_message *m, const Caisson__Agent__NetworkRoute *route,
		     const int *hops)
{
	size_t list = netlink_nest(m, RTA_MULTIPATH);

	for (size_t i = 0; i < route->n_hops; i++) {
		struct rtnexthop hop = {
			.rtnh_flags = hop_flags(route->hops[i]),
			.rtnh_hops = (uint8_t)route->hops[i]->weight,
			.rtnh_ifindex = hops[i],
		};
		size_t start = netlink_put_raw(m, &hop, sizeof(hop));

		put_gateway(m, route->family, &route->hops[i]->gateway);
		hop.rtnh_len = (uint16_t)(m->len - start);
		if (!m->overflow)
			memcpy(m->bytes + start, &hop, sizeof(hop));
	}
	netlink_nest_end(m, list);
}

static void put_metrics(struct netlink_message *m, const Caisson__Agent__NetworkRoute *route)
{
	size_t metrics;

	if (!route->mtu && !route->advmss)
		return;
	metrics = netlink_nest(m, RTA_METRICS);
	if (route->mtu)
		netlink_put_u32(m, RTAX_MTU, route->mtu);
	if (route->advmss)
		netlink_put_u32(m, RTAX_ADVMSS, route->advmss);
	netlink_nest_end(m, metrics);
}

static void put_route(struct netlink_message *m, const Caisson__Agent__NetworkRoute *route,
		      const int *hops)
{
	if (route->destination.len)
		put_bytes(m, RTA_DST, &route->destination);
	if (route->source.len)
		put_bytes(m, RTA_PREFSRC, &route->source);
	if (route->priority)
		netlink_put_u32(m, RTA_PRIORITY, route->priority);
	put_metrics(m, route);
	if (route->n_hops == 1) {
		netlink_put_u32(m, RTA_OIF, (uint32_t)hops[0]);
		put_gateway(m, route->family, &route->hops[0]->gateway);
	} else if (route->n_hops) {
		put_hops(m, route, hops);
	}
}

int rtnl_route(int fd, const Caisson__Agent__NetworkRoute *route, const int *hops, bool add)
{
	const struct rtmsg fixed = {
		.rtm_family = (uint8_t)route->family,
		.rtm_dst_len = (uint8_t)route->prefix,
		.rtm_tos = (uint8_t)route->tos,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = (uint8_t)route->protocol,
		.rtm_scope = (uint8_t)route->scope,
		.rtm_type = (uint8_t)route->type,
		.rtm_flags = route->n_hops == 1 ? hop_flags(route->hops[0]) : 0,
	};
	struct netlink_message m;
	int r;

	netlink_begin(&m, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0,
		      &fixed, sizeof(fixed));
	put_route(&m, route, hops);
	r = netlink_send(fd, &m);
	if (!add && (r == -ESRCH || r == -ENODEV || r == -ENETDOWN))
		return 0;
	return r == -EEXIST ? 0 : r;
}
