#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# net.sh [ROUNDS] - TCP throughput and request latency as ratios to QEMU's virtio-net; see net.py
set -eu
cd "$(dirname "$0")/../.."
. tests/kvm-mode.sh
kvm_mode
in_guest_host "${BENCH_LIMIT_S:-1800}" python3 "$TOP/tests/bench/net.py" "$TOP" "${1:-5}"
