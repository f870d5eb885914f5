#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# An engine's resolver at 127.0.0.11 of the container's network namespace answers in the guest, and its port stays the container's.

load helpers

setup() {
	ip netns add caisson-test && ip netns del caisson-test
	ip link add csn-x type dummy 2> /dev/null && ip link del csn-x
	common_setup
	ip netns add caisson-test
	ip netns exec caisson-test ip link set lo up
	bundle
	cp "$TOOLS/udp" "$BUNDLE/rootfs/bin"
	for a in nslookup nc netstat; do ln -sf busybox "$BUNDLE/rootfs/bin/$a"; done
	edit '.linux.namespaces |= (map(select(.type != "network")) + [{type: "network", path: "/run/netns/caisson-test"}]) |
		.process.capabilities |= map_values(. + ["CAP_NET_BIND_SERVICE"])'
	args sleep 100000
}
teardown() {
	[[ -z ${DNS:-} ]] || kill "$DNS" 2> /dev/null || true
	[[ -z ${HOSTSIDE:-} ]] || kill "$HOSTSIDE" 2> /dev/null || true
	[[ -z ${OUTSIDE:-} ]] || kill "$OUTSIDE" 2> /dev/null || true
	ip link del csn-x 2> /dev/null || true
	ip netns del caisson-test 2> /dev/null || true
	common_teardown
}

in_guest() { runtime exec c1 "$@"; }
# serve [--nat]: the resolver
serve() {
	python3 "$BATS_TEST_DIRNAME/dns.py" /run/netns/caisson-test "$@" > "$WORK/ports" 3>&- &
	DNS=$!
	within 30 test -s "$WORK/ports"
}
# such as engines attach; the monitor looks at the resolver when it sees one come
attach() {
	ip link add "$1" netns caisson-test type dummy
	ip netns exec caisson-test ip addr add 10.209.7.2/24 dev "$1"
	ip netns exec caisson-test ip link set "$1" up
}
resolves() { [[ $(in_guest nslookup -type=a "$1.test" 127.0.0.11) == *10.9.8.7* ]]; }

# a veth to this machine, where a server for the resolver is
attach_outside() {
	ip link add csn-x type veth peer name eth0 netns caisson-test
	ip addr add 10.209.7.1/24 dev csn-x
	ip addr add fd00:209::1/64 dev csn-x nodad
	ip link set csn-x up
	ip netns exec caisson-test ip addr add 10.209.7.2/24 dev eth0
	ip netns exec caisson-test ip addr add fd00:209::2/64 dev eth0 nodad
	ip netns exec caisson-test ip link set eth0 up
	python3 "$BATS_TEST_DIRNAME/dns.py" outside 10.209.7.1 fd00:209::1 > "$WORK/outside" 3>&- &
	OUTSIDE=$!
	within 30 test -s "$WORK/outside"
}
resolves_outside() { [[ $(in_guest nslookup -type=a "$1.test" 127.0.0.11) == *10.66.0.1* ]]; }
answers_filter() { ip netns exec caisson-test tc filter show dev eth0 ingress | grep caisson-answers; }

@test "resolver: one that asks servers outside from within the namespace" {
	serve
	attach_outside
	detach c1
	within 30 resolves web
	within 30 resolves_outside outside
	within 30 resolves_outside outside6
	within 30 resolves_outside outsidetcp
	# and again when the neighbours have to be asked anew
	ip netns exec caisson-test ip neigh flush dev eth0
	ip neigh flush dev csn-x
	within 30 resolves_outside outside
	within 30 resolves_outside outside6
	# the guest has its own answers still
	[[ $(in_guest nslookup -type=a own.test 10.209.7.1) == *10.66.0.1* ]]
	[[ $(in_guest nslookup -type=a own.test fd00:209::1) == *10.66.0.1* ]]
}

@test "resolver: nothing else of the namespace's is reachable from outside" {
	serve
	attach_outside
	# servers of the host's side that would take from anybody
	python3 -c '
import ctypes, os, socket
own = os.open("/proc/self/ns/net", 0)
setns = ctypes.CDLL(None).setns
assert setns(os.open("/run/netns/caisson-test", 0), 0) == 0
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("0.0.0.0", 7777))
t = socket.create_server(("0.0.0.0", 7777))
assert setns(own, 0) == 0
print("ready", flush=True)
while True: u.sendto(b"host " + u.recv(99), ("10.209.7.1", 5353))' > "$WORK/ready" 3>&- &
	HOSTSIDE=$!
	within 30 test -s "$WORK/ready"
	sh_args 'udp serve 7777'
	detach c1
	within 30 resolves web
	answers_filter
	within 30 ask_guest
	run python3 -c 'import socket; socket.create_connection(("10.209.7.2", 7777), 60)'
	((status != 0))
	[[ $output == *refused* ]]
	# without a resolver there is no filter
	kill "$DNS"
	wait "$DNS" || true
	ip netns exec caisson-test ip addr add 10.209.7.3/24 dev eth0
	within 60 no_filter
}
no_filter() { ! answers_filter; }
# who answers at 7777 is the guest
ask_guest() {
	[[ $(python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.209.7.1", 5353)); s.settimeout(20)
s.sendto(b"who", ("10.209.7.2", 7777)); print(s.recv(99).decode())') == 'own who' ]]
}

@test "resolver: names over UDP, and connections over TCP" {
	serve
	attach eth0
	detach c1
	within 30 resolves web
	local i
	for i in 1 2 3; do resolves "db$i"; done
	# by a socket that is not connected: the answer comes from port 53
	[[ $(in_guest udp ask 127.0.0.11 53 'echo hello') == 'echo hello' ]]
	[[ $(in_guest sh -c 'echo over tcp | nc -w 20 127.0.0.11 53') == 'over tcp' ]]
	# a long answer, and the end of a stream is the end
	[[ $(in_guest sh -c 'yes | head -c 300000 | nc -w 20 127.0.0.11 53 | wc -c') == 300000 ]]
}

@test "resolver: on a free port behind a NAT rule, as Docker has it" {
	ip netns exec caisson-test iptables -t nat -L > /dev/null 2>&1 || skip "no iptables here"
	local u t
	serve --nat
	read -r u t < "$WORK/ports"
	ip netns exec caisson-test iptables -t nat -A OUTPUT -d 127.0.0.11 -p udp --dport 53 -j DNAT --to-destination "127.0.0.11:$u"
	ip netns exec caisson-test iptables -t nat -A OUTPUT -d 127.0.0.11 -p tcp --dport 53 -j DNAT --to-destination "127.0.0.11:$t"
	attach eth0
	detach c1
	within 30 resolves web
	[[ $(in_guest sh -c 'echo over tcp | nc -w 20 127.0.0.11 53') == 'over tcp' ]]
}

@test "resolver: port 53 stays free for a name server in the container" {
	serve
	attach eth0
	sh_args 'udp serve 53 & while :; do echo own | nc -l -p 53; done'
	detach c1
	within 30 resolves web
	within 30 in_guest sh -c 'nc -w 20 127.0.0.1 53 < /dev/null | grep own'
	within 30 in_guest udp ask 127.0.0.1 53 hello
	[[ $(in_guest udp ask 127.0.0.1 53 hello) == 'own hello' ]]
	[[ $(in_guest udp ask 127.0.0.11 53 'echo hello') == 'echo hello' ]]
	resolves web
}

@test "resolver: one that comes with a later network, and one that is restarted" {
	detach c1
	run in_guest nslookup -type=a web.test 127.0.0.11
	[[ $output != *10.9.8.7* ]]
	serve
	attach eth0
	within 60 resolves web
	kill "$DNS"
	wait "$DNS" || true
	rm "$WORK/ports"
	serve
	within 30 resolves web
}

@test "resolver: without one there is nothing at 127.0.0.11" {
	attach eth0
	detach c1
	[[ $(in_guest netstat -lnu) != *127.0.0.11* ]]
	run in_guest sh -c 'echo x | nc -w 20 127.0.0.11 53'
	((status != 0))
	[[ $output == *refused* ]]
}

@test "resolver: with a user namespace" {
	serve
	attach eth0
	edit '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 0, size: 65536}] | .linux.gidMappings = .linux.uidMappings'
	detach c1
	within 30 resolves web
}

@test "resolver: more queries than there is room for do no harm" {
	serve
	attach eth0
	detach c1
	within 30 resolves web
	# some may be lost, as the oldest of more than 64 at a time make room
	in_guest sh -c 'for i in $(seq 1 150); do udp ask 127.0.0.11 53 "echo $i" & done; wait' > "$WORK/answers" || true
	(($(sort -u "$WORK/answers" | wc -l) >= 64))
	within 60 resolves web
	status_is c1 running
}
