#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson spec` writes what `runc spec` writes.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	common_setup
	mkdir "$BATS_TEST_TMPDIR/r" "$BATS_TEST_TMPDIR/c"
}

# Versions of runc differ in these
same() {
	jq 'del(.ociVersion, .hostname, .process.capabilities.ambient)
		| .linux.namespaces |= map(select(.type != "cgroup"))
		| .linux.maskedPaths |= map(select(test("^/sys/devices|/proc/interrupts") | not))' "$1"
}

@test "spec: fields and values are runc's" {
	need_runc
	( cd "$BATS_TEST_TMPDIR/r" && "$RUNC" spec )
	( cd "$BATS_TEST_TMPDIR/c" && "$CAISSON" spec )
	diff <(same "$BATS_TEST_TMPDIR/r/config.json") <(same "$BATS_TEST_TMPDIR/c/config.json")
	[[ $(jq -r .hostname "$BATS_TEST_TMPDIR/c/config.json") == caisson ]]
}

@test "spec: --rootless is runc's too" {
	need_runc
	"$RUNC" spec --rootless --bundle "$BATS_TEST_TMPDIR/r"
	"$CAISSON" spec --rootless --bundle "$BATS_TEST_TMPDIR/c"
	diff <(same "$BATS_TEST_TMPDIR/r/config.json") <(same "$BATS_TEST_TMPDIR/c/config.json")
}

@test "spec: a config.json that is there stays" {
	echo mine > "$BATS_TEST_TMPDIR/c/config.json"
	run -1 "$CAISSON" spec --bundle "$BATS_TEST_TMPDIR/c"
	[[ $output == *'File config.json exists. Remove it first'* ]]
	[[ $(< "$BATS_TEST_TMPDIR/c/config.json") == mine ]]
	run -1 "$CAISSON" spec --bundle "$BATS_TEST_TMPDIR/nothing"
}
