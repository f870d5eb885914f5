#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# fuse/run.sh - the file tree test over the file server on this host's own FUSE client, sanitised, as TAP
#
# Usage: run.sh [TEST]     a test of tests/tools/filetree.c; default: all
#
# Two mounts: with so few descriptors that nearly every request opens its nodes again, and with plenty; the first coherent as a
# volume is, the second as a root file system. A skip's reason that begins with "host:" is about this host: without root
# and /dev/fuse, mount and a user namespace there is no mount.

set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 2
FUSE_MOUNT=$PWD/build/address/fuse/fuse_mount
FILETREE=$PWD/build/release/tests/filetree
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:exitcode=99} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
# Seconds that the end of a killed waiter may take: the machine may be busy with other things
export SLOW=${SLOW:-5}
# Not /tmp, which may be a tmpfs: the kept trees are compared on a file system that knows all attributes
WORK=$(mktemp -d "$PWD/build/fuse.XXXXXX") || exit 2
trap 'umount -l "$WORK/mnt" "$WORK/dir/in/proc" "$WORK/dir" 2> /dev/null; rm -rf "$WORK"' EXIT

mounted() { # NODE_MAX FLAGS PROGRAM [ARGUMENT...]
	local node_max=$1 flags=$2
	shift 2
	NODE_MAX=$node_max timeout -k 5 120 "$FUSE_MOUNT" "$WORK/mnt" "$WORK/dir$flags" -- "$@"
}

usable() { # why there can be no mount here, on standard output
	[[ $(id -u) == 0 ]] || { echo "not root"; return 1; }
	[[ -c /dev/fuse ]] && : 2> /dev/null < /dev/fuse || { echo "/dev/fuse cannot be opened"; return 1; }
	unshare -U true 2> /dev/null || { echo "no user namespaces"; return 1; }
	unshare -m mount -t tmpfs none "$WORK/mnt" 2> /dev/null || { echo "mount is not permitted"; return 1; }
}

tree() { # NAME NODE_MAX FLAGS [TEST]
	local rc
	rm -rf "$WORK/dir"
	mkdir -p "$WORK/dir"
	echo "# suite filetree-$1"
	mounted "$2" "$3" "$FILETREE" -n 300 -k ${4:+-o "$4"} "$WORK/mnt/0" | sed -u "s/^\(not ok\|ok\) [0-9]* - /\1 - $1: /"
	rc=${PIPESTATUS[0]}
	echo "# suite server-$1"
	echo 1..2
	# 1: what filetree has reported itself
	if ((rc <= 1)); then
		echo "ok - $1: the server ended without complaints"
	else
		echo "not ok - $1: the server ended with status $rc"
	fi
	"$FILETREE" --host "$WORK/dir" | sed "/^1\.\./d; s/^\(not ok\|ok\) [0-9]* - /\1 - $1: /"
}

# A file of an overlayfs lower layer that two processes map; only on a file system that overlayfs takes as its upper one
copied_up() {
	local o=$WORK/overlay
	echo "# suite copied-up"
	echo 1..1
	mkdir -p "$o"/{lower,upper,work} "$WORK/dir"
	truncate -s 4096 "$o/lower/mapped"
	if ! mount -t overlay -o "lowerdir=$o/lower,upperdir=$o/upper,workdir=$o/work" overlay "$WORK/dir" 2> "$o/why"; then
		echo "ok 1 - a file that is copied up stays one file # SKIP host: no overlayfs here: $(tr '\n' ' ' < "$o/why")"
		return
	fi
	mounted 4096 '' "$FILETREE" -o create -m "$WORK/mnt/0/mapped" "$WORK/mnt/0" | sed 's/^/# /'
	umount "$WORK/dir"
	if [[ $(tr -s '\0' . < "$o/upper/mapped") == 12. ]]; then
		echo "ok 1 - a file that is copied up stays one file"
	else
		echo "not ok 1 - a file that is copied up stays one file"
	fi
}

# The host's proc below an export: seen, and closed
closed_proc() {
	echo "# suite closed-proc"
	echo 1..1
	mkdir -p "$WORK/dir/in/proc"
	mount --bind /proc "$WORK/dir/in/proc"
	# shellcheck disable=SC2016
	if mounted 4096 '' sh -c 'ls "$1" && ! cat "$1/proc/uptime" && cat "$1/proc/uptime" 2>&1 | grep -q "Permission denied"' sh "$WORK/mnt/0/in"; then
		echo "ok 1 - the host's proc below an export is closed"
	else
		echo "not ok 1 - the host's proc below an export is closed"
	fi
	umount "$WORK/dir/in/proc"
}

mkdir "$WORK/mnt"
if ! reason=$(usable); then
	echo "ok 1 - fuse # SKIP host: $reason"
	echo 1..1
	exit 0
fi
tree few-nodes 64 :coherent "$@"
tree many-nodes 4096 '' "$@"
copied_up
closed_proc
