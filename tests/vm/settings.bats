#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The configuration file in real guests: what it changes is seen inside, annotations override it, maxima hold.

load helpers

setup() {
	common_setup
	FILE=$WORK/caisson.json
	bundle 'del(.linux.resources)'
}

teardown() { common_teardown; }

MIB=1048576

settings() { # MEMBERS: besides patience
	printf '// of a test\n{"boot-timeout-seconds": 180, "heartbeat-seconds": 60, %s}\n' "$1" > "$FILE"
	export CAISSON_CONFIG=$FILE
	edit 'del(.annotations)'
}

# memory_is MIB: MemTotal of the last output is that much, less what the guest's kernel takes
memory_is() {
	[[ $output =~ MemTotal:\ +([0-9]+)\ kB ]]
	echo "MemTotal: $((BASH_REMATCH[1] / 1024)) MiB"
	((BASH_REMATCH[1] < $1 * 1024 && BASH_REMATCH[1] > ($1 - 44) * 1024))
}

@test "settings: defaults of the file are the guest's, annotations override them, what is not allowed is refused" {
	settings "\"default-memory-bytes\": $((256 * MIB)), \"kernel-parameters\": \"caisson.word=1 caisson.two\""
	sh_args 'grep MemTotal /proc/meminfo; cat /proc/cmdline'
	edit '.vm.kernel.parameters = ["caisson.last"]'
	run -0 runtime run c1
	memory_is 256
	[[ $output == *' caisson.word=1 caisson.two caisson.last'* ]]
	edit '.annotations = {"org.caisson.default-memory-bytes": $m}' --arg m $((192 * MIB))
	run -0 runtime run c1
	memory_is 192
	edit '.annotations["org.caisson.kernel-parameters"] = "mitigations=off"'
	run -1 runtime run c1
	[[ $output == *"org.caisson.kernel-parameters: is not allowed here: the list 'annotations' of $FILE does not have it"* ]]
}

@test "settings: a maximum is below every limit, and update knows it" {
	settings "\"max-memory-bytes\": $((160 * MIB)), \"default-memory-bytes\": $((128 * MIB))"
	sh_args 'grep MemTotal /proc/meminfo; sleep 1000'
	edit '.linux.resources.memory.limit = 1073741824'
	runtime --log "$WORK/log" run --detach c1 > "$WORK/out" 2>&1 < /dev/null
	within 60 grep -q MemTotal "$WORK/out"
	output=$(cat "$WORK/out")
	memory_is 160
	grep -q 'The guest has 160 MiB, less than its memory limit: max-memory-bytes' "$WORK/log"
	# The host's limit is still the container's: it has not become smaller
	run -0 runtime update --memory 2147483648 --memory-swap 2147483648 c1
	runtime delete --force c1
	edit '.vm.hwConfig.memory = 268435456'
	run -1 runtime run c2
	[[ $output == *"vm.hwConfig.memory: 268435456 bytes is not between 67108864 and the configured maximum, $((160 * MIB))"* ]]
}

@test "settings: another kernel by the file; debug by an annotation that it allows" {
	cp "${CAISSON%/*}/guest/vmlinux" "$WORK/mykernel"
	settings "\"kernel\": \"$WORK/mykernel\", \"annotations\": [\"debug\"]"
	args cat /proc/version
	edit '.annotations = {"org.caisson.debug": "true"}'
	run -0 runtime --log "$WORK/log" run c1
	[[ $output == 'Linux version '* ]]
	grep -q 'level=debug msg="Configuration: '"$FILE" "$WORK/log"
	grep -q 'level=debug msg="c1: Guest: ' "$WORK/log"
	printf 'no kernel' > "$WORK/mykernel"
	run -1 runtime run c1
	[[ $output == *kernel* ]]
}
