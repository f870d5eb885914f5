#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The network device itself, without containers: late slots filled, bound, used, emptied and filled again, by the vmm's thread and
# by vhost-net. The guest (net_init) checks every byte of what it receives, the host (net_boot) of what it gets.

load helpers

setup() {
	common_setup
	command -v modprobe > /dev/null && modprobe -qa tun vhost_net || true
	"$TESTS/../guest/initramfs.sh" "$TOOLS/net_init" "$WORK/initramfs"
}
teardown() { common_teardown; }

net_boot() {
	run -0 "$TOOLS/net_boot" -k "$TESTS/../build/kernel/vmlinux" -i "$WORK/initramfs" -t 200 "$@"
	echo "$output"
	[[ $output == *'net: done'* && $output != *FAILED* ]]
}

vhost() { [[ -c /dev/vhost-net ]] || skip "no /dev/vhost-net"; }

@test "netdev: a slot is filled, bound, used, unbound, emptied, and filled again" {
	net_boot -r 4 -b 3000000 -q 20
	[[ $(grep -c 'net: ping answered' <<< "$output") == 4 ]]
	[[ $output == *'02:ca:15:50:00:09 mtu 1500'* ]]
	[[ $(grep -o 'unbound .' <<< "$output" | tr '\n' ' ') == 'unbound 0 unbound 1 unbound 2 unbound 0 ' ]]
}

@test "netdev: the guest takes the MTU that it is told" {
	net_boot -m 1280 -b 500000 -q 5
	[[ $output == *'mtu 1280'* ]]
	net_boot -m 9000 -b 3000000 -q 5
	[[ $output == *'mtu 9000'* ]]
}

@test "netdev: several pairs of queues" {
	net_boot -p 2 -r 2 -b 1000000 -q 5
}

@test "netdev: vhost-net moves the packets, with slots that are used again" {
	vhost
	net_boot -v -r 4 -b 3000000 -q 20
	[[ $(grep -c 'net: ping answered' <<< "$output") == 4 ]]
}

@test "netdev: vhost-net with several pairs of queues" {
	vhost
	net_boot -v -p 2 -r 2 -b 1000000 -q 5
}
