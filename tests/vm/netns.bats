#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The container's network namespace is one of the host's: new, by path, or the host's own. Engines reach it through /proc/PID/ns/net.

load helpers

setup() {
	# the directory of named ones is a mount, and stays
	ip netns add caisson-test && ip netns del caisson-test
	common_setup
	bundle
	args sleep 100000
}
teardown() {
	ip netns del caisson-test 2> /dev/null || true
	common_teardown
}

network() { # JQ: the namespace's entry, or empty
	edit '.linux.namespaces |= (map(select(.type != "network")) + ['"$1"'])'
}
net_of() { readlink "/proc/$(pid_of "$1")/ns/net"; }

@test "netns: a new one, which goes with the container" {
	network '{type: "network"}'
	detach c1
	[[ $(net_of c1) != "$(readlink /proc/self/ns/net)" ]]
	# there for engines to fill
	ip link add caisson-test0 type dummy
	ip link set caisson-test0 netns "$(pid_of c1)"
	nsenter --net="/proc/$(pid_of c1)/ns/net" ip link show caisson-test0
	runtime delete --force c1
	run -1 ip link show caisson-test0
}

@test "netns: one by path is joined, and stays" {
	ip netns add caisson-test
	network '{type: "network", path: "/run/netns/caisson-test"}'
	detach c1
	[[ $(net_of c1) == "net:[$(stat -L -c %i /run/netns/caisson-test)]" ]]
	runtime delete --force c1
	ip netns exec caisson-test true
}

@test "netns: without an entry it is the host's own" {
	network ''
	detach c1
	[[ $(net_of c1) == "$(readlink /proc/self/ns/net)" ]]
	runtime delete --force c1
}

@test "netns: a path that is missing or no network namespace is named" {
	network '{type: "network", path: "/run/netns/none-such"}'
	run -1 runtime create --bundle "$BUNDLE" c1
	[[ $output == *"network '/run/netns/none-such': missing"* ]]
	network '{type: "network", path: "/proc/self/ns/uts"}'
	run -1 runtime create --bundle "$BUNDLE" c1
	[[ $output == *"joining the network namespace '/proc/self/ns/uts'"* ]]
	[[ ! -e $ROOT/c1 ]]
}
