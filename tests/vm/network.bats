#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What is in a container's network namespace is in its guest, works, follows, and leaves nothing behind.
#
# A bridge of the host's with 10.209.0.1 and fd09::1; the namespace caisson-test with eth0, 10.209.0.2 and fd09::2.

load helpers

setup() {
	# the directory of named ones is a mount, and stays
	ip netns add caisson-test && ip netns del caisson-test
	# what the first use of a kind loads stays too
	for t in veth bridge dummy macvlan; do ip link add csn-x type $t 2> /dev/null && ip link del csn-x; done
	common_setup
	ip netns add caisson-test
	ip link add csn-br type bridge
	ip addr add 10.209.0.1/24 dev csn-br
	ip addr add fd09::1/64 dev csn-br nodad
	ip link set csn-br up
	bundle
	for a in ip ping ping6 wget httpd cmp; do ln -sf busybox "$BUNDLE/rootfs/bin/$a"; done
	edit '.linux.namespaces |= (map(select(.type != "network")) + [{type: "network", path: "/run/netns/caisson-test"}]) |
		.process.capabilities |= map_values(. + ["CAP_NET_RAW", "CAP_NET_ADMIN"])'
	args sleep 100000
}
teardown() {
	ip netns pids caisson-test 2> /dev/null | xargs -r kill -9
	[[ ! -s $WORK/httpd ]] || kill "$(cat "$WORK/httpd")" 2> /dev/null || true
	ip netns del caisson-test 2> /dev/null || true
	ip link del csn-br 2> /dev/null || true
	ip link del csn-mac0 2> /dev/null || true
	common_teardown
}

# attach NAME ADDRESS...: an interface of the namespace on the bridge
attach() {
	local name=$1
	shift
	ip link add "csn-$name" type veth peer name "$name" netns caisson-test
	ip link set "csn-$name" master csn-br up
	for a in "$@"; do
		case $a in
		*:*) in_ns ip addr add "$a" dev "$name" nodad ;;
		*) in_ns ip addr add "$a" dev "$name" ;;
		esac
	done
	in_ns ip link set "$name" up
}
in_ns() { ip netns exec caisson-test "$@"; }
in_guest() { runtime exec c1 "$@"; }
# guest_says WORDS COMMAND...: within half a minute
guest_says() {
	local words=$1
	shift
	within 30 guest_says_now "$words" "$@" || { in_guest "$@"; echo "does not say '$words'"; return 1; }
}
guest_says_now() {
	local words=$1
	shift
	[[ $(in_guest "$@") == *"$words"* ]]
}
guest_lacks() {
	local words=$1
	shift
	within 30 guest_lacks_now "$words" "$@" || { in_guest "$@"; echo "still says '$words'"; return 1; }
}
guest_lacks_now() {
	local words=$1 said
	shift
	said=$(in_guest "$@") && [[ $said != *"$words"* ]]
}
host_reaches() { within 30 busybox ping -c 1 -W 3 "$1"; }
guest_reaches() { within 30 runtime exec c1 ping -c 1 -W 3 "$1"; }
# a line of its own to the host, with the host's addresses
attach_alone() { # NAME HOST-ADDRESS ADDRESS...
	local host=$2
	ip link add "csn-$1" type veth peer name "$1" netns caisson-test
	ip addr add "$host" dev "csn-$1"
	ip link set "csn-$1" up
	in_ns ip link set "$1" up
	set -- "$1" "${@:3}"
	for a in "${@:2}"; do in_ns ip addr add "$a" dev "$1"; done
}
is_lived_in() { [[ -n $(ip netns pids caisson-test) ]]; }
# nothing of ours is in the namespace
is_clean() {
	local said
	said=$(in_ns ip link; in_ns tc qdisc; for i in $(in_ns ls /sys/class/net); do in_ns tc filter show dev "$i" ingress; done)
	[[ $said != *caisson* && $said != *clsact* && $said != *mirred* ]] || { echo "$said"; return 1; }
}

@test "network: an interface is in the guest as it is on the host, and nothing stays behind" {
	attach eth0 10.209.0.2/24 10.209.0.22/24 fd09::2/64
	in_ns ip link set eth0 address 02:aa:bb:cc:dd:01 mtu 1420
	in_ns ip route add default via 10.209.0.1 metric 50
	in_ns ip route add 192.0.2.0/24 dev eth0 scope link src 10.209.0.22
	in_ns ip route add 198.51.100.0/24 via 203.0.113.1 dev eth0 onlink
	in_ns ip -6 route add default via fd09::1
	in_ns ip neigh add 10.209.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent
	edit '.linux.sysctl = {"net.ipv4.conf.eth0.forwarding": "1"}'
	# a program sees it from its first instruction on
	sh_args 'ip addr show eth0 > /root/first; ip route >> /root/first; exec sleep 100000'
	detach c1
	within 30 grep -q default "$BUNDLE/rootfs/root/first"
	first=$(cat "$BUNDLE/rootfs/root/first")
	[[ $first == *"mtu 1420"* ]]
	[[ $first == *"link/ether 02:aa:bb:cc:dd:01"* ]]
	[[ $first == *"inet 10.209.0.2/24"* && $first == *"inet 10.209.0.22/24"* && $first == *"inet6 fd09::2/64"* ]]
	[[ $first == *"default via 10.209.0.1 dev eth0"*"metric 50"* ]]
	[[ $first == *"192.0.2.0/24 dev eth0 scope link  src 10.209.0.22"* ]]
	[[ $first == *"198.51.100.0/24 via 203.0.113.1 dev eth0 onlink"* ]]
	[[ $(in_guest ip -6 route) == *"default via fd09::1 dev eth0"* ]]
	[[ $(in_guest ip neigh) == *"10.209.0.77 dev eth0 lladdr 02:00:00:00:00:77"*PERMANENT* ]]
	[[ $(in_guest cat /proc/sys/net/ipv4/conf/eth0/forwarding) == 1 ]]
	# the link-local address is the host's too
	local linklocal
	linklocal=$(in_ns ip -6 addr show dev eth0 scope link | sed -n 's/.*inet6 \([^ ]*\).*/\1/p')
	[[ -n $linklocal && $(in_guest ip addr show eth0) == *"$linklocal"* ]]
	guest_reaches 10.209.0.1
	guest_reaches fd09::1
	host_reaches 10.209.0.2
	host_reaches 10.209.0.22
	host_reaches fd09::2
	# the host's side of the namespace sees none of it
	in_ns ip addr show eth0 | grep -q 'inet 10.209.0.2/24'
	runtime delete --force c1
	is_clean
	in_ns ip addr show eth0 | grep -q 'inet 10.209.0.2/24'
}

@test "network: ten megabytes over TCP, both ways" {
	attach eth0 10.209.0.2/24
	head -c 10485760 /dev/urandom > "$BUNDLE/rootfs/tmp/data"
	sh_args 'exec httpd -f -p 8080 -h /tmp'
	detach c1
	mkdir "$WORK/www"
	cp "$BUNDLE/rootfs/tmp/data" "$WORK/www"
	busybox httpd -f -p 10.209.0.1:8080 -h "$WORK/www" 3>&- &
	echo $! > "$WORK/httpd"
	within 30 busybox wget -q -O "$WORK/got" http://10.209.0.2:8080/data
	cmp "$WORK/got" "$WORK/www/data"
	in_guest wget -q -O /tmp/got http://10.209.0.1:8080/data
	cmp "$BUNDLE/rootfs/tmp/got" "$WORK/www/data"
}

@test "network: what comes, changes and goes while it runs" {
	attach eth0 10.209.0.2/24
	detach c1
	guest_reaches 10.209.0.1
	# a second one comes, as with docker network connect
	attach_alone eth1 10.211.0.1/24 10.211.0.3/24 fd0b::3/64
	ip addr add fd0b::1/64 dev csn-eth1 nodad
	guest_says "inet 10.211.0.3/24" ip addr show eth1
	in_ns ip route add 192.0.2.0/24 via 10.211.0.1 dev eth1
	guest_says "192.0.2.0/24 via 10.211.0.1 dev eth1" ip route
	host_reaches 10.211.0.3
	host_reaches fd0b::3
	# another address
	in_ns ip addr del 10.211.0.3/24 dev eth1
	in_ns ip addr add 10.211.0.4/24 dev eth1
	guest_says "10.211.0.4/24" ip addr show eth1
	guest_lacks "10.211.0.3/24" ip addr show eth1
	host_reaches 10.211.0.4
	# MTU, name, down
	in_ns ip link set eth1 mtu 1300
	guest_says "mtu 1300" ip link show eth1
	in_ns ip link set eth1 down
	guest_lacks "UP" ip link show eth1
	in_ns ip link set eth1 name net7
	in_ns ip link set net7 up
	guest_says "UP" ip link show net7
	host_reaches 10.211.0.4
	# gone; the other works on, and a third takes the place
	ip link del csn-eth1
	guest_lacks net7 ip link
	guest_reaches 10.209.0.1
	attach_alone eth2 10.212.0.1/24 10.212.0.5/24
	guest_says "10.212.0.5/24" ip addr show eth2
	host_reaches 10.212.0.5
	runtime delete --force c1
	is_clean
}

@test "network: what comes between create and start is there when the program starts" {
	edit '.linux.namespaces |= (map(select(.type != "network")) + [{type: "network"}])'
	sh_args 'ip addr > /root/first; ip route >> /root/first; exec sleep 100000'
	runtime create --bundle "$BUNDLE" c1 > "$WORK/said" 2>&1 < /dev/null
	# as an engine does: a link that was made elsewhere is moved in
	ip link add csn-eth0 type veth peer name csn-peer
	ip link set csn-eth0 master csn-br up
	ip link set csn-peer netns "$(pid_of c1)" name eth0
	nsenter --net="/proc/$(pid_of c1)/ns/net" sh -c \
		'ip addr add 10.209.0.9/24 dev eth0; ip link set eth0 up; ip route add default via 10.209.0.1'
	runtime start c1
	within 30 grep -q default "$BUNDLE/rootfs/root/first"
	grep -q 'inet 10.209.0.9/24' "$BUNDLE/rootfs/root/first"
	host_reaches 10.209.0.9
}

@test "network: a createRuntime hook makes two interfaces" {
	edit '.linux.namespaces |= (map(select(.type != "network")) + [{type: "network"}])'
	cat > "$WORK/hook" <<-'END'
		#!/bin/bash
		pid=$(jq .pid)
		for i in 0 1; do
			ip link add csn-h$i type veth peer name eth$i netns $pid
			ip link set csn-h$i master csn-br up
			nsenter --net=/proc/$pid/ns/net sh -c "ip addr add 10.209.0.1$i/24 dev eth$i; ip link set eth$i up"
		done
	END
	chmod 755 "$WORK/hook"
	edit '.hooks.createRuntime = [{path: $p, env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]' --arg p "$WORK/hook"
	sh_args 'ip addr > /root/first; exec sleep 100000'
	detach c1
	within 30 grep -q 'inet 10.209.0.11/24' "$BUNDLE/rootfs/root/first"
	grep -q 'inet 10.209.0.10/24' "$BUNDLE/rootfs/root/first"
	host_reaches 10.209.0.10
	host_reaches 10.209.0.11
}

@test "network: macvlan and ipvlan" {
	ip link add csn-mac0 type dummy
	ip link set csn-mac0 up
	ip link add link csn-mac0 name mv0 netns caisson-test type macvlan mode bridge
	ip netns exec caisson-test ip addr add 10.210.0.2/24 dev mv0
	ip netns exec caisson-test ip link set mv0 up
	ip link add link csn-mac0 name csn-mac1 type macvlan mode bridge
	ip addr add 10.210.0.1/24 dev csn-mac1
	ip link set csn-mac1 up
	ip link add link csn-br name iv0 netns caisson-test type ipvlan mode l2
	in_ns ip addr add 10.209.0.12/24 dev iv0
	in_ns ip link set iv0 up
	attach eth0 10.209.0.2/24
	detach c1
	busybox ping -c 1 -w 30 10.210.0.2
	in_guest ip addr show iv0 | grep -q 10.209.0.12/24
	ip netns add caisson-peer
	ip link add csn-eth9 type veth peer name eth9 netns caisson-peer
	ip link set csn-eth9 master csn-br up
	ip -n caisson-peer addr add 10.209.0.99/24 dev eth9
	ip -n caisson-peer link set eth9 up
	ip netns exec caisson-peer busybox ping -c 1 -w 30 10.209.0.12
	ip netns del caisson-peer
}

@test "network: after kill -9 of the monitor, delete clears a namespace that survives" {
	attach eth0 10.209.0.2/24
	detach c1
	kill -9 "$(pid_of c1)"
	within 30 status_is c1 stopped
	in_ns tc filter show dev eth0 ingress | grep -q mirred
	runtime delete --force c1
	is_clean
	# and somebody else's qdisc and filter are left alone
	in_ns tc qdisc add dev eth0 clsact
	in_ns tc filter add dev eth0 ingress pref 7 matchall action pass
	detach c2
	runtime delete --force c2
	in_ns tc filter show dev eth0 ingress | grep -q 'pref 7'
	[[ $(in_ns tc filter show dev eth0 ingress) != *mirred* ]]
}

@test "network: a dead monitor's leftovers do not stop the next container" {
	attach eth0 10.209.0.2/24
	detach c2
	kill -9 "$(pid_of c2)"
	within 30 status_is c2 stopped
	detach c1
	host_reaches 10.209.0.2
	# what is there now is the living one's
	runtime delete --force c2
	host_reaches 10.209.0.2
}

@test "network: a namespace that is in use is refused, and its user keeps its network" {
	attach eth0 10.209.0.2/24
	detach c1
	cp -a "$BUNDLE" "$WORK/second"
	run -1 runtime create --bundle "$WORK/second" c2
	[[ $output == *"the network namespace is in use by "*"a network of its own"* ]]
	host_reaches 10.209.0.2
	runtime delete --force c1
	in_ns sleep 1000 3>&- &
	within 10 is_lived_in
	run -1 runtime create --bundle "$BUNDLE" c1
	[[ $output == *"in use by process "*"(sleep)"* ]]
	is_clean
	[[ ! -e $ROOT/c1 && ! -e $ROOT/c2 ]]
}

host_links() { ip -o link | sed 's/^[0-9]*: //' | cut -d: -f1; tc qdisc | grep -E 'clsact|ingress' || true; }

@test "network: the host's own namespace is left alone" {
	local before
	edit '.linux.namespaces |= map(select(.type != "network"))'
	before=$(host_links)
	runtime --log "$WORK/log" run --detach c1 > "$WORK/said" 2>&1 < /dev/null
	grep -q "shares the host's network namespace" "$WORK/log"
	[[ $(host_links) == "$before" ]]
	[[ $(in_guest ip -o link | wc -l) == 1 ]]
	in_guest ping -c 1 -w 30 127.0.0.1
}

@test "network: with a user namespace the container's root owns its interfaces" {
	attach eth0 10.209.0.2/24
	in_ns ip route add default via 10.209.0.1
	edit '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 0, size: 65536}] |
		.linux.gidMappings = .linux.uidMappings'
	detach c1
	[[ $(in_guest ip addr show eth0) == *"inet 10.209.0.2/24"* ]]
	[[ $(in_guest ip route) == *"default via 10.209.0.1 dev eth0"* ]]
	host_reaches 10.209.0.2
	in_guest ip link add csn-own type dummy
	attach eth1 10.209.0.3/24
	guest_says "10.209.0.3/24" ip addr show eth1
	host_reaches 10.209.0.3
}

@test "network: more interfaces than a guest has slots are refused by name" {
	for i in 0 1 2 3 4 5 6 7 8; do attach "eth$i" "10.209.0.2$i/24"; done
	run -1 runtime create --bundle "$BUNDLE" c1
	[[ $output == *"more than 9 interfaces"* ]]
	is_clean
}

@test "network: without vhost-net the vmm moves the packets" {
	attach eth0 10.209.0.2/24
	head -c 3000000 /dev/urandom > "$BUNDLE/rootfs/tmp/data"
	sh_args 'exec httpd -f -p 8080 -h /tmp'
	# a device node that cannot be opened, in a mount namespace of its own
	unshare -m --propagation private sh -c 'if [ -e /dev/vhost-net ]; then mount --bind /dev/vhost-net /dev/vhost-net &&
		mount -o remount,bind,nodev /dev/vhost-net; fi; exec "$@"' sh \
		"$CAISSON" --debug --log "$WORK/log" --root "$ROOT" run --detach c1 > "$WORK/said" 2>&1 < /dev/null
	grep -q "'eth0' is device 0 of the guest, 1 queue pairs, served by the vmm" "$WORK/log"
	host_reaches 10.209.0.2
	within 30 busybox wget -q -O "$WORK/got" http://10.209.0.2:8080/data
	cmp "$WORK/got" "$BUNDLE/rootfs/tmp/data"
}
