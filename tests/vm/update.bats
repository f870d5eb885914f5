#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson update`: a running container's limits, in the guest and on the host.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

MIB=$((1 << 20))

guest_files() { # ID FILE...
	local id=$1 f script='cd /sys/fs/cgroup;'
	shift
	for f; do script+=" echo \"$f=\$(cat $f)\";"; done
	runtime exec "$id" /bin/sh -c "$script"
}

host_files() { # ID FILE...
	local dir f
	dir=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(pid_of "$1")/cgroup")
	shift
	for f; do echo "$f=$(< "$dir/$f")"; done
}

# one JQ-OBJECT: container c1 with these linux.resources, running
one() {
	bundle ".linux.resources = $1"
	args sleep 1000
	detach c1
}

@test "update: options take effect on both sides" {
	one "{pids: {limit: 100}, memory: {limit: $((128 * MIB))}}"
	before=$(host_files c1 memory.max)
	run -0 runtime update --pids-limit 50 --memory 96m --memory-reservation 16M --cpu-shares 2048 --cpu-quota 40000 --cpu-burst 5000 \
		--cpuset-cpus 0 --cpuset-mems 0 c1
	[[ -z $output ]]
	run -0 guest_files c1 pids.max memory.max memory.low cpu.weight cpu.max cpu.max.burst cpuset.cpus
	[[ $output == "pids.max=50
memory.max=$((96 * MIB))
memory.low=$((16 * MIB))
cpu.weight=174
cpu.max=40000 100000
cpu.max.burst=5000
cpuset.cpus=0" ]]
	run -0 host_files c1 pids.max memory.low cpu.weight cpu.max cpu.max.burst cpuset.cpus
	[[ $output == "pids.max=$((50 + 65))
memory.low=$((16 * MIB))
cpu.weight=174
cpu.max=40000 100000
cpu.max.burst=5000
cpuset.cpus=0" ]]
	# the guest is as large as before
	[[ $(host_files c1 memory.max) == "$before" ]]
	# the period alone keeps the quota, and the other way round
	runtime update --cpu-period 50000 c1
	[[ $(host_files c1 cpu.max) == 'cpu.max=40000 50000' ]]
	runtime update --cpu-quota 30000 --cpu-idle 1 c1
	[[ $(guest_files c1 cpu.max cpu.idle) == $'cpu.max=30000 50000\ncpu.idle=1' ]]
	[[ $(host_files c1 cpu.max cpu.idle) == $'cpu.max=30000 50000\ncpu.idle=1' ]]
}

@test "update: a document from a file and from standard input" {
	one '{}'
	echo '{"pids": {"limit": 41}, "unified": {"memory.high": "90000000"}}' > "$WORK/r.json"
	runtime update -r "$WORK/r.json" --pids-limit 7 c1
	# the kernel counts in pages
	[[ $(guest_files c1 pids.max memory.high) == $'pids.max=41\nmemory.high=89997312' ]]
	echo '{"pids": {"limit": -1}, "devices": [{"allow": true, "access": "rwm"}]}' | runtime update --resources=- c1
	[[ $(guest_files c1 pids.max) == pids.max=max ]]
	[[ $(host_files c1 pids.max) == pids.max=max ]]
	run -1 runtime update -r "$WORK/none.json" c1
	run -1 runtime update -r - c1 <<< '{"pids": {"limit": "x"}}'
	[[ $output == *pids.limit* ]]
}

@test "update: a lower memory limit kills, the guest lives on" {
	one "{memory: {limit: $((128 * MIB))}}"
	run -0 runtime exec c1 dd if=/dev/zero of=/dev/null bs=70M count=1
	runtime update --memory 48m c1
	run -137 runtime exec c1 dd if=/dev/zero of=/dev/null bs=70M count=1
	run -0 runtime exec c1 true
}

@test "update: the pids limit holds at once" {
	one '{}'
	runtime update --pids-limit 4 c1
	run runtime exec c1 /bin/sh -c '(sleep 100 & sleep 100 & sleep 100 & sleep 100 & sleep 100 &) 2>&1; busybox killall sleep'
	[[ $output == *fork* ]]
	runtime update --pids-limit -1 c1
	run -0 runtime exec c1 /bin/sh -c 'for i in 1 2 3 4 5 6; do sleep 0 & done; wait; echo fine'
	[[ $output == fine ]]
}

guest_mib() { # what the guest's kernel has
	runtime exec c1 busybox awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo
}

@test "update: a limit beyond the guest's size adds memory, twice" {
	one "{memory: {limit: $((64 * MIB))}}"
	before=$(guest_mib)
	host_before=$(host_files c1 memory.max)
	run -137 runtime exec c1 dd if=/dev/zero of=/dev/null bs=90M count=1
	# the vCPU runs on meanwhile; what is read next lies in old and new memory
	runtime update --memory 300m c1
	[[ $(guest_files c1 memory.max) == "memory.max=$((300 * MIB))" ]]
	after=$(guest_mib)
	((after >= before + 128 && after >= 300))
	run -0 runtime exec c1 dd if=/dev/zero of=/dev/null bs=250M count=1
	# the host lets all of it be used, and still has a limit
	[[ $(host_files c1 memory.max) =~ ^memory.max=([0-9]+)$ ]]
	((BASH_REMATCH[1] >= after * MIB && BASH_REMATCH[1] > ${host_before#*=} && BASH_REMATCH[1] < 800 * MIB))
	[[ $(jq .guestMemory "$ROOT/c1/state.json") -ge $((300 * MIB)) ]]
	runtime update --memory 700m c1
	((after = $(guest_mib), after >= 700))
	run -0 runtime exec c1 dd if=/dev/zero of=/dev/null bs=600M count=1
	# a lower limit keeps what the guest has; raised again, nothing has to be added
	runtime update --memory 64m c1
	run -137 runtime exec c1 dd if=/dev/zero of=/dev/null bs=200M count=1
	runtime update --memory 500m c1
	[[ $(guest_mib) == "$after" ]]
	run -0 runtime exec c1 dd if=/dev/zero of=/dev/null bs=400M count=1
}

@test "update: without a limit the guest keeps its size" {
	one "{memory: {limit: $((64 * MIB))}}"
	before=$(guest_mib)
	# unlimited is no promise: the guest's size is the limit then
	runtime update --memory -1 c1
	[[ $(guest_files c1 memory.max) == memory.max=max ]]
	[[ $(host_files c1 memory.max) == memory.max=max ]]
	[[ $(guest_mib) == "$before" ]]
}

@test "update: what one side refuses, the other takes back" {
	one '{pids: {limit: 30}, cpu: {shares: 512}}'
	run -1 runtime update -r - c1 <<< '{"pids": {"limit": 20}, "cpu": {"shares": 1024}, "unified": {"tea.pot": "1"}}'
	[[ $output == *'controller \"tea\" not available'* ]]
	[[ $(guest_files c1 pids.max cpu.weight) == $'pids.max=30\ncpu.weight=59' ]]
	[[ $(host_files c1 pids.max cpu.weight) == $'pids.max=95\ncpu.weight=59' ]]
	run -1 runtime update --pids-limit 20 --cpuset-cpus 4000 c1
	[[ $(host_files c1 pids.max) == pids.max=95 ]]
	[[ $(guest_files c1 pids.max) == pids.max=30 ]]
}

@test "update: memory and swap are one limit" {
	one "{memory: {limit: $((64 * MIB)), swap: $((96 * MIB))}}"
	run -1 runtime update --memory-swap 32m c1
	[[ $output == *'memory+swap limit should be >= memory limit'* ]]
	runtime update --memory 48m c1
	[[ $(jq -r '"\(.memoryLimit) \(.memorySwap)"' "$ROOT/c1/state.json") == "$((48 * MIB)) $((96 * MIB))" ]]
	[[ $(guest_files c1 memory.max) == memory.max=$((48 * MIB)) ]]
	run -0 runtime state c1
	[[ $output == *'"running"'* ]]
}

@test "update: a created container, but not a stopped one" {
	bundle '.linux.resources = {}'
	sh_args 'cat /sys/fs/cgroup/pids.max > /out'
	runtime create c1 > /dev/null 2>&1 < /dev/null
	runtime update --pids-limit 33 c1
	runtime start c1
	within 60 status_is c1 stopped
	[[ $(< "$BUNDLE/rootfs/out") == 33 ]]
	run -1 runtime update --pids-limit 3 c1
	[[ $output == *'container not running'* ]]
}

@test "update: a thousand device rules are loaded, the last one decides" {
	bundle '.linux.resources = {} | .process.capabilities[] |= (. + ["CAP_MKNOD"])'
	args sleep 1000
	detach c1
	run -0 runtime exec c1 busybox mknod /dev/k c 1 11
	run -1 runtime exec c1 /bin/sh -c '(: < /dev/k)'
	jq -n '{devices: ([{allow: false, access: "rwm"}] + [range(1000) | {allow: true, type: "c", major: 400, minor: ., access: "rw"}] +
		[{allow: true, type: "c", major: 1, minor: 11, access: "r"}])}' | runtime update -r - c1
	run -0 runtime exec c1 /bin/sh -c '(: < /dev/k) && echo open'
	[[ $output == open ]]
}
