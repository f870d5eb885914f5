#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bad input and bad hosts: one sentence that names the cause, runc's exit code, a JSON line when asked, nothing left.

load helpers

setup() {
	common_setup
	bundle
	args true
}
teardown() { common_teardown; }

# fails WORD...: `run` exits 1, says one sentence with each word, logs one JSON error line
fails() {
	local word
	rm -f "$WORK/log"
	run -1 --separate-stderr runtime --log "$WORK/log" --log-format json run --bundle "$BUNDLE" c1 < /dev/null
	echo "stderr: $stderr"
	[[ -z $output ]]
	for word in "$@"; do [[ $stderr == *"$word"* ]]; done
	[[ $(jq -r 'select(.level == "error") | .msg' "$WORK/log" | wc -l) -eq 1 ]]
	jq -e -r 'select(.level == "error") | .time' "$WORK/log" | grep -qE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T'
	[[ -z $(runtime list -q) ]]
	"$TESTS/leftovers.sh" compare "$BATS_TEST_TMPDIR/census"
}

@test "bad: a kernel image that is not one" {
	echo 'not a kernel' > "$WORK/kernel"
	edit '.vm = {kernel: {path: $k}}' --arg k "$WORK/kernel"
	fails 'kernel'
}

@test "bad: a truncated kernel image" {
	head -c 100000 "${CAISSON%/*}/guest/vmlinux" > "$WORK/kernel"
	edit '.vm = {kernel: {path: $k}}' --arg k "$WORK/kernel"
	fails 'kernel'
}

@test "bad: a guest that panics while booting" {
	mkdir -p "$WORK/i"
	( cd "$WORK/i" && : > nothing && echo nothing | cpio -o -H newc --quiet > "$WORK/initrd" )
	edit '.vm = {kernel: {path: $k, initrd: $i}}' --arg k "${CAISSON%/*}/guest/vmlinux" --arg i "$WORK/initrd"
	fails 'panic'
}

@test "bad: an agent that never answers" {
	mkdir -p "$WORK/i/bin" "$WORK/i/dev"
	cp "$(command -v busybox)" "$WORK/i/bin/busybox"
	printf '#!/bin/busybox sh\nwhile :; do /bin/busybox sleep 1000; done\n' > "$WORK/i/init"
	chmod 755 "$WORK/i/init"
	( cd "$WORK/i" && find . | cpio -o -H newc --quiet > "$WORK/initrd" )
	edit '.vm = {kernel: {path: $k, initrd: $i}} | .annotations["org.caisson.boot-timeout-seconds"] = "8"' --arg k "${CAISSON%/*}/guest/vmlinux" --arg i "$WORK/initrd"
	fails 'agent'
}

@test "bad: no memory for the guest" {
	ulimit -v 400000
	fails 'memory'
}

@test "bad: a full disk in the state directory" {
	mkdir "$WORK/small"
	mount -t tmpfs -o size=16k tmpfs "$WORK/small"
	dd if=/dev/zero of="$WORK/small/fill" bs=1k count=64 2> /dev/null || true
	run -1 "$CAISSON" --root "$WORK/small/state" run --bundle "$BUNDLE" c1
	umount "$WORK/small"
	[[ $output == *space* ]]
}

@test "bad: no /dev/kvm" {
	run -1 unshare --mount sh -c 'mount --bind /dev/null /dev/kvm && exec "$0" --root "$1" run --bundle "$2" c1' "$CAISSON" "$ROOT" "$BUNDLE"
	[[ $output == *'/dev/kvm'* && $output != *ermission\ denied* ]]
}

@test "bad: a bind mount's source that is missing" {
	edit '.mounts += [{destination: "/mnt", type: "bind", source: "/no/such/dir", options: ["rbind"]}]'
	fails '/no/such/dir'
}

@test "check: says ok, line by line, where a guest can run" {
	run -0 "$CAISSON" check
	run -0 "$CAISSON" check --json
	[[ $(jq -r 'type' <<< "$output") == array ]]
}
