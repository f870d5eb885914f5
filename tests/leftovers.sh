#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# leftovers.sh - count what a container runtime can leave behind on a host
#
#   leftovers.sh census             print it: one line per thing, sorted
#   leftovers.sh compare FILE       wait (at most 30 s) until nothing is there that FILE, an earlier census, does not have;
#                                   print what is left and exit 1 otherwise
#
# Counted: processes of ours, mounts of every process's mount namespace that the caller can see, bound Unix sockets, cgroups,
# namespaces (of every type, also kept alive only by a descriptor or a bind mount of ours), state directories.
# Environment: CAISSON_ROOTS, directories that hold state (space-separated).
set -u

# Processes come and go meanwhile: what cannot be read any more is gone. Few forks: it runs twice for each test.
census() {
	local p comm words
	for p in /proc/[0-9]*; do
		read -r comm < "$p/comm" || continue
		words=()
		mapfile -d '' -t words < "$p/cmdline" || continue
		case $comm:${words[0]:-} in
		caisson*:* | *:caisson-* | *:*/caisson) echo "process ${p#/proc/} ${words[*]}" ;;
		esac
	done
	awk '{ $1 = $2 = $3 = $4 = ""; print "mount", $0 }' /proc/self/mountinfo
	awk 'NR > 1 && $8 ~ /caisson|control\.sock/ { print "socket", $8 }' /proc/net/unix
	find /sys/fs/cgroup -mindepth 1 -type d -printf 'cgroup %p\n'
	find /proc/[0-9]*/ns -type l -printf 'namespace %l\n' | sort -u
	for p in ${CAISSON_ROOTS:-/run/caisson}; do
		[[ -d $p ]] && find "$p" -mindepth 1 -printf 'state %p\n'
	done
	return 0
}

case ${1:-} in
census) census 2>/dev/null | sort ;;
compare)
	for ((i = 0; i < 150; i++)); do
		left=$(comm -13 "$2" <(census 2>/dev/null | sort))
		[[ -z $left ]] && exit 0
		sleep 0.2
	done
	printf 'left over:\n%s\n' "$left"
	exit 1 ;;
*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
