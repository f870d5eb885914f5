#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Unix sockets below bind mounts: a program of the guest reaches the host's program behind them.

load helpers

setup() {
	common_setup
	bundle
	mkdir -p "$WORK/vol/deep"
	cp "$TOOLS/unix" "$BUNDLE/rootfs/bin"
	args sleep 100000
	SERVERS=()
}
teardown() {
	for p in "${SERVERS[@]}"; do kill "$p" 2> /dev/null || true; done
	common_teardown
}

in_guest() { runtime exec c1 "$@"; }
# serve KIND PATH: a program of the host
serve() {
	python3 "$BATS_TEST_DIRNAME/unix.py" "$1" "$2" > "$WORK/heard.${2##*/}" 3>&- &
	SERVERS+=($!)
	within 30 is_served "$2"
}
is_served() { grep -qF " $1" /proc/net/unix; }
bind_mount() { # SOURCE DESTINATION rw|ro
	edit '.mounts += [{destination: $d, source: $s, type: "bind", options: ["bind", $o]}]' --arg s "$1" --arg d "$2" --arg o "$3"
}
says() { # PATH WORDS: and hears the same
	[[ $(in_guest sh -c 'echo "$2" | unix stream "$1"' sh "$1" "$2") == "$2" ]]
}
refused() { # PATH
	run in_guest unix stream "$1"
	((status != 0)) && [[ $output == *refused* ]]
}

not_sent() { # PATH
	run in_guest unix datagram "$1" late
	((status != 0)) && [[ $output == *refused* ]]
}

@test "sockets: one that is bind-mounted itself, as docker.sock is" {
	serve stream "$WORK/docker.sock"
	bind_mount "$WORK/docker.sock" /var/run/docker.sock ro
	detach c1
	[[ $(in_guest stat -c %F /var/run/docker.sock) == socket ]]
	says /var/run/docker.sock 'who is there'
	says /var/run/docker.sock 'once more'
	# much, both ways at once
	[[ $(in_guest sh -c 'yes | head -c 3000000 | unix stream /var/run/docker.sock | wc -c') == 3000000 ]]
}

@test "sockets: in a directory, from the start and later, by any name, and again after a restart" {
	serve stream "$WORK/vol/first.sock"
	bind_mount "$WORK/vol" /vol rw
	bind_mount "$WORK/vol" /again ro
	detach c1
	says /vol/first.sock one
	says /again/first.sock two
	serve stream "$WORK/vol/deep/second.sock"
	says /vol/deep/second.sock three
	in_guest ls -l /vol
	ln "$WORK/vol/first.sock" "$WORK/vol/other"
	says /vol/other four
	# another program at the same name, and no program
	kill "${SERVERS[0]}"
	wait "${SERVERS[0]}" || true
	serve stream "$WORK/vol/first.sock"
	within 30 says /vol/first.sock five
	kill "${SERVERS[2]}"
	wait "${SERVERS[2]}" || true
	within 30 refused /vol/first.sock
}

@test "sockets: many connections at once" {
	serve stream "$WORK/vol/s"
	bind_mount "$WORK/vol" /vol rw
	detach c1
	[[ $(in_guest sh -c 'for i in $(seq 1 20); do echo hello$i | unix stream /vol/s & done; wait' | sort -u | wc -l) == 20 ]]
}

@test "sockets: datagrams, as of sd-notify" {
	serve datagram "$WORK/vol/notify"
	bind_mount "$WORK/vol/notify" /run/notify rw
	detach c1
	in_guest unix datagram /run/notify READY=1
	in_guest unix datagram /run/notify STATUS=fine
	within 30 grep -x '0 0 STATUS=fine' "$WORK/heard.notify"
	grep -x '0 0 READY=1' "$WORK/heard.notify"
	# the host's program ends: soon nobody is there
	kill "${SERVERS[0]}"
	wait "${SERVERS[0]}" || true
	within 30 not_sent /run/notify
}

@test "sockets: whose connection it is, and who may" {
	serve stream "$WORK/vol/s"
	bind_mount "$WORK/vol" /vol rw
	detach c1
	[[ $(runtime exec --user 1234:567 c1 sh -c 'echo x | unix stream /vol/s') == x ]]
	within 30 grep -x '1234 567' "$WORK/heard.s"
	chmod 0600 "$WORK/vol/s"
	run runtime exec --user 1234:567 c1 unix stream /vol/s
	((status != 0))
	[[ $output == *denied* ]]
}

@test "sockets: with a user namespace the host's program sees the host's ids" {
	serve stream "$WORK/vol/s"
	serve datagram "$WORK/vol/d"
	chmod 0777 "$WORK/vol/s" "$WORK/vol/d"
	bind_mount "$WORK/vol" /vol rw
	chown 100000:200000 "$BUNDLE/rootfs" "$WORK/vol"
	edit '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] |
		.linux.gidMappings = [{containerID: 0, hostID: 200000, size: 65536}]'
	detach c1
	says /vol/s root
	within 30 grep -x '100000 200000' "$WORK/heard.s"
	[[ $(runtime exec --user 1234:567 c1 sh -c 'echo x | unix stream /vol/s') == x ]]
	within 30 grep -x '101234 200567' "$WORK/heard.s"
	in_guest unix datagram /vol/d READY=1
	within 30 grep -x '100000 200000 READY=1' "$WORK/heard.d"
}

@test "sockets: nobody behind it, another type, one of the container's own, and one of its rootfs" {
	serve stream "$WORK/vol/s"
	python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$WORK/vol/dead"
	bind_mount "$WORK/vol" /vol rw
	args sh -c 'unix serve /vol/own & unix serve /tmp/own & wait'
	detach c1
	refused /vol/dead
	run in_guest unix seqpacket /vol/s
	((status != 0))
	within 30 says /vol/own mine
	within 30 says /tmp/own mine
	# what is the file server's own is not in the way
	[[ $(in_guest ls -a /vol) != *caisson* ]]
	run in_guest ls /vol/.caisson-sockets
	((status != 0))
}
