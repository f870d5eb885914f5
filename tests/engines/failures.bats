#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What `docker run` prints when this host cannot run a guest: one line that names the fix, and exit status 125, because no words in it
# make Docker take it for a program that the image does not have (127) or may not run (126). docs/troubleshooting.md lists them.
#
# Devices are hidden and modules forbidden: in the lab only.

load helpers

setup_file() {
	[[ -n ${LAB:-} && $RUNTIME == caisson ]] || return 0
	# a runtime for each broken configuration
	broken kernel '{"kernel": "/no/such/vmlinux"}'
	broken image '{"kernel": "/etc/passwd"}'
	broken config '{"kernel": 7}'
	broken user '{}' 'setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all'
	docker_up '.runtimes += ({kernel: 0, image: 0, config: 0, user: 0, alone: 0} | with_entries(.value = {path: ("/run/caisson-broken/" + .key + "/caisson")}))'
	docker network create net1 > /dev/null
}

# broken NAME JSON [PREFIX]: a program that runs ours with this caisson.json
broken() {
	local d=/run/caisson-broken/$1
	mkdir -p "$d"
	echo "$2" > "$d/caisson.json"
	printf '#!/bin/sh\nexport CAISSON_CONFIG=%s\nexec %s %s "$@"\n' "$d/caisson.json" "${3:-}" "$CAISSON" > "$d/caisson"
	chmod +x "$d/caisson"
}

setup() {
	[[ $RUNTIME == caisson ]] || skip "host: these failures are caisson's"
	[[ -n ${LAB:-} ]] || skip "host: only in the lab are devices hidden"
}

teardown_file() {
	[[ -n ${LAB:-} && $RUNTIME == caisson ]] || return 0
	docker_down
}

teardown() {
	local f
	for f in /dev/kvm /dev/net/tun; do [[ ! -e $f.hidden ]] || mv -f "$f.hidden" "$f"; done
	chmod 666 /dev/kvm
	rm -f /etc/modprobe.d/caisson-test.conf
	docker ps -aq | xargs -r docker rm -f > /dev/null 2>&1 || true
}

# refused TEXT OPTION...: docker run fails with 125 and says it in one line, the same in `docker start`'s answer
refused() {
	local text=$1
	shift
	ends 125 docker run --rm "$@" bb true
	says "$text"
	same "the lines of it" "$(grep -c "Error response from daemon" <<< "$output")" 1
	! grep -qiE 'permission denied|operation not permitted|no such file|not found|(not|is) a directory|does not exist' <<< "$output" ||
		{ echo "an engine would mistake: $output"; return 1; }
	gives "" docker ps -q
}

hide() { # DEVICE
	mv "$1" "$1.hidden"
}

# bats test_tags=smoke
@test "no /dev/kvm" {
	hide /dev/kvm
	refused "/dev/kvm is missing: load its module (modprobe kvm_intel or kvm_amd)"
}

@test "/dev/kvm is something else" {
	hide /dev/kvm
	: > /dev/kvm
	refused "/dev/kvm is not KVM's device"
	rm /dev/kvm
}

@test "/dev/kvm is not for this user" {
	chown 1:1 /dev/kvm
	chmod 600 /dev/kvm
	refused "/dev/kvm is not open to this user: add the user to group kvm" --runtime user
	chown 0:0 /dev/kvm
}

# bats test_tags=smoke
@test "no guest kernel" {
	refused "guest kernel '/no/such/vmlinux' of the configuration: missing" --runtime kernel
	mkdir -p /run/caisson-broken/alone
	cp "$CAISSON" /run/caisson-broken/alone/caisson
	# nor an installed one
	rm -rf /usr/local/lib/caisson
	refused "install Caisson again" --runtime alone
}

@test "a guest kernel that is none" {
	refused "not a kernel image" --runtime image
}

@test "a mistake in caisson.json" {
	refused "caisson.json" --runtime config
}

@test "no /dev/net/tun" {
	hide /dev/net/tun
	refused "/dev/net/tun is missing: load the host kernel's module (modprobe tun)" --network net1
	# without interfaces none is needed
	ends 0 docker run --rm --network none bb true
}

@test "no traffic control" {
	# what is loaded and not used can go
	modprobe -rq sch_ingress cls_matchall || true
	[[ ! -d /sys/module/sch_ingress ]] || skip "host: sch_ingress is in use"
	printf 'install sch_ingress /bin/false\ninstall cls_matchall /bin/false\ninstall cls_u32 /bin/false\n' > /etc/modprobe.d/caisson-test.conf
	refused "modprobe sch_ingress" --network net1
}

# bats test_tags=smoke
@test "a port that is taken" {
	socat TCP-LISTEN:8089,fork /dev/null 3>&- &
	pid=$!
	within 30 sh -c "grep -qi ':1F99 ' /proc/net/tcp /proc/net/tcp6"
	ends 125 docker run --rm -p 8089:80 bb true
	says 'address already in use'
	kill $pid
}

@test "what a guest cannot honour is refused by name" {
	start holder --network net1 bb sleep 1000
	ends 125 docker run --rm --network container:holder bb true
	says "user-defined network"
}
