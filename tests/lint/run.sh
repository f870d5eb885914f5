#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# lint/run.sh - the static checks, as TAP: one test per check
#
# Usage: run.sh [CHECK…]     names as printed; default: all
#
# The files are those that git knows or would add: nothing below build/. A check prints what it found and fails; a
# tool that is not installed fails, too.

set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 2
CHECKS=(layers sizes warnings format cppcheck shellcheck spelling names)

files() { # PATTERN…
	git ls-files -co --exclude-standard --deduplicate -- "$@" | while read -r f; do [[ -f $f ]] && echo "$f"; done
}

scripts() {
	files '*.sh' '*.bash' '*.bats' .ci
	files tests/lab | xargs -r grep -lE '^#!/(usr/)?bin/(env )?(ba)?sh'
}

check_layers() { tests/lint/layers.sh; }
check_sizes() { tests/lint/sizes.sh; }

check_warnings() {
	local f bad=0
	make --no-print-directory -s build/gen/lib/ttrpc.pb-c.h build/gen/guest/agent.pb-c.h || return 1
	while read -r f; do
		gcc -std=gnu17 -D_GNU_SOURCE= -I. -Ibuild/gen -DCAISSON_VERSION='""' -DCAISSON_LIBDIR='""' -DCAISSON_SYSCONFDIR='""' -DCAISSON_DATADIR='""' -Wall -Wextra -Wshadow \
			-Wvla -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wundef -Wwrite-strings -Werror -fsyntax-only "$f" || bad=1
	done < <(files '*.c' | grep -v '^tests/')
	return $bad
}

check_format() {
	local bad
	command -v clang-format-14 > /dev/null || { echo "clang-format-14 is not installed"; return 1; }
	bad=$(files '*.c' '*.h' | while read -r f; do
		clang-format-14 "$f" | cmp -s - "$f" || echo "$f: run 'make format'"
	done)
	[[ -z $bad ]] || { echo "$bad"; return 1; }
}

# memleak: it knows neither take_ptr() nor the cleanup attribute; the sanitised suites look for leaks.
# comparePointers: the start and end of code between two symbols.
check_cppcheck() {
	files '*.c' | grep -v '^tests/' | xargs cppcheck --quiet --error-exitcode=1 --enable=warning,portability --inline-suppr \
		--std=c11 --suppress=missingInclude --suppress=unknownMacro --suppress=nullPointerRedundantCheck \
		--suppress=preprocessorErrorDirective --suppress=memleak --suppress=comparePointers -D_GNU_SOURCE= -I. -j 2 --template='{file}:{line}: {id}: {message}'
}

check_shellcheck() {
	local bad=0
	# SC1007: `local a= b=`; SC2054: commas within options of other programs
	scripts | sort -u | grep -vE '\.bats$|\.bash$' | xargs -r shellcheck -x -S warning -f gcc -e SC1007,SC2054 || bad=1
	# bats sets variables and redirects by itself
	scripts | sort -u | grep -E '\.bats$|\.bash$' | xargs -r shellcheck -x -S warning -f gcc -e SC2154,SC2034,SC2217,SC2030,SC2031 || bad=1
	return $bad
}

check_spelling() {
	files | grep -vE '^guest/kernel/config|^tests/fuzz/corpus/' | xargs codespell -L "$(paste -sd, tests/lint/words)"
}

# Nothing in the tree may name the machine it was written on
check_names() {
	local found
	found=$(files | grep -vE '^tests/lint/|^tests/fuzz/corpus/' |
		xargs grep -nIE '(^|[^A-Za-z0-9_."}$/-])/work/(main|shared|scratch)|[Cc]laude|[Aa]nthropic|ChatGPT|/home/[a-z]+/' --)
	[[ -z $found ]] || { echo "$found"; return 1; }
}

main() {
	local i=0 out
	(($#)) || set -- "${CHECKS[@]}"
	echo "1..$#"
	for c in "$@"; do
		i=$((i + 1))
		if ! declare -F "check_$c" > /dev/null; then
			echo "not ok $i - no lint check is called '$c'"
		elif out=$("check_$c" 2>&1); then
			echo "ok $i - lint: $c"
		else
			echo "not ok $i - lint: $c"
			printf '%s\n' "$out" | head -n 200 | sed 's/^/# /'
			BAD=1
		fi
	done
}

BAD=0
main "$@"
exit "$BAD"
