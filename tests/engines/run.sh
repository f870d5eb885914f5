#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - real engines with caisson as their runtime, and with runc: the same tests, the same answers
#
#   run.sh [SUITE...]     default: every tests/engines/*.bats; prints TAP, one plan for each suite and runtime
#
# RUNTIME=caisson|runc|"caisson runc"   what the engines run (default caisson)
# ENGINES_ROOT=DIR   the lab's root is DIR, a tree of another Debian with its engines (debootstrap), not this host
# ENGINES_TAGS=TAGS  only tests with these tags (bats --filter-tags; `smoke`: a few minutes), BATS_FILTER='name' only these
# SUITE_LIMIT_S      time for one suite (3600), KVM=direct|lab where guests run, LAB_MEMORY the lab's memory (8G)
#
# Each suite has a machine of its own and starts its engine itself; where KVM works it runs on this host, as root, with state
# directories of its own. A machine of the lab that died itself (status 125) is repeated once, and that is said.
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/kvm-mode.sh

suite() { # FILE RUNTIME
	# shellcheck disable=SC2030 # one suite's
	export RUNTIME=$2
	local filter=()
	[[ -z ${ENGINES_TAGS:-} ]] || filter+=(--filter-tags "$ENGINES_TAGS")
	[[ -z ${BATS_FILTER:-} ]] || filter+=(--filter "$BATS_FILTER")
	PASS='RUNTIME TOOLS' in_guest_host "${SUITE_LIMIT_S:-3600}" bats --tap "${filter[@]}" "$1" < /dev/null 2>&1
}

# What comes meanwhile is shown as comments; the suite's own TAP when it has ended
watched() { # FILE RUNTIME OUTPUT
	local rc
	: > "$3"
	suite "$1" "$2" > "$3" &
	tail -q --pid=$! -n +1 -s 0.5 -f "$3" | sed -u -E "s|^|# ${1##*/}: |"
	wait $!
	rc=$?
	return $rc
}

block() { # FILE RUNTIME
	local rc out started=$SECONDS name=${1##*/}
	out=$(mktemp)
	watched "$1" "$2" "$out"
	rc=$?
	if [[ $GUESTS == lab ]] && ((rc == 125)); then
		sed 's/^/# /' "$out"
		echo "# $name: the lab itself died: once more"
		watched "$1" "$2" "$out"
		rc=$?
	fi
	echo "# suite ${name%.bats}-$2"
	cat "$out"
	echo "# $name: with $2: status $rc, $((SECONDS - started)) s"
	rm -f "$out"
	return $rc
}

main() {
	local failed=0 f r
	export TOOLS=$TOP/build/release/tests
	kvm_mode || return 2
	LAB_MEMORY=${LAB_MEMORY:-8G} LAB_OPTIONS=(-n)
	[[ -z ${ENGINES_ROOT:-} ]] || LAB_OPTIONS+=(-r "$ENGINES_ROOT" -w "$TOP")
	if [[ -n ${ENGINES_ROOT:-} && $GUESTS == direct ]]; then
		echo "ENGINES_ROOT is for the lab: set KVM=lab" >&2
		return 2
	fi
	(($#)) || set -- tests/engines/*.bats
	for r in ${RUNTIME:-caisson}; do
		for f; do block "$f" "$r" || failed=1; done
	done
	return $failed
}

main "$@"
