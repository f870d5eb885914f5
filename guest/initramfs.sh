#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# initramfs.sh - pack the agent into the guest's initramfs
#
# Usage: initramfs.sh AGENT OUT
#
# The archive is an uncompressed "newc" cpio: the kernel's unpacker is then a plain copy, and decompression would cost more
# than the few hundred kilobytes it saves. It holds /init (the agent), the directories the agent mounts on, and
# /dev/console, which the kernel opens for PID 1 before anything is mounted. Entries are written by hand: no root rights are
# needed for the device node, and the result depends on nothing but the agent (no time, no inode numbers of this host).
# Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.

set -eu -o pipefail

[[ $# == 2 && -r $1 ]] || { echo "usage: initramfs.sh AGENT OUT" >&2; exit 1; }
AGENT=$1 OUT=$2 INO=0

# Up to three NUL bytes: header with name, and data, each end on a multiple of 4
pad() { # BYTES SO FAR
	local n=$(( (4 - $1 % 4) % 4 ))
	(( n == 0 )) || head -c "$n" /dev/zero
}

header() { # NAME MODE NLINK SIZE [RDEV MAJOR] [RDEV MINOR]
	INO=$((INO + 1))
	printf '070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\0' \
		"$INO" "$2" 0 0 "$3" 0 "$4" 0 0 "${5:-0}" "${6:-0}" $(( ${#1} + 1 )) 0 "$1"
	pad $(( 110 + ${#1} + 1 ))
}

write() {
	local size dir
	size=$(stat -c %s "$AGENT")
	for dir in dev proc sys run; do header "$dir" 0040755 2 0; done
	header dev/console 0020600 1 0 5 1
	header init 0100755 1 "$size"
	cat "$AGENT"
	pad "$size"
	INO=-1
	header 'TRAILER!!!' 0 1 0
}

trap 'rm -f "$OUT.tmp"' EXIT
write > "$OUT.tmp"
mv -f "$OUT.tmp" "$OUT"
