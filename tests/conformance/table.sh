#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# table.sh [CASE...] - table.py, on this host or in the lab (KVM=direct|lab; see tests/kvm-mode.sh); runc has to be installed
set -u
cd "$(dirname "$0")/../.." || exit 2
. tests/kvm-mode.sh

main() {
	local status
	command -v runc > /dev/null || { echo "runc is not installed: apt-get install runc" >&2; exit 2; }
	kvm_mode || exit 2
	echo "# guests run: $GUESTS; $(runc --version | head -n 1); $CAISSON"
	for _ in 1 2; do
		in_guest_host "${SUITE_LIMIT_S:-5400}" env PYTHONDONTWRITEBYTECODE=1 python3 tests/conformance/table.py "$@"
		status=$?
		((status == 125)) || exit $status
		echo "# the lab itself died: once more"
	done
	exit $status
}

main "$@"
