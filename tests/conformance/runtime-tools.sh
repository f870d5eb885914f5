#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# runtime-tools.sh - the OCI runtime-tools validation programs, for several runtimes, side by side
#
#   runtime-tools.sh DIR [PROGRAM...]     default: every program that is built in DIR
#
# DIR is a checkout of opencontainers/runtime-tools in which `make runtimetest validation-executables` has run; it is no part of this
# repository, and in the lab it must not lie below /tmp or /run. A PROGRAM is the name of its folder, as in "linux_sysctl".
#
# RUNTIMES     the runtimes to compare ("runc caisson"): programs on PATH, or paths; `caisson` is the one that is built here
# KVM          direct|lab: where they run (default: found out; see tests/kvm-mode.sh)
# LIMIT_S      seconds for one program (300); ROUND_S: for all of them (7200)
#
# A program's verdict is a TAP harness's: failed when it exits with a failure, says "not ok" (without a TODO directive), or stops before
# its plan's end; skipped when no test ran, because each was skipped or there was none; else passed. Some programs have no test
# that could fail, and tell what they found as the text of an error: "complains" is the verdict then, which counts as skipped.
#
# There is a line for each program whose verdict is not the same for all runtimes; what all of them said is in
# build/conformance/runtime-tools.log. The last line is "N passed, N failed, N skipped" for caisson, or for the last runtime if
# caisson is not among them; the lines before it say the same for the others. Exit status: 1 if caisson fails a program that
# another runtime passes, or complains where another does not, and docs/conformance.md does not list it.
set -u
SELF=$(realpath "$0")
cd "$(dirname "$SELF")/../.." || exit 2
. tests/kvm-mode.sh

usage() {
	sed -n '2,/^set/s/^# \{0,1\}//p' "$SELF" >&2
	exit 2
}

# ---- inside: on the machine that runs guests -------------------------------------------------------------------------

verdict() { # STATUS, its output on stdin
	awk -v status="$1" '
	/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0; planned = 1; next }
	/^(not )?ok([ \t]|$)/ {
		seen++
		if (toupper($0) ~ /# *SKIP/) skip++
		else if (/^not/ && toupper($0) !~ /# *TODO/) bad++
		next
	}
	/^Bail out!/ { bad++ }
	/^ *"error":/ { complaints++ }
	END {
		if (status != 0 || bad || (seen && !planned) || seen < plan) print "failed"
		else if (seen > skip) print "passed"
		else print complaints ? "complains" : "skipped"
	}'
}

# What a program leaves behind must not trouble the next one
clear_away() { # RUNTIME
	local id
	for id in $(timeout 60 "$1" list -q 2> /dev/null); do timeout 60 "$1" delete --force "$id"; done > /dev/null 2>&1
	# a container without a mount namespace leaves its mounts here
	awk '$2 ~ /\/ocitest[0-9]+/ { print $2 }' /proc/self/mounts | tac | xargs -r -n 1 umount -l
	rm -rf --one-file-system "${TMPDIR:-/tmp}"/ocitest*
}

inside() { # SUITE DIRECTORY, JOBS on stdin: "RUNTIME PROGRAM"
	local runtime program out status started
	out=$(mktemp)
	cd "$1" || exit 2
	while read -r runtime program; do
		started=$SECONDS
		RUNTIME=$runtime timeout -k 10 "${LIMIT_S:-300}" "validation/$program/$program.t" > "$out" 2>&1 < /dev/null
		status=$?
		sed 's/^/# /' "$out"
		echo "=== $runtime $program $(verdict "$status" < "$out") $status $((SECONDS - started))"
		clear_away "$runtime"
	done
	rm -f "$out"
}

# ---- outside ---------------------------------------------------------------------------------------------------------

jobs_left() { # RUNTIME PROGRAM... : what LOG has no verdict for
	local runtime program
	for runtime in "${PATHS[@]}"; do
		for program in "$@"; do
			grep -q "^=== $runtime $program " "$LOG" || echo "$runtime $program"
		done
	done
}

# The lab's own machine may die: then it goes on after the program at which it did, which counts as failed
rounds() { # SUITE PROGRAM...
	local suite=$1 jobs status before
	shift
	while jobs=$(jobs_left "$@"); [[ -n $jobs ]]; do
		before=$(wc -l < "$LOG")
		PASS='LIMIT_S JOBS_TEXT' JOBS_TEXT=$jobs in_guest_host "${ROUND_S:-7200}" \
			unshare --mount --propagation private bash -c '"$0" --inside "$1" <<< "$JOBS_TEXT"' "$SELF" "$suite" |
			tee -a "$LOG" | sed -u -nE 's/^=== .*\/([^ ]+) ([^ ]+) ([a-z]+) .* ([0-9]+)$/# \1 \2: \3, \4 s/p'
		status=${PIPESTATUS[0]}
		((status == 0)) && continue
		jobs=$(jobs_left "$@" | head -n 1)
		[[ -n $jobs ]] || break
		echo "# the machine ended ($status) in $jobs"
		tail -n "+$((before + 1))" "$LOG" | grep -q '^=== ' || { echo "# it ran nothing" >&2; exit 2; }
		echo "=== $jobs failed $status 0" >> "$LOG"
	done
}

report() { # the lines that differ, then the sums
	awk -v order="${PATHS[*]}" -v known="$(sed -nE 's/^\| `([a-z_]+)` \|.*/\1/p' docs/conformance.md 2> /dev/null | tr '\n' ' ')" '
	function name(path) { sub(/.*\//, "", path); return path }
	/^=== / { v[$2, $3] = $4; if (!($3 in row)) { row[$3] = ++rows; program[rows] = $3 } }
	END {
		n = split(order, runtime, " ")
		for (i = 1; i <= n; i++) if (name(runtime[i]) == "caisson") ours = i
		if (!ours) ours = n
		for (r = 1; r <= rows; r++) {
			p = program[r]; line = ""; differ = better = 0
			for (i = 1; i <= n; i++) {
				x = v[runtime[i], p]
				line = line sprintf(" %s %s%s", name(runtime[i]), x, i < n ? "," : "")
				if (x != v[runtime[1], p]) differ = 1
				if (rank(x) > rank(v[runtime[ours], p])) better = 1
				sum[i, x == "complains" ? "skipped" : x]++
			}
			listed = index(" " known, " " p " ") > 0
			if (better && !listed) bad++
			if (differ) printf "%s:%s%s\n", p, line, better && listed ? " (docs/conformance.md says why)" : ""
		}
		for (i = 1; i <= n; i++) if (i != ours) printf "%s: %s\n", name(runtime[i]), sums(i)
		print sums(ours)
		exit bad > 0
	}
	function rank(x) { return x == "passed" || x == "skipped" ? 2 : x == "complains" ? 1 : 0 }
	function sums(i) {
		return sprintf("%d passed, %d failed, %d skipped", sum[i, "passed"], sum[i, "failed"], sum[i, "skipped"])
	}' "$LOG"
}

main() {
	local suite runtime programs
	[[ ${1:-} == --inside ]] && { inside "$2"; exit; }
	suite=$(realpath -e -- "${1:-}" 2> /dev/null) && [[ -e $suite/runtimetest ]] || usage
	shift
	programs=("$@")
	(($#)) || mapfile -t programs < <(cd "$suite/validation" && printf '%s\n' */*.t | sed 's|/.*||' | sort)
	PATHS=()
	for runtime in ${RUNTIMES:-runc caisson}; do
		[[ $runtime == caisson ]] && runtime=$CAISSON
		PATHS+=("$(realpath -e "$(command -v "$runtime")")") || { echo "there is no $runtime" >&2; exit 2; }
	done
	mkdir -p build/conformance
	LOG=$TOP/build/conformance/runtime-tools.log
	: > "$LOG"
	kvm_mode || exit 2
	echo "# ${#programs[@]} programs, guests run: $GUESTS; runtimes: ${PATHS[*]}"
	rounds "$suite" "${programs[@]}"
	report
}

main "$@"
