#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run-vm.sh - the bats suites that need real guests
#
#   run-vm.sh [SUITE...]     default: every tests/vm/*.bats; prints TAP, one plan for each suite
#
# VARIANT=release|address chooses the build, KVM=direct|lab where guests run (default: found out), SUITE_LIMIT_S the time for one
# suite, JOBS how many suites run at a time (the number of CPUs in the lab, else 1).
#
# In the lab each suite has a machine of its own with ONE processor (kvm-mode.sh says why), so the parallelism is between machines, and
# a guest that dies there is our bug: nothing is repeated, but for a machine that died itself (status 125: once, and it is said).
#
# A suite's output is kept until it ends, so that blocks do not mix; what comes meanwhile is shown as comments.
set -u
cd "$(dirname "$0")/.." || exit 2
. tests/kvm-mode.sh

# The longest first, so that none begins when all others are done
ORDER='files run stdio life exec seccomp bad jail'

suite() { # FILE OUTPUT: its TAP into OUTPUT
	local rc
	: > "$2"
	TOOLS=$TOP/build/release/tests PASS='TOOLS ROUNDS SEED BATS_FILTER SUITE_JOBS STDIO_BYTES ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS' \
		in_guest_host "${SUITE_LIMIT_S:-1500}" bats --tap ${BATS_FILTER:+--filter "$BATS_FILTER"} "$1" < /dev/null > "$2" 2>&1 &
	tail -q --pid=$! -n +1 -s 0.5 -f "$2" | sed -u -nE "s|^(not )?ok|# ${1##*/}: &|p"
	wait $!
	rc=$?
	return $rc
}

# A suite, once more if its machine died; prints its block when it is done
block() { # FILE
	local out rc started=$SECONDS
	out=$(mktemp)
	suite "$1" "$out"
	rc=$?
	if [[ $GUESTS == lab ]] && ((rc == 125)); then
		sed 's/^/# /' "$out"
		echo "# $1: the lab itself died: once more"
		suite "$1" "$out"
		rc=$?
	fi
	{
		flock 8
		echo "# suite $1"
		cat "$out"
		echo "# $1: status $rc, $((SECONDS - started)) s"
	} 8> "$LOCK"
	rm -f "$out"
	return $rc
}

order() { # the suites of ORDER first
	local n
	for n in $ORDER; do [[ -e tests/vm/$n.bats ]] && echo "tests/vm/$n.bats"; done
	for n in tests/vm/*.bats; do [[ " $ORDER " == *" $(basename "$n" .bats) "* ]] || echo "$n"; done
}

main() {
	local failed=0 running=0 jobs f
	export TOOLS=$TOP/build/release/tests
	if [[ $VARIANT == address ]]; then
		export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:exitcode=99} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
	fi
	kvm_mode || return 2
	jobs=${JOBS:-1}
	[[ $GUESTS == direct || -n ${JOBS:-} ]] || jobs=$(nproc)
	echo "# guests run: $GUESTS, $jobs suites at a time; program: $CAISSON"
	LOCK=$(mktemp)
	(($#)) || mapfile -t suites < <(order)
	(($#)) && suites=("$@")
	for f in "${suites[@]}"; do
		if ((running == jobs)); then
			wait -n || failed=1
			running=$((running - 1))
		fi
		block "$f" &
		running=$((running + 1))
	done
	while ((running > 0)); do
		wait -n || failed=1
		running=$((running - 1))
	done
	rm -f "$LOCK"
	return $failed
}

main "$@"
