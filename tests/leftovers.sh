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

census() { # processes come and go meanwhile: what cannot be read any more is gone
	local p n
	for p in /proc/[0-9]*; do
		n=$(tr '\0' ' ' 2>/dev/null < "$p/cmdline") || continue
		case $(cat "$p/comm" 2>/dev/null):$n in
		caisson* | *:caisson-* | *build/*/caisson*) [[ ${p#/proc/} == "$$" ]] || echo "process ${p#/proc/} $n" ;;
		esac
	done
	cut -d' ' -f5- /proc/self/mountinfo | sed 's/^/mount /'
	awk 'NR > 1 && $8 ~ /caisson|control\.sock/ { print "socket", $8 }' /proc/net/unix
	find /sys/fs/cgroup -mindepth 1 -type d 2>/dev/null | sed 's/^/cgroup /'
	readlink /proc/[0-9]*/ns/* 2>/dev/null | sort -u | sed 's/^/namespace /'
	for p in ${CAISSON_ROOTS:-/run/caisson}; do
		[[ -d $p ]] && find "$p" -mindepth 1 2>/dev/null | sed 's/^/state /'
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
