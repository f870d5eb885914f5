#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# deps.sh - install the Debian packages of scripts/packages that are missing
#
# Usage: deps.sh [LIST]           name what is missing, then install it (as root); silent when nothing is missing
#        deps.sh --list [LIST]    only print what is missing
#
# LIST is a file of scripts/: packages (default), or packages-engines.
#
# Nothing is removed or upgraded on purpose, nothing is asked. Exit status: 0 when all are there in the end.

set -eu -o pipefail
HERE=$(dirname "$(realpath "$0")")

ONLY_LIST=
[[ ${1:-} != --list ]] || { ONLY_LIST=1; shift; }
LIST=${1:-packages}

say() { printf 'deps: %s\n' "$*" >&2; }

wanted() {
	sed 's/#.*//' "$HERE/$LIST" | xargs -n 1
}

# dpkg-query fails when it knows nothing of some; what is installed is printed all the same
missing() {
	local names
	mapfile -t names < <(wanted)
	# shellcheck disable=SC2016 # dpkg-query's own variables
	comm -23 <(printf '%s\n' "${names[@]}" | sort -u) \
		<(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package}\n' "${names[@]}" 2> /dev/null |
			sed -nE 's/^[hi]i +([^:]+)(:.*)?$/\1/p' | sort -u)
}

if ! command -v dpkg-query > /dev/null; then
	say "this is no Debian: install what corresponds to the packages in scripts/packages yourself"
	exit 0
fi
mapfile -t MISSING < <(missing)
if [[ -n $ONLY_LIST ]]; then
	[[ ${#MISSING[@]} == 0 ]] || printf '%s\n' "${MISSING[@]}"
	exit 0
fi
[[ ${#MISSING[@]} != 0 ]] || exit 0
say "${#MISSING[@]} Debian packages are missing: ${MISSING[*]}"
if [[ $(id -u) != 0 ]]; then
	say "installing them needs root: run 'make deps' as root"
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
say "fetching the package lists"
apt-get -q update < /dev/null >&2
say "installing; the guest kernel's source alone is about 140 MB"
apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install "${MISSING[@]}" < /dev/null >&2
mapfile -t MISSING < <(missing)
if [[ ${#MISSING[@]} != 0 ]]; then
	say "still missing: ${MISSING[*]}"
	exit 1
fi
say "done"
