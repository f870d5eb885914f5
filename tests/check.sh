#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check.sh - run the suites and count
#
# Usage: check.sh all            build, then every suite one after another (make check)
#        check.sh run PROGRAM…   these test programs (make check-unit, check-fuzz)
#        check.sh engines        real engines, with caisson and with runc (make check-engines)
#
# Every suite speaks TAP: cmocka's unit tests, the fuzz targets' replay, tests/lint/run.sh, tests/fuse/run.sh, bats. Its output is kept in
# build/check/SUITE.log; failures, and in slow suites each test, are shown as they come. A program that prints no plan, stops
# before its plan's end or exits with a failure that no test explains counts as a failed test: silence is no success.
#
# The last line is "N passed, N failed, N skipped" over all suites. Exit status: 0 when nothing failed.
# STRICT=1: a skipped test is a failure unless its reason begins with "host:".
# ENGINES=TAGS: `all` ends with the engines' tests that have these tags, with caisson only (ENGINES=smoke: some minutes).
# CHECK="lint unit …" runs only these suites of `all`. UNIT_LIMIT_S: seconds for one unit test program (120).

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 2
MAKE=${MAKE:-make}
LOGS=build/check
TALLY=$(mktemp)
trap 'rm -f "$TALLY"' EXIT

# mawk reads pipes in blocks unless told otherwise
UNBUFFERED=()
[[ $(readlink -f "$(command -v awk)") != *mawk ]] || UNBUFFERED=(-W interactive)

say() { printf '== %s\n' "$*"; }

# Counts TAP. Appends "passed failed skipped" to TALLY, prints what is worth showing: failures, and the progress that
# tests/run-vm.sh reports as comments.
count() { # NAME SHOW(all|failures)
	awk "${UNBUFFERED[@]}" -v name="$1" -v show="$2" -v strict="${STRICT:-}" -v tally="$TALLY" '
	function fresh() { plan = seen = pass = fail = skip = 0; planned = 0 }
	function commit() {
		if (planned && seen < plan) {
			printf "not ok - %s: stopped after %d of %d tests\n", where, seen, plan
			fail += plan - seen
		} else if (!planned && (seen || where != name)) {
			printf "not ok - %s: no plan\n", where
			fail++
		}
		planned_any += planned
		passed += pass; failed += fail; skipped += skip
		fresh()
	}
	BEGIN { where = name; fresh() }
	/^# suite [^ ]+$/ { commit(); where = $3; print; fflush(); next }
	/^# [a-z]+\.bats: / { print; fflush(); next }
	/^1\.\.[0-9]+/ { plan += substr($1, 4); planned = 1; next }
	/^(not )?ok([ \t]|$)/ {
		seen++; shown = 1
		if (match(tolower($0), /# *skip/)) {
			reason = substr($0, RSTART + RLENGTH); sub(/^[^ ]* */, "", reason)
			if (strict == "1" && reason !~ /^host:/) { fail++; print $0 " (STRICT: a skip is a failure)" }
			else { skip++; print }
		} else if (/^ok/) { pass++; shown = show == "all"; if (shown) print }
		else { fail++; print }
		fflush(); next
	}
	/exit-status: / { status = $2; next }
	shown || /ERROR|SUMMARY:|runtime error|error:|Assertion|LeakSanitizer/ { print; fflush() }
	END {
		commit()
		if (!planned_any) { print "not ok - " name ": printed no plan"; failed++ }
		if (status != 0 && failed == 0) { print "not ok - " name ": exit status " status; failed++ }
		print passed + 0, failed + 0, skipped + 0 >> tally
	}'
}

# One suite or program: log, count
tap() { # NAME SHOW COMMAND…
	local name=$1 show=$2
	shift 2
	mkdir -p "$LOGS"
	{ "$@" < /dev/null 2>&1; echo "exit-status: $?"; } | tee "$LOGS/$name.log" | count "$name" "$show"
}

programs() { # LABEL PROGRAM…
	local label=$1 p
	shift
	for p in "$@"; do
		tap "$label-$(basename "$p")" failures env CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 5 "${UNIT_LIMIT_S:-120}" "$p"
	done
}

sum() { # FROM-LINE: "P passed, F failed, S skipped"
	tail -n "+$1" "$TALLY" | awk '{ p += $1; f += $2; s += $3 }
		END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }'
}

# A suite with its heading and its own sum
suite() { # NAME COMMAND…
	local name=$1 from start=$SECONDS
	shift
	[[ " ${CHECK:-$name} " == *" $name "* ]] || return 0
	from=$(($(wc -l < "$TALLY") + 1))
	say "$name"
	"$@"
	say "$name: $(sum "$from"), $((SECONDS - start)) s"
}

built() { # each test's program below a variant: DIRECTORY SUFFIX FOLDER VARIANT
	local f
	for f in "$1"/*"$2"; do
		f=$(basename "$f")
		[[ $f == "*$2" ]] || echo "build/$4/$3/${f%"${2#_test}"}"
	done
}

failed_build() { # WHAT
	echo "not ok - $1 does not build"
	echo 0 1 0 >> "$TALLY"
}

make_quietly() { # TARGET…: -k so that one broken test hides no other
	"$MAKE" --no-print-directory -k -j"$(nproc)" "$@"
}

unit() { # VARIANT
	local list san=()
	[[ $1 == release ]] || san=(SAN="$1")
	make_quietly unit-tests "${san[@]}" || failed_build "some unit test ($1)"
	mapfile -t list < <(built tests/unit _test.c unit "$1")
	programs "unit-$1" "${list[@]}"
}

fuzz() {
	local list
	mapfile -t list < <(built tests/fuzz _fuzz.c fuzz address)
	make_quietly SAN=address "${list[@]}" || failed_build "some fuzz target"
	programs fuzz "${list[@]}"
}

fuse() { # the file server on this host's own FUSE client
	if make_quietly build/address/fuse/fuse_mount build/release/tests/filetree; then
		tap fuse failures tests/fuse/run.sh
	else
		failed_build "fuse_mount or filetree"
	fi
}

cli() { # VARIANT: the command line, without guests
	local san=()
	[[ $1 == release ]] || san=(SAN="$1")
	if make_quietly programs "${san[@]}"; then
		tap "cli-$1" failures env CAISSON="build/$1/caisson" ASAN_OPTIONS=detect_leaks=1 bats --tap tests/cli
	else
		failed_build "the program ($1)"
	fi
}

vm() { # VARIANT
	local san=()
	[[ $1 == release ]] || san=(SAN="$1")
	if make_quietly all "${san[@]}"; then
		tap "vm-$1" failures env VARIANT="$1" tests/run-vm.sh
	else
		failed_build "the program ($1)"
	fi
}

engines() { # TAGS RUNTIMES
	if make_quietly all; then
		tap engines failures env VARIANT=release ENGINES_TAGS="$1" RUNTIME="$2" tests/engines/run.sh
	else
		failed_build "the program"
	fi
}

all() {
	suite lint tap lint all tests/lint/run.sh
	suite unit unit release
	suite unit-address unit address
	suite fuzz fuzz
	suite fuse fuse
	suite cli cli release
	suite cli-address cli address
	suite vm vm release
	# By name only (make check-san): it doubles the longest suite's time
	[[ " ${CHECK:-} " != *" vm-address "* ]] || suite vm-address vm address
	[[ -z ${ENGINES:-} ]] || suite engines engines "$ENGINES" caisson
}

case ${1:-} in
all) all ;;
run) shift; programs run "$@" ;;
engines) engines "${ENGINES_TAGS:-}" "${RUNTIME:-caisson runc}" ;;
*) echo "usage: check.sh all | run PROGRAM… | engines" >&2; exit 2 ;;
esac
sum 1
