#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Streams: byte-exact both ways, half-close, backpressure without growth, terminals.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

SIZE=${STDIO_BYTES:-100m}

@test "stdio: $SIZE into the container are byte-exact" {
	bundle
	args sha256sum
	want=$(yes | head -c "$SIZE" | sha256sum)
	[[ $(yes | head -c "$SIZE" | runtime run c1) == "$want" ]]
}

@test "stdio: $SIZE out of the container are byte-exact" {
	bundle
	sh_args "yes | head -c $SIZE"
	want=$(yes | head -c "$SIZE" | sha256sum)
	[[ $(runtime run c1 | sha256sum) == "$want" ]]
}

@test "stdio: the end of standard input reaches the container while its output goes on" {
	bundle
	sh_args 'cat; echo after the end; echo and on standard error >&2'
	run -0 bash -c 'printf "one\ntwo\n" | "$0" --root "$1" run --bundle "$2" c1' "$CAISSON" "$ROOT" "$BUNDLE"
	[[ $output == *one*two*'after the end'*  && $output == *'and on standard error'* ]]
}

@test "stdio: a reader that goes away ends the writer" {
	bundle
	sh_args 'trap "" PIPE; yes; echo "yes ended with $?" > /root/end'
	run -0 bash -c '"$0" --root "$1" run --bundle "$2" c1 | head -n 1' "$CAISSON" "$ROOT" "$BUNDLE"
	[[ ${lines[0]} == y ]]
	within 60 test -s "$BUNDLE/rootfs/root/end"
}

@test "stdio: a stopped reader stops the writer and the monitor does not grow" {
	local pid before after n1 n2
	bundle
	# the container notes how far it came; its output is read by a process that is stopped
	sh_args 'i=0; while :; do i=$((i + 1)); printf "%01000d" 0 || exit 0; echo $i > /root/count; done'
	mkfifo "$WORK/pipe"
	sleep 1000 < "$WORK/pipe" & reader=$!
	runtime run --detach --pid-file "$WORK/pid" c1 > "$WORK/pipe" < /dev/null 2> /dev/null
	pid=$(< "$WORK/pid")
	stalled() {
		n1=$(cat "$BUNDLE/rootfs/root/count" 2>/dev/null)
		sleep 2
		n2=$(cat "$BUNDLE/rootfs/root/count" 2>/dev/null)
		[[ -n $n1 && $n1 == "$n2" ]]
	}
	within 120 stalled
	before=$(pss_kib "$pid")
	((n2 * 1000 < 4 << 20))
	sleep 3
	stalled
	after=$(pss_kib "$pid")
	echo "stalled after $n2 kB; monitor $before KiB, later $after KiB"
	((after <= before + 64))
	# an exec beside the stalled stream still works
	[[ $(runtime exec c1 echo alive) == alive ]]
	kill "$reader"
	runtime delete --force c1
}

@test "stdio: a stalled standard input stops nothing else" {
	bundle
	sh_args 'echo started; exec sleep 1000'
	mkfifo "$WORK/in"
	(exec > "$WORK/in"; yes 2>/dev/null) & writer=$!
	runtime run --detach c1 < "$WORK/in" > "$WORK/out" 2>&1
	within 60 grep -q started "$WORK/out"
	[[ $(runtime exec c1 echo alive) == alive ]]
	runtime delete --force c1
	wait "$writer" || true
}

@test "tty: run -t under a pty echoes, resizes, passes Ctrl-C and ends" {
	bundle '.process.terminal = true'
	sh_args 'trap "echo caught" INT; tty; stty size; while :; do read -r line || continue; case $line in size) stty size ;; bye) exit 5 ;; *) echo "got $line" ;; esac; done'
	run -0 python3 "$TESTS/vm/terminal.py" "$CAISSON" --root "$ROOT" run --bundle "$BUNDLE" c1
}

@test "tty: a terminal that is closed hangs the container up" {
	bundle '.process.terminal = true'
	sh_args 'trap "echo hup > /root/hup; exit 0" HUP; echo ready; while :; do read -r x || exit 3; done'
	run -0 python3 "$TESTS/vm/terminal.py" --hang-up "$BUNDLE/rootfs/root/hup" "$CAISSON" --root "$ROOT" run --bundle "$BUNDLE" c1
}

@test "tty: the console socket gets the master of a host pty" {
	bundle '.process.terminal = true | .process.consoleSize = {height: 33, width: 77}'
	sh_args 'stty size; read -r x; echo "got $x"; exit 0'
	run -0 python3 "$TESTS/vm/console.py" "$WORK/console.sock" "$CAISSON" --root "$ROOT" run --detach --bundle "$BUNDLE" --console-socket "$WORK/console.sock" c1
	[[ $output == *'33 77'*'got hello'* ]]
}
