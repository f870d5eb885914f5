# SPDX-License-Identifier: Apache-2.0
# Shared by the suites in tests/engines: an image without a registry, waiting for events, assertions; and a Docker daemon.
#
# RUNTIME is caisson or runc. Both have to give the same answers: what differs is asked for with `differs`, by the name that it has in
# the list of docs/docker.md (docs/podman.md, docs/containerd.md).

bats_require_minimum_version 1.8.0

HERE=$BATS_TEST_DIRNAME
TESTS=$(realpath "$HERE/..")
CAISSON=${CAISSON:-$TESTS/../build/release/caisson}
TOOLS=${TOOLS:-$TESTS/../build/release/tests}
RUNTIME=${RUNTIME:-caisson}
# The engine's own client, and no other that this host may have
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
# Patience before a guest counts as hung
CAISSON_PATIENCE='{"heartbeat-seconds": 60, "boot-timeout-seconds": 180}'

# ---- for every engine ------------------------------------------------------------------------------------------------

# modules: what engines expect of a host; in the lab nothing is loaded yet
modules() {
	[[ -n ${LAB:-} ]] || return 0
	modprobe -aq bridge br_netfilter veth overlay ip_tables iptable_nat xt_conntrack xt_addrtype xt_MASQUERADE nf_nat nf_tables nft_compat \
		tun vhost_net sch_ingress cls_matchall act_mirred || true
	sysctl -qw net.ipv4.ip_forward=1
}

# image_root DIR: a root file system from Debian's busybox-static, with users root and u (1000)
image_root() {
	local a b
	b=$(command -v busybox)
	mkdir -p "$1"/{bin,dev,etc,mnt,proc,root,sys,tmp,usr/bin,var}
	chmod 1777 "$1/tmp"
	cp "$b" "$1/bin/busybox"
	for a in $("$b" --list); do [[ $a == busybox ]] || ln -s busybox "$1/bin/$a"; done
	cp "$TOOLS/udp_echo" "$1/usr/bin/"
	# a static busybox's wget dies of a missing libnss
	printf '#!/bin/sh\nprintf "GET / HTTP/1.0\\r\\n\\r\\n" | nc "$1" "${2:-80}" | sed "1,/^.\\?\$/d"\n' > "$1/usr/bin/fetch"
	chmod 755 "$1/usr/bin/fetch"
	printf 'root:x:0:0:root:/root:/bin/sh\nu:x:1000:1000:u:/tmp:/bin/sh\n' > "$1/etc/passwd"
	printf 'root:x:0:\nu:x:1000:\nextra:x:2000:\n' > "$1/etc/group"
}

# within SECONDS COMMAND...: repeat until it succeeds. A deadline, not a delay: the lab is some thirty times slower than a machine.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@" > /dev/null 2>&1; do
		((SECONDS < end)) || { echo "not within the time: $*"; return 1; }
		sleep 0.1
	done
}

# gives TEXT COMMAND...: it succeeds, and prints exactly that on standard output and error
gives() {
	local want=$1
	shift
	run "$@"
	[[ $status -eq 0 && $output == "$want" ]] || { printf 'status %d of: %s\nprinted: %s\nwanted:  %s\n' "$status" "$*" "$output" "$want"; return 1; }
}

# ends STATUS COMMAND...: its exit status; what it prints is in $output
ends() {
	local want=$1
	shift
	run "$@"
	[[ $status -eq $want ]] || { printf 'status %d, not %d, of: %s\nprinted: %s\n' "$status" "$want" "$*" "$output"; return 1; }
}

# says TEXT: the last command printed it, among other things
says() {
	[[ $output == *"$1"* ]] || { printf "'%s' is not in: %s\n" "$1" "$output"; return 1; }
}

same() { # WHAT GOT WANTED
	[[ $2 == "$3" ]] || { printf '%s is: %s\nwanted: %s\n' "$1" "$2" "$3"; return 1; }
}

# differs NAME: true with caisson, for a difference that the engine's page in docs/ lists as **NAME**
differs() {
	grep -qF "**$1**" "$TESTS"/../docs/{docker,podman,containerd}.md || { echo "no documented difference: $1"; exit 1; }
	[[ $RUNTIME == caisson ]]
}

# terminal ACTION... -- COMMAND...: the command in a terminal (terminal.py)
terminal() {
	"$HERE/terminal.py" "$@"
}

# ---- Docker ----------------------------------------------------------------------------------------------------------

DOCKER_STATE=/run/caisson-docker
# Not on the lab's root, which is an overlay already
DOCKER_DATA=/var/lib/docker/caisson-tests
export CAISSON_CONFIG=$DOCKER_STATE/caisson.json
export DOCKER_HOST=unix://$DOCKER_STATE/docker.sock
export CAISSON_ROOTS=$DOCKER_STATE/exec/runtime-runc/moby

# docker_configure [JQ FILTER]: daemon.json, with what `caisson install` writes in it
docker_configure() {
	local f=$DOCKER_STATE/daemon.json
	mkdir -p "$DOCKER_STATE"
	echo "$CAISSON_PATIENCE" > "$CAISSON_CONFIG"
	"$CAISSON" install --docker --file "$f" > /dev/null
	jq --arg r "$RUNTIME" --arg s "$DOCKER_STATE" --arg d "$DOCKER_DATA" '. + {
		"default-runtime": $r, "live-restore": true, "exec-root": ($s + "/exec"), "data-root": $d,
		"pidfile": ($s + "/pid"), "hosts": ["unix://" + $s + "/docker.sock"] } | '"${1:-.}" < "$f" > "$f.new"
	mv "$f.new" "$f"
}

# docker_start: the daemon, until it answers. Its BuildKit runs "runc", and before Docker 23 no variable could tell it otherwise.
docker_start() {
	local pid
	mkdir -p "$DOCKER_STATE/bin"
	[[ $RUNTIME == runc ]] || ln -sf "$CAISSON" "$DOCKER_STATE/bin/runc"
	PATH=$DOCKER_STATE/bin:$PATH setsid dockerd --config-file "$DOCKER_STATE/daemon.json" \
		>> "$DOCKER_STATE/log" 2>&1 < /dev/null 3>&- &
	pid=$!
	echo "$pid" > "$DOCKER_STATE/child"
	within 120 docker_answers "$pid" && docker version > /dev/null || { tail -n 20 "$DOCKER_STATE/log"; return 1; }
}

docker_answers() { # PID: or it is dead
	docker version || ! kill -0 "$1"
}

docker_stop() { # [SIGNAL]
	local pid
	pid=$(cat "$DOCKER_STATE/child")
	kill -s "${1:-TERM}" "$pid" 2> /dev/null || return 0
	within 60 gone "$pid"
}

gone() { # PID
	! kill -0 "$1"
}

# docker_image: the image `bb`
docker_image() {
	image_root "$DOCKER_STATE/root"
	tar -C "$DOCKER_STATE/root" -c . | docker import - bb > /dev/null
}

# docker_up [JQ FILTER]: all of it
docker_up() {
	if [[ -e /var/run/docker.pid ]] && kill -0 "$(cat /var/run/docker.pid)" 2> /dev/null; then
		echo "a Docker daemon runs on this host: stop it, its bridge and rules would be shared"
		return 1
	fi
	rm -rf "$DOCKER_STATE" "$DOCKER_DATA"
	modules
	docker_configure "${1:-.}" && docker_start && docker_image
}

docker_down() {
	docker ps -aq | xargs -r docker rm -f > /dev/null 2>&1
	docker_stop || docker_stop KILL
}

# A container's field: inspect NAME FORMAT
inspect() {
	docker inspect -f "$2" "$1"
}

state_is() { # NAME STATUS
	[[ $(inspect "$1" '{{.State.Status}}') == "$2" ]]
}

# logged NAME TEXT
logged() {
	docker logs "$1" 2>&1 | grep -qF -e "$2"
}

# start NAME OPTION... -- COMMAND: in the background, with an open end for what it says
start() {
	local name=$1
	shift
	docker run -d --name "$name" "$@" > /dev/null
}

# in_it NAME SCRIPT: a shell in a running container
in_it() {
	docker exec "$1" sh -c "$2"
}
