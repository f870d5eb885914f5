#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson exec`: another process in a running guest, with and without a terminal.

load helpers

setup() {
	common_setup
	bundle
	sh_args 'trap "exit 0" TERM; sleep 100000 & wait'
	detach c1
}
teardown() { common_teardown; }

@test "exec: output, exit code and signals" {
	[[ $(runtime exec c1 cat /proc/1/comm) == sh ]]
	run -42 runtime exec c1 sh -c 'exit 42'
	run -137 runtime exec c1 sh -c 'kill -KILL $$'
	[[ $(echo typed | runtime exec c1 cat) == typed ]]
	[[ $(runtime exec c1 sh -c 'echo e >&2' 2>&1 > /dev/null) == e ]]
}

@test "exec: --env, --cwd, --user and --process" {
	[[ $(runtime exec --env A=b --cwd /tmp --user 1:2 c1 sh -c 'echo $A $(pwd) $(id -u):$(id -g)') == 'b /tmp 1:2' ]]
	jq -n '{args: ["sh", "-c", "echo $X; exit 3"], cwd: "/", env: ["X=from a file", "PATH=/bin"], user: {uid: 0, gid: 0}}' > "$WORK/p.json"
	run -3 runtime exec --process "$WORK/p.json" c1
	[[ $output == 'from a file' ]]
}

@test "exec: a missing program gives 255 and runc's words" {
	run -255 runtime exec c1 no-such-program
	[[ $output == *'no-such-program'*'executable file not found in $PATH'* ]]
}

@test "exec: --tty under a pty" {
	run -0 python3 "$TESTS/vm/terminal.py" "$CAISSON" --root "$ROOT" exec --tty c1 /bin/sh -c \
		'trap "echo caught" INT; tty; stty size; while :; do read -r line || continue; case $line in size) stty size ;; bye) exit 5 ;; *) echo "got $line" ;; esac; done'
}

@test "exec: detached, with a pid file; killing the stand-in kills the process" {
	runtime exec --detach --pid-file "$WORK/pid" c1 sh -c 'echo $$ > /root/inner; exec sleep 5000' > /dev/null 2>&1
	[[ $(wc -l < "$WORK/pid") == 0 ]]
	kill -0 "$(< "$WORK/pid")"
	within 30 test -s "$BUNDLE/rootfs/root/inner"
	inner=$(< "$BUNDLE/rootfs/root/inner")
	runtime exec c1 kill -0 "$inner"
	kill -KILL "$(< "$WORK/pid")"
	gone() { ! runtime exec c1 kill -0 "$inner"; }
	within 30 gone
}

@test "exec: twenty at once" {
	local i pids=()
	for i in {1..20}; do runtime exec c1 echo "n$i" > "$WORK/o$i" 2>&1 & pids+=($!); done
	for i in {1..20}; do wait "${pids[i - 1]}"; done
	for i in {1..20}; do [[ $(< "$WORK/o$i") == "n$i" ]]; done
}

@test "exec: into a container that does not run is refused" {
	runtime kill c1 KILL
	within 60 status_is c1 stopped
	run -255 runtime exec c1 true
	[[ $output == *'cannot exec in a stopped container'* ]]
	run -255 runtime exec nobody true
	[[ $output == *'does not exist'* ]]
}
