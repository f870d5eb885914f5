# SPDX-License-Identifier: Apache-2.0
# Shared by the suites of the command line: no guest is started, everything lies below $BATS_TEST_TMPDIR.

CAISSON=$(realpath "${CAISSON:-$BATS_TEST_DIRNAME/../../build/release/caisson}")
# Not what happens to be installed on this host
export CAISSON_CONFIG=$BATS_TEST_DIRNAME/../../config/caisson.json
RUNC=$(command -v runc || true)

common_setup() {
	ROOT=$BATS_TEST_TMPDIR/state
	BUNDLE=$BATS_TEST_TMPDIR/bundle
	mkdir -p "$BUNDLE/rootfs"
	"$CAISSON" spec --bundle "$BUNDLE"
	edit '.process.terminal = false'
}

runtime() { "$CAISSON" --root "$ROOT" "$@" < /dev/null; }

edit() { # JQ FILTER
	jq "$1" "$BUNDLE/config.json" > "$BUNDLE/config.new"
	mv "$BUNDLE/config.new" "$BUNDLE/config.json"
}

# fails CODE SENTENCE COMMAND...: this exit code, nothing on standard output, exactly this sentence plain on standard error
# and as one JSON line in the log, no state left
fails() {
	local code=$1 sentence=$2
	shift 2
	rm -f "$BATS_TEST_TMPDIR/log"
	run "-$code" --separate-stderr runtime --log "$BATS_TEST_TMPDIR/log" --log-format json "$@"
	echo "standard output: $output"
	echo "standard error: $stderr"
	[[ -z $output ]]
	[[ $stderr == "$sentence" ]]
	[[ $(wc -l < "$BATS_TEST_TMPDIR/log") -eq 1 ]]
	[[ $(jq -r '"\(.level) \(.msg)"' "$BATS_TEST_TMPDIR/log") == "error $sentence" ]]
	jq -r .time "$BATS_TEST_TMPDIR/log" | grep -qE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$'
	[[ ! -d $ROOT || -z $(ls -A "$ROOT") ]]
}

# What runc says to the same arguments, without its name
runc_says() {
	"$RUNC" --root "$BATS_TEST_TMPDIR/runc" --log /dev/null "$@" 2>&1 < /dev/null | sed 's/^runc /caisson /' || true
}

need_runc() {
	[[ -n $RUNC ]] || skip "host: runc is not installed"
}
