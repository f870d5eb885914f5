# SPDX-License-Identifier: Apache-2.0
# Shared by every suite in tests/vm: bundles, waiting for events, and the count of leftovers after each test.
#
# CAISSON is the program under test. Everything that a test makes lies below $BATS_TEST_TMPDIR or $WORK, a directory on a real
# file system. `runtime` is the program with the suite's own --root.

bats_require_minimum_version 1.5.0

CAISSON=${CAISSON:-$BATS_TEST_DIRNAME/../../build/release/caisson}
TESTS=$(realpath "$BATS_TEST_DIRNAME/..")
# Not what happens to be installed on this host
export CAISSON_CONFIG=$TESTS/../config/caisson.json
TOOLS=${TOOLS:-$TESTS/../build/release/tests}

common_setup() {
	ROOT=$BATS_FILE_TMPDIR/state
	WORK=$BATS_TEST_TMPDIR
	export CAISSON_ROOTS=$ROOT
	BUNDLE=
	"$TESTS/leftovers.sh" census > "$BATS_TEST_TMPDIR/census"
}

# Every test ends with this: nothing may be left, whether it passed or not
common_teardown() {
	local id
	for id in $(runtime list -q 2>/dev/null); do runtime delete --force "$id" 2>/dev/null || true; done
	"$TESTS/leftovers.sh" compare "$BATS_TEST_TMPDIR/census"
}

runtime() {
	"$CAISSON" --root "$ROOT" "$@"
}

# rootfs DIR: a root file system from Debian's busybox-static; made once, then copied
rootfs() {
	local d=$BATS_RUN_TMPDIR/rootfs a
	if [[ ! -d $d ]]; then
		mkdir -p "$d"/{bin,dev,etc,proc,root,sys,tmp,usr/bin,var}
		chmod 1777 "$d/tmp"
		cp "$(command -v busybox)" "$d/bin/busybox"
		for a in sh true false cat echo sleep ls id sha256sum head yes dd stat mount uname env pwd hostname kill ps stty tty \
			wc touch mkdir rm mv ln chmod chown readlink find grep sort seq test sync tr nproc printf; do
			ln -s busybox "$d/bin/$a"
		done
		printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n' > "$d/etc/passwd"
		echo 'root:x:0:' > "$d/etc/group"
	fi
	mkdir -p "$1"
	cp -a "$d/." "$1"
}

# bundle [JQ FILTER [JQ ARG...]]: a bundle in $BUNDLE; the filter edits what `caisson spec` wrote
bundle() {
	local filter=${1:-.}
	[[ $# -gt 0 ]] && shift
	BUNDLE=$WORK/bundle
	rm -rf "$BUNDLE"
	mkdir -p "$BUNDLE"
	rootfs "$BUNDLE/rootfs"
	"$CAISSON" spec --bundle "$BUNDLE"
	cd "$BUNDLE" || return
	# an emulated host is some thirty times slower: patience before a guest counts as hung
	edit '.process.terminal = false | .root.readonly = false | .process.noNewPrivileges = false |
		.annotations = {"org.caisson.heartbeat-seconds": "60", "org.caisson.boot-timeout-seconds": "180"}'
	edit "$filter" "$@"
}

edit() { # JQ FILTER [JQ ARG...]
	local filter=$1
	shift
	jq "$@" "$filter" < "$BUNDLE/config.json" > "$BUNDLE/config.new"
	mv "$BUNDLE/config.new" "$BUNDLE/config.json"
}

# detach ID: start the bundle in the background; what it says is shown if it fails
detach() {
	runtime run --detach "$1" > "$WORK/said" 2>&1 < /dev/null || { echo "run --detach: $?"; cat "$WORK/said"; return 1; }
}

# args WORD...: what the container runs
args() {
	edit '.process.args = $a' --argjson a "$(printf '%s\036' "$@" | jq -Rsc 'split("\u001e")[:-1]')"
}

sh_args() { # SCRIPT
	args /bin/sh -c "$1"
}

# within SECONDS COMMAND...: repeat until it succeeds
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@" > /dev/null 2>&1; do
		((SECONDS < end)) || { echo "not within the time: $*"; return 1; }
		sleep 0.1
	done
}

status_is() { # ID STATUS
	[[ $(runtime state "$1" | jq -r .status) == "$2" ]]
}

pid_of() { # ID
	runtime state "$1" | jq -r .pid
}

vmm_of() { # ID: the vmm is the monitor's child
	pgrep -P "$(pid_of "$1")" | head -n 1
}

pss_kib() { # PID: private and shared-proportional memory without the guest's RAM
	awk '/^Pss:/ { s += $2 } END { print s }' "/proc/$1/smaps_rollup"
}
