#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson update` before it comes to a container: what it is told, and containers that are not there.

bats_require_minimum_version 1.5.0
load helpers

setup() { common_setup; }

stopped() {
	mkdir -p "$ROOT/$1"
	jq -n --arg id "$1" --arg b "$BUNDLE" '{ociVersion: "1.2.0", id: $id, pid: 1, status: "running", bundle: $b,
		rootfs: ($b + "/rootfs"), created: "2026-01-02T03:04:05Z", pidStartTime: 123456789, bootID: "", cgroup: "",
		guestMemory: 134217728, guestCPUs: 1, memoryLimit: 0, memorySwap: 0}' > "$ROOT/$1/state.json"
}

document() { "$CAISSON" --root "$ROOT" update -r - "$1"; } # from standard input

@test "update: a container that is not there, one that has stopped" {
	run -1 runtime update --pids-limit 5 nobody
	[[ $output == *'container does not exist'* ]]
	stopped c1
	run -1 runtime update --pids-limit 5 c1
	[[ $output == *'container not running'* ]]
	run -1 document c1 <<< '{}'
	[[ $output == *'container not running'* ]]
}

@test "update: bad values are named" {
	stopped c1
	local o
	for o in memory memory-swap memory-reservation cpu-share cpu-quota cpu-period cpu-burst cpu-idle pids-limit; do
		run -1 runtime update --$o=x c1
		[[ $output == *"invalid value for $o"* ]]
	done
	run -1 runtime update --blkio-weight 5 c1
	[[ $output == *blockIO.weight* ]]
	run -1 runtime update --cpuset-cpus 1-x c1
	[[ $output == *cpu.cpus* ]]
	run -1 runtime update --l3-cache-schema 'L3:0=f' c1
	[[ $output == *'l3 cache schema is not enabled'* ]]
	run -1 runtime update --nonsense 1 c1
	[[ $output == *'flag provided but not defined: -nonsense'* ]]
	run -1 runtime update
	[[ $output == *'"update" requires exactly 1 argument(s)'* ]]
}

@test "update: a document that is none" {
	stopped c1
	run -1 runtime update -r "$BATS_TEST_TMPDIR/none" c1
	[[ $output == *none* ]]
	run -1 document c1 <<< 'x'
	run -1 document c1 <<< '[]'
	[[ $output == *'not an object'* ]]
	run -1 document c1 <<< '{"memory": {"limit": 5, "swap": 4}}'
	[[ $output == *'memory+swap limit should be >= memory limit'* ]]
	run -1 document c1 < <(head -c 300000 /dev/zero | tr '\0' ' ')
}
