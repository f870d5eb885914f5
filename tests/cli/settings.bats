#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The configuration file: which one counts, what is wrong with it, which annotations may override it. No guest is started: a
# `create` that gets as far as the guest's kernel has accepted its settings.

bats_require_minimum_version 1.5.0
load helpers

setup() {
	common_setup
	FILE=$BATS_TEST_TMPDIR/caisson.json
	export CAISSON_CONFIG=
	# Where an accepted container stops
	printf '{"kernel": "%s/nokernel"}' "$BATS_TEST_TMPDIR" > "$FILE"
}

create() { runtime "$@" create --bundle "$BUNDLE" c1; }

says() { # SENTENCE CONTENT: create is refused with this sentence after the file's name
	printf '%s' "$2" > "$FILE"
	refused "$FILE: $1" --config "$FILE" create --bundle "$BUNDLE" c1
}

refused() { # SENTENCE ARGUMENT...
	local sentence=$1
	shift
	fails 1 "caisson create failed: $sentence" "$@"
}

@test "settings: a container begins with those of --config, then \$CAISSON_CONFIG" {
	run -1 create --config "$FILE"
	[[ $output == *"guest kernel '$BATS_TEST_TMPDIR/nokernel'"* ]]
	CAISSON_CONFIG=$FILE run -1 create
	[[ $output == *"guest kernel '$BATS_TEST_TMPDIR/nokernel'"* ]]
	echo '{"kernel": "/other"}' > "$BATS_TEST_TMPDIR/other.json"
	CAISSON_CONFIG=$BATS_TEST_TMPDIR/other.json run -1 create --config "$FILE"
	[[ $output == *"guest kernel '$BATS_TEST_TMPDIR/nokernel'"* ]]
	# The container's own word is the last
	edit '.vm.kernel.path = "/third"'
	run -1 create --config "$FILE"
	[[ $output == *"guest kernel '/third'"* ]]
	[[ ! -d $ROOT || -z $(ls -A "$ROOT") ]]
}

@test "settings: a file that is named has to be there, and a file" {
	refused "--config: '/nowhere/caisson.json' is missing" --config /nowhere/caisson.json create --bundle "$BUNDLE" c1
	CAISSON_CONFIG=/nowhere/x refused "CAISSON_CONFIG: '/nowhere/x' is missing" create --bundle "$BUNDLE" c1
	refused "configuration '/dev/null': not a regular file" --config /dev/null create --bundle "$BUNDLE" c1
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	refused "configuration '$BATS_TEST_TMPDIR/fifo': not a regular file" --config "$BATS_TEST_TMPDIR/fifo" create --bundle "$BUNDLE" c1
	head -c 70000 /dev/zero | tr '\0' ' ' > "$FILE"
	refused "'$FILE' is larger than 65536 bytes" --config "$FILE" create --bundle "$BUNDLE" c1
}

@test "settings: what is wrong is named: file, key or place, value" {
	says "line 3, column 1: invalid object key (must be a string)" $'{"debug": true,\n// comment\n}'
	says "colour: is unknown" '{"colour": 1}'
	says "debug: is given twice" '{"debug": true, "debug": true}'
	says "debug: a string, not a boolean" '{"debug": "yes"}'
	says "default-vcpus: '0' is not a number from 1 to 254" '{"default-vcpus": 0}'
	says "kernel: 'vmlinux' is not absolute" '{"kernel": "vmlinux"}'
	says "default-vcpus: 3 is more than max-vcpus, 2" '{"default-vcpus": 3, "max-vcpus": 2}'
	says "annotations[0]: 'colour' is no key that can be an annotation" '{"annotations": ["colour"]}'
}

@test "settings: a wrong file stops nobody from ending a container" {
	echo '{' > "$FILE"
	run -0 runtime --config "$FILE" list
	run -0 runtime --config "$FILE" delete --force nobody
	run -1 runtime --config "$FILE" state nobody
	[[ $output == *'container does not exist'* ]]
}

@test "settings: annotations: allowed, not allowed, unknown, wrong" {
	local built_in="is not allowed here: the list 'annotations' of $FILE does not have it"
	edit '.annotations = {"org.caisson.default-memory-bytes": "134217728", "org.caisson.default-vcpus": "1",
		"org.caisson.boot-timeout-seconds": "100", "org.caisson.heartbeat-seconds": "20", "io.other": "x"}'
	run -1 create --config "$FILE"
	[[ $output == *"guest kernel '$BATS_TEST_TMPDIR/nokernel'"* ]]
	for key in kernel initramfs kernel-parameters max-memory-bytes max-vcpus debug; do
		edit ".annotations = {\"org.caisson.$key\": \"1\"}"
		refused "config.json: annotations: org.caisson.$key: $built_in" --config "$FILE" create --bundle "$BUNDLE" c1
	done
	edit '.annotations = {"org.caisson.memory": "1"}'
	run -1 create --config "$FILE"
	[[ $output == *'annotations: org.caisson.memory is no key of the configuration: it has no effect'* ]]
	[[ $output == *"guest kernel '$BATS_TEST_TMPDIR/nokernel'"* ]]
	edit '.annotations = {"org.caisson.heartbeat-seconds": "soon"}'
	refused "config.json: annotations: org.caisson.heartbeat-seconds: 'soon' is not a number from 1 to 3600" --config "$FILE" create --bundle "$BUNDLE" c1
	# The operator's list, not ours
	echo '{"annotations": ["kernel"]}' > "$FILE"
	edit '.annotations = {"org.caisson.kernel": "/third"}'
	run -1 create --config "$FILE"
	[[ $output == *"guest kernel '/third'"* ]]
	edit '.annotations = {"org.caisson.default-vcpus": "1"}'
	refused "config.json: annotations: org.caisson.default-vcpus: $built_in" --config "$FILE" create --bundle "$BUNDLE" c1
}

@test "settings: check says which file counts, and what is wrong with it" {
	check() { jq -r --arg n "$1" '.[] | select(.name == $n) | "\(.status) \(.text)"'; }
	run runtime --config "$FILE" check --json
	[[ $(check configuration <<< "$output") == "ok $FILE" ]]
	[[ $(check guest-kernel <<< "$output") == "fail guest kernel '$BATS_TEST_TMPDIR/nokernel'"* ]]
	echo '{"debug": 1}' > "$FILE"
	run -1 runtime --config "$FILE" check --json
	[[ $(check configuration <<< "$output") == "fail $FILE: debug: a number, not a boolean" ]]
	run -1 runtime --config /nowhere check
	[[ $output == *"FAIL  configuration: --config: '/nowhere' is missing"* ]]
	CAISSON_CONFIG=$BATS_TEST_DIRNAME/../../config/caisson.json run runtime check --json
	[[ $(check configuration <<< "$output") == "ok "*/config/caisson.json ]]
}

@test "settings: an update needs them, too" {
	mkdir -p "$ROOT/c1"
	jq -n --arg b "$BUNDLE" '{ociVersion: "1.2.0", id: "c1", pid: 1, status: "running", bundle: $b, rootfs: ($b + "/rootfs"),
		created: "2026-01-02T03:04:05Z", pidStartTime: 123456789, bootID: "", cgroup: "", guestMemory: 134217728, guestCPUs: 1,
		memoryLimit: 0, memorySwap: 0}' > "$ROOT/c1/state.json"
	run -1 runtime --config /nowhere update --pids-limit 5 c1
	[[ $output == *"'/nowhere' is missing"* ]]
}

@test "settings: install puts the file there, and keeps one that is there" {
	local tree=$BATS_TEST_DIRNAME/../.. to=$BATS_TEST_TMPDIR/to
	run -0 make -s -C "$tree" install-config DESTDIR="$to" PREFIX=/usr
	cmp "$tree/config/caisson.json" "$to/etc/caisson/caisson.json"
	cmp "$tree/config/caisson.json" "$to/usr/share/caisson/caisson.json"
	[[ $(stat -c %a "$to/etc/caisson/caisson.json") == 644 ]]
	echo '{"debug": true}' > "$to/etc/caisson/caisson.json"
	run -0 make -s -C "$tree" install-config DESTDIR="$to" PREFIX=/usr
	[[ $output == *'is kept as it is'* ]]
	[[ $(cat "$to/etc/caisson/caisson.json") == '{"debug": true}' ]]
	run -0 make -s -C "$tree" install-config DESTDIR="$to/2" PREFIX=/usr SYSCONFDIR=/usr/local/etc
	cmp "$tree/config/caisson.json" "$to/2/usr/local/etc/caisson/caisson.json"
}
