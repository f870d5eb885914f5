#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# sizes.sh - no function above 80 lines, no file above 1000 (tests are lists: they may)
#
# Functions are found by the style: a '{' alone in column 1 opens a body, a '}' in column 1 closes it.

set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 2

git ls-files -co --exclude-standard --deduplicate -- '*.c' '*.h' | while read -r f; do
	[[ -f $f ]] && awk -v file="$f" '
	/^[a-zA-Z].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
	/^\{$/ { start = NR }
	/^\}/ && start {
		if (NR - start - 1 > 80) printf "%s:%d: %s() has %d lines\n", file, start, name, NR - start - 1
		start = 0
	}
	END { if (NR > 1000 && file !~ /^tests\//) printf "%s: %d lines\n", file, NR }' "$f"
done | { found=$(cat); [[ -z $found ]] || { echo "$found"; exit 1; }; }
