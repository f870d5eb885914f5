#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# fuzz/run.sh - fuzz each target for some seconds (make fuzz)
#
# Usage: run.sh SECONDS TARGET…
#
# What is found to be interesting is kept in build/fuzz/found/NAME, what fails in build/fuzz/NAME-*. A bug goes into
# tests/fuzz/corpus/NAME together with its fix.

set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 2
LIMIT=$1 BAD=0
shift
for target in "$@"; do
	name=$(basename "$target")
	mkdir -p "build/fuzz/found/$name" "tests/fuzz/corpus/$name"
	dict=()
	[[ ! -f tests/fuzz/$name.dict ]] || dict=(-dict="tests/fuzz/$name.dict")
	echo "== fuzz $name: $LIMIT s"
	"$target" -max_total_time="$LIMIT" -timeout=25 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 -verbosity=1 \
		-artifact_prefix="build/fuzz/$name-" "${dict[@]}" "build/fuzz/found/$name" "tests/fuzz/corpus/$name" 2>&1 |
		grep -vE 'NEW  |REDUCE|pulse' || { echo "fuzz $name: failed, see build/fuzz/$name-*"; BAD=1; }
done
exit "$BAD"
