/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SetNetwork requests (guest/agent.proto): what the agent's check lets through must fit into the kernel's messages, which are
 * built here and sent nowhere.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest/network.h"
#include "guest/network_rtnl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* -EBADF is that of the missing socket: the message was complete */
static void expect_built(int r)
{
	if (r != -EBADF)
		abort();
}

static void build_interface(const Caisson__Agent__NetworkInterface *it)
{
	if (strlen(it->name) >= IFNAMSIZ || strchr(it->name, '/'))
		abort();
	expect_built(rtnl_rename(-1, 1, it->name));
	expect_built(rtnl_set_mac(-1, 1, &it->mac));
	expect_built(rtnl_set_mtu(-1, 1, it->mtu));
	for (size_t i = 0; i < it->n_addresses; i++) {
		expect_built(rtnl_address(-1, 1, it->addresses[i], true));
		expect_built(rtnl_address(-1, 1, it->addresses[i], false));
	}
	for (size_t i = 0; i < it->n_neighbours; i++)
		expect_built(rtnl_neighbour(-1, 1, it->neighbours[i], true));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const int hops[MACHINE_NET_HOPS_MAX] = {1};
	Caisson__Agent__SetNetworkRequest *request = caisson__agent__set_network_request__unpack(
		NULL, size, data);
	struct err err = {0};

	if (!request)
		return 0;
	if (network_check(request, &err) == 0) {
		for (size_t i = 0; i < request->n_interfaces; i++)
			build_interface(request->interfaces[i]);
		for (size_t i = 0; i < request->n_routes; i++) {
			expect_built(rtnl_route(-1, request->routes[i], hops, true));
			expect_built(rtnl_route(-1, request->routes[i], hops, false));
		}
	} else if (!err.msg[0]) {
		abort();
	}
	caisson__agent__set_network_request__free_unpacked(request, NULL);
	return 0;
}
