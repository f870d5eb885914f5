#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cover.sh - line coverage of our sources after the unit tests ran (make cover)
#
# Usage: cover.sh BUILD-DIRECTORY [FOLDER=PERCENT…]
#
# A line per file, one per folder, and one for all. A file that was compiled and that no test ran counts with no line covered; a
# source that was not even compiled is an error. Exit status: 1 if the files of a FOLDER have less than PERCENT of their
# lines covered.

set -eu -o pipefail
cd "$(dirname "$0")/.."
BUILD=$1
shift

files() {
	local notes source
	find "$BUILD" -name '*.gcno' -not -path "$BUILD/tests/*" -not -path "$BUILD/gen/*" | sort | while read -r notes; do
		source=${notes#"$BUILD/"} source=${source%.gcno}.c
		[[ -f $source ]] || continue # was removed since
		gcov -n -o "${notes%.gcno}.o" "${notes%.gcno}.gcda" 2> /dev/null | awk -v source="$source" '
			/^File / { file = $2; gsub(/\x27/, "", file) }
			/^Lines executed:/ {
				split($0, a, /[:% ]+/)
				if (file == source) printf "%6.1f %% of %5d  %s\n", a[3], a[5], file
				file = ""
			}'
	done
}

LINES=$(files)
BAD=0
for wanted in "$@"; do
	for source in "${wanted%%=*}"/*.c; do
		grep -q " $source\$" <<< "$LINES" || { echo "$source was not compiled"; BAD=1; }
	done
done
awk -v wanted="$*" '
	function percent(folder) { return 100 * covered[folder] / total[folder] }
	{
		print
		folder = $5
		sub(/\/[^\/]*$/, "", folder)
		if (!(folder in total)) order[n++] = folder
		covered[folder] += $1 * $4 / 100; total[folder] += $4
		covered[""] += $1 * $4 / 100; total[""] += $4
	}
	END {
		if (!total[""]) { print "nothing was measured"; exit 1 }
		for (i = 0; i < n; i++) printf "%6.1f %% of %5d  all of %s/\n", percent(order[i]), total[order[i]], order[i]
		printf "%6.1f %% of %5d  in all\n", percent(""), total[""]
		split(wanted, list, " ")
		for (i in list) {
			split(list[i], pair, "=")
			if (total[pair[1]] && percent(pair[1]) >= pair[2]) continue
			printf "%s/ has less than %s %% of its lines covered\n", pair[1], pair[2]
			bad = 1
		}
		exit bad
	}' <<< "$LINES" || BAD=1
exit "$BAD"
