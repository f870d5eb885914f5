#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run-vm.sh - the bats suites that need real guests
#
#   run-vm.sh [SUITE...]     default: every tests/vm/*.bats; prints TAP, one plan for each suite
#
# VARIANT=release|address chooses the build, KVM=direct|lab where guests run (default: found out), SUITE_LIMIT_S the time for one
# suite. Each suite has a lab of its own, so that a lab that dies (it emulates a processor, and says so with status 125) costs one
# suite. A suite that fails there is repeated once, loudly; on a real /dev/kvm nothing is repeated.
set -u
cd "$(dirname "$0")/.." || exit 2
. tests/kvm-mode.sh

suite() { # FILE: print its TAP
	local out rc
	out=$(mktemp)
	TOOLS=$TOP/build/release/tests PASS='TOOLS BATS_FILTER SUITE_JOBS STDIO_BYTES ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS' \
		in_guest_host "${SUITE_LIMIT_S:-900}" bats --tap ${BATS_FILTER:+--filter "$BATS_FILTER"} "$1" < /dev/null > "$out" 2>&1 &
	tail --pid=$! -n +1 -f "$out"	# progress as it comes
	wait $!
	rc=$?
	rm -f "$out"
	return $rc
}

main() {
	local failed=0 rc f
	export TOOLS=$TOP/build/release/tests
	if [[ $VARIANT == address ]]; then
		export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:exitcode=99} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
	fi
	kvm_mode || return 2
	echo "# guests run: $GUESTS; program: $CAISSON"
	(($#)) || set -- tests/vm/*.bats
	for f in "$@"; do
		echo "# suite $f"
		suite "$f"
		rc=$?
		if [[ $GUESTS == lab ]] && ((rc != 0)); then
			echo "# $f failed in the lab with status $rc, whose emulated processor now and then kills a guest: once more"
			echo "not ok 0 $f # RETRIED"
			suite "$f"
			rc=$?
		fi
		((rc == 0)) || { echo "# suite $f: status $rc"; failed=1; }
	done
	return $failed
}

main "$@"
