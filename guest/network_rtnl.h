/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The single changes that guest/network.c is made of, each one request to the kernel. @fd: netlink_open().
 * All return 0 or -errno; "is there already" and "is not there" are no errors where the outcome is what was asked for.
 */
#ifndef GUEST_NETWORK_RTNL_H
#define GUEST_NETWORK_RTNL_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/agent.pb-c.h"

int rtnl_rename(int fd, int ifindex, const char *name);
/** rtnl_move() - To the network namespace of @netns_fd */
int rtnl_move(int fd, int ifindex, int netns_fd);
int rtnl_set_mac(int fd, int ifindex, const ProtobufCBinaryData *mac);
int rtnl_set_mtu(int fd, int ifindex, uint32_t mtu);
int rtnl_set_flags(int fd, int ifindex, bool up, bool noarp);
/** rtnl_no_link_local() - The kernel makes no link-local address by itself: the host's is among the addresses */
int rtnl_no_link_local(int fd, int ifindex);

int rtnl_address(int fd, int ifindex, const Caisson__Agent__NetworkAddress *address, bool add);
int rtnl_neighbour(int fd, int ifindex, const Caisson__Agent__NetworkNeighbour *neighbour,
		   bool add);
/** rtnl_route() - @hops: the interfaces' numbers, one per hop */
int rtnl_route(int fd, const Caisson__Agent__NetworkRoute *route, const int *hops, bool add);

#endif
