#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# start.sh [ROUNDS] - start-up time as a ratio to QEMU's microvm with virtiofsd, and memory; see start.py
set -eu
cd "$(dirname "$0")/../.."
. tests/kvm-mode.sh
kvm_mode
in_guest_host "${BENCH_LIMIT_S:-1800}" python3 "$TOP/tests/bench/start.py" "$CAISSON" "$TOP/build/release/tests/first" \
	"$(realpath "${CAISSON%/*}/guest/vmlinux")" "${1:-20}"
