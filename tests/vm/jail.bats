#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The vmm's jail: what its process holds, and that no descriptor of it leads out of the exports.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

@test "jail: from every descriptor that a vmm holds, walking .. does not leave the exports" {
	run -0 "$TOOLS/jail_probe"
	echo "$output"
	echo "$output" | grep -qE '^1\.\.[0-9]+$'
	! echo "$output" | grep -E '^not ok'
}

@test "jail: a running vmm has namespaces of its own, an empty root and eight capabilities" {
	local vmm ns
	bundle
	sh_args 'sleep 100000'
	detach c1
	vmm=$(vmm_of c1)
	for ns in user mnt pid net ipc uts cgroup; do
		[[ $(readlink "/proc/$vmm/ns/$ns") != "$(readlink "/proc/self/ns/$ns")" ]]
	done
	if [[ ${VARIANT:-release} == release ]]; then # sanitizers keep a /proc
		[[ -z $(ls "/proc/$vmm/root/") ]]
	fi
	grep -qE '^CapEff:[[:space:]]+00000000800000df$' "/proc/$vmm/status"
	grep -qE '^CapBnd:[[:space:]]+00000000800000df$' "/proc/$vmm/status"
	grep -qE '^NoNewPrivs:[[:space:]]+1$' "/proc/$vmm/status"
	runtime delete --force c1
}
