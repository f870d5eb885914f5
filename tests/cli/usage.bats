#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# How the command line is understood: options, commands, help, version.

bats_require_minimum_version 1.5.0
load helpers

setup() { common_setup; }

@test "usage: an unknown command is exit code 3" {
	run -3 runtime nosuch
	[[ $output == *"No help topic for 'nosuch'"* ]]
	run -3 runtime help nosuch
}

@test "usage: checkpoint and restore are known and refused, also their help, by which engines find out" {
	for c in checkpoint restore; do
		for options in '' --help 'c1' '--image-path /tmp --leave-running c1'; do
			# shellcheck disable=SC2086
			fails 1 "$c is not yet supported" $c $options
		done
		run -1 runtime help $c
		[[ $(runtime --help) == *"$c"*'(not yet supported)'* ]]
	done
}

@test "usage: unknown options, missing values and wrong counts are refused with the help text" {
	run -1 runtime --nosuch list
	[[ $output == *'flag provided but not defined: -nosuch'*'GLOBAL OPTIONS'* ]]
	run -1 runtime create --nosuch x
	[[ $output == *'flag provided but not defined: -nosuch'*'caisson create'* ]]
	run -1 runtime create --bundle
	[[ $output == *'flag needs an argument: -bundle'* ]]
	run -1 runtime state
	[[ $output == *'"state" requires exactly 1 argument(s)'* ]]
	run -1 runtime state a b
	[[ $output == *'"state" requires exactly 1 argument(s)'* ]]
	run -1 runtime kill a b c
	[[ $output == *'"kill" requires a maximum of 2 argument(s)'* ]]
	run -1 runtime exec
	[[ $output == *'"exec" requires a minimum of 1 argument(s)'* ]]
	run -1 runtime ps
	[[ $output == *'"ps" requires a minimum of 1 argument(s)'* ]]
	for c in pause resume events; do
		run -1 runtime "$c" a b
		[[ $output == *"\"$c\" requires exactly 1 argument(s)"* ]]
	done
	run -1 runtime exec --no-new-privs=maybe c1 true
	[[ $output == *'invalid boolean value "maybe" for flag -no-new-privs: parse error'* ]]
}

@test "usage: options with one dash, with =, after the argument" {
	run -0 runtime delete nobody --force
	run -0 runtime -log-format json delete -force nobody
	run -0 runtime --rootless delete --force=true nobody
	run -0 runtime --rootless=false --systemd-cgroup delete -f nobody
	run -1 runtime delete --force=false nobody
}

@test "usage: wrong global options" {
	run -1 runtime --log-format xml list
	[[ $output == *'invalid log-format: xml'* ]]
	run -1 "$CAISSON" --root / list
	[[ $output == *'should not be set to /'* ]]
	run -1 "$CAISSON" --root "$ROOT" --log /no/such/folder/log list
}

@test "usage: the version in the lines that Docker and Podman read" {
	run -0 "$CAISSON" --version
	[[ ${lines[0]} == 'caisson version '* ]]
	[[ ${lines[1]} == 'commit: '* ]]
	[[ ${lines[2]} == 'spec: 1.'* ]]
	version=$output
	run -0 "$CAISSON" -v
	[[ $output == "$version" ]]
	run -0 "$CAISSON" version
	[[ $output == "$version" ]]
}

@test "usage: help of everything and of each command" {
	run -0 "$CAISSON" --help
	[[ $output == *'COMMANDS:'*'create'*'GLOBAL OPTIONS:'*'--root'* ]]
	all=$output
	run -0 "$CAISSON"
	[[ $output == "$all" ]]
	for c in check create delete events exec features help install kill list pause ps resume run spec start state version; do
		run -0 "$CAISSON" "$c" --help
		[[ $output == *"caisson $c"* ]]
		help=$output
		run -0 "$CAISSON" help "$c"
		[[ $output == "$help" ]]
		[[ $all == *"$c"* ]]
	done
}

@test "usage: output that cannot be written is an error" {
	run -1 bash -c '"$0" features > /dev/full' "$CAISSON"
}

@test "usage: features are honest and have what engines read" {
	run -0 --separate-stderr "$CAISSON" features
	[[ -z $stderr ]]
	jq -e '.ociVersionMin == "1.0.0" and (.ociVersionMax | startswith("1.")) and (.linux.namespaces | index("pid") != null)
		and .linux.seccomp.enabled == true and (.linux.seccomp.actions | index("SCMP_ACT_NOTIFY") == null)
		and (.linux.seccomp.archs | index("SCMP_ARCH_X86_64") != null) and (.linux.seccomp.supportedFlags | length == 3) and .hooks == ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] and .linux.mountExtensions.idmap.enabled == false' <<< "$output"
}

@test "usage: a closed descriptor 0, 1 or 2 does not become another file's" {
	"$CAISSON" --log "$BATS_TEST_TMPDIR/log" features >&- || true
	[[ ! -s $BATS_TEST_TMPDIR/log ]]
	"$CAISSON" --log "$BATS_TEST_TMPDIR/log" --root "$ROOT" state nobody <&- >&- 2>&- || true
	cat "$BATS_TEST_TMPDIR/log"
	[[ $(wc -l < "$BATS_TEST_TMPDIR/log") -eq 1 ]]
}
