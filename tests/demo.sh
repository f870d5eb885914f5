#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh - `make demo`: a bundle from Debian's busybox-static, and a command in it that runs in a guest of its own
set -eu
cd "$(dirname "$0")/.."
. tests/kvm-mode.sh

# Everything below runs where guests can run: on this host, or in the lab
inside() {
	bundle=$(mktemp -d) # not local: the trap outlives the function
	trap 'rm -rf "$bundle"' EXIT
	mkdir -p "$bundle"/rootfs/{bin,dev,proc,sys,tmp}
	cp "$(command -v busybox)" "$bundle/rootfs/bin/busybox"
	ln -s busybox "$bundle/rootfs/bin/sh"
	echo "a line written on the host ($(uname -r))" > "$bundle/rootfs/shared"
	"$CAISSON" spec --bundle "$bundle"
	jq '.process.terminal = false | .root.readonly = false | .process.args = ["/bin/sh", "-c",
		"busybox echo \"the guest runs Linux $(busybox uname -r)\"; busybox echo \"it reads the shared file: $(busybox cat /shared)\"; busybox echo \"a line written in the guest\" >> /shared"]' \
		"$bundle/config.json" > "$bundle/new"
	mv "$bundle/new" "$bundle/config.json"
	echo "the host runs Linux $(uname -r)"
	echo "$ caisson run --bundle … demo"
	"$CAISSON" --root "$bundle/state" run --bundle "$bundle" demo
	echo "the host reads the shared file's last line: $(tail -n 1 "$bundle/rootfs/shared")"
}

if [[ ${1:-} == inside ]]; then
	inside
else
	kvm_mode
	[[ $GUESTS == lab ]] && echo "This host's /dev/kvm cannot run a guest (see: $CAISSON check); the demo runs in the lab, an emulated machine that has one."
	in_guest_host 300 bash "$TOP/tests/demo.sh" inside
fi
