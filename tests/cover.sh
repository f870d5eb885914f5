#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# cover.sh - line coverage of our sources after the unit tests ran (make cover)
#
# Usage: cover.sh BUILD-DIRECTORY
#
# Sources that no unit test links count with no line covered only when they were compiled; the sum is over what is listed.

set -eu -o pipefail
cd "$(dirname "$0")/.."
BUILD=$1

find "$BUILD" -name '*.gcno' -not -path "$BUILD/tests/*" -not -path "$BUILD/gen/*" | sort | while read -r notes; do
	gcov -n -o "${notes%.gcno}.o" "${notes%.gcno}.gcda" 2> /dev/null |
		awk -v source="$(realpath --relative-to="$BUILD" "${notes%.gcno}.c" 2> /dev/null)" '
		/^File / { file = $2; gsub(/\x27/, "", file) }
		/^Lines executed:/ { split($0, a, /[:% ]+/); if (file == source) printf "%6.1f %% of %5d  %s\n", a[3], a[5], file; file = "" }'
done | sort -k5 | awk '{ print; covered += $1 * $4 / 100; total += $4 }
	END { if (total) printf "%6.1f %% of %5d  in all\n", 100 * covered / total, total }'
