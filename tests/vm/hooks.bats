#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Hooks: when, where and with what each is run, and what becomes of a container when one fails.

load helpers

setup() {
	common_setup
	bundle
	LOG=$BUNDLE/rootfs/root	# seen from both sides
	export LOG
	# on the host: note the name, the state, the namespaces and the directory, then do what the other arguments say
	cat > "$WORK/note" <<-'END'
		#!/bin/sh
		cat > "$LOG/$1.state"
		for n in net mnt pid; do readlink "/proc/self/ns/$n"; done > "$LOG/$1.ns"
		pwd > "$LOG/$1.cwd"
		echo "$1" >> "$LOG/order"
		shift
		eval "$@"
	END
	chmod 755 "$WORK/note"
}
teardown() {
	ip link del caisson-test0 2> /dev/null || true
	common_teardown
}

# note KIND [SCRIPT [JQ]]: one more host hook; JQ adds to it
note() {
	edit '.hooks[$k] += [{path: $p, args: ["note", $k, $s], env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LOG=" + $l]} + ('"${3:-{\}}"')]' \
		--arg k "$1" --arg p "$WORK/note" --arg s "${2:-:}" --arg l "$LOG"
}

# in_guest SCRIPT [JQ]: one more startContainer hook
in_guest() {
	edit '.hooks.startContainer += [{path: "/bin/sh", args: ["sh", "-c", $s]} + ('"${2:-{\}}"')]' --arg s "$1"
}

order() { tr '\n' ' ' < "$LOG/order"; }
own_ns() { for n in net mnt pid; do readlink "/proc/self/ns/$n"; done; }
ns_of() { for n in net mnt pid; do readlink "/proc/$1/ns/$n"; done; }
state_of() { jq -r '[.id, .status, .pid // "none", .bundle, .annotations.test] | map(tostring) | join(" ")' "$LOG/$1.state"; }
running() { pgrep -f "sleep $1" > /dev/null; }

@test "hooks: all six in order, each in its namespaces, with the state of its moment" {
	local pid
	edit '.annotations.test = "a b"'
	for kind in prestart createRuntime createContainer poststart poststop; do note "$kind"; done
	in_guest 'cat > /root/startContainer.state; for n in net mnt pid; do readlink /proc/self/ns/$n; done > /root/startContainer.ns; echo startContainer >> /root/order'
	sh_args 'for n in net mnt pid; do readlink /proc/self/ns/$n; done > /root/program.ns; echo up > /root/up; sleep 100000'
	runtime create --bundle "$BUNDLE" c1 > /dev/null 2>&1 < /dev/null
	[[ $(order) == 'prestart createRuntime createContainer ' ]]
	pid=$(pid_of c1)
	# what config.json says from now on is of no interest
	mv "$BUNDLE/config.json" "$WORK/away"
	[[ $(< "$LOG/prestart.ns") == "$(own_ns)" && $(< "$LOG/createRuntime.ns") == "$(own_ns)" ]]
	[[ $(< "$LOG/createContainer.ns") == "$(ns_of "$pid")" ]]
	[[ $(< "$LOG/createContainer.ns") != *"$(readlink /proc/self/ns/net)"* ]]
	[[ $(< "$LOG/prestart.cwd") == "$BUNDLE" && $(< "$LOG/createRuntime.cwd") == "$BUNDLE" ]]
	[[ $(< "$LOG/createContainer.cwd") == "$BUNDLE/rootfs" ]]
	[[ $(state_of prestart) == "c1 creating $pid $BUNDLE a b" ]]
	[[ $(state_of createRuntime) == "c1 creating $pid $BUNDLE a b" ]]
	[[ $(state_of createContainer) == "c1 creating 1 $BUNDLE a b" ]]
	runtime start c1
	[[ $(order) == 'prestart createRuntime createContainer startContainer poststart ' ]]
	within 60 test -s "$LOG/up"
	[[ -s $LOG/program.ns && $(< "$LOG/startContainer.ns") == "$(< "$LOG/program.ns")" ]]
	[[ $(state_of startContainer) == "c1 created 1 $BUNDLE a b" ]]
	[[ $(< "$LOG/poststart.ns") == "$(own_ns)" ]]
	[[ $(state_of poststart) == "c1 running $pid $BUNDLE a b" ]]
	runtime kill c1 KILL
	within 60 status_is c1 stopped
	[[ $(order) != *poststop* ]]
	runtime delete c1
	[[ $(order) == 'prestart createRuntime createContainer startContainer poststart poststop ' ]]
	[[ $(< "$LOG/poststop.ns") == "$(own_ns)" ]]
	[[ $(state_of poststop) == "c1 stopped none $BUNDLE a b" ]]
}

@test "hooks: what createContainer changes in the rootfs is there for the program" {
	mkdir "$WORK/volume"
	echo inside > "$WORK/volume/file"
	edit '.mounts += [{destination: "/tmp", type: "bind", source: $v, options: ["bind"]}]' --arg v "$WORK/volume"
	note createContainer 'printf "#!/bin/sh\ncat /tmp/file /tmp/more\n" > bin/made; chmod 755 bin/made; cp tmp/file tmp/more'
	args made
	run -0 runtime run c1 < /dev/null
	[[ $output == $'inside\ninside' ]]
	[[ -e $WORK/volume/more && ! -e $BUNDLE/rootfs/tmp/file ]]
}

@test "hooks: one that fails during create leaves nothing, and poststop hooks are run" {
	note poststop
	args true
	cp "$BUNDLE/config.json" "$WORK/base"
	for kind in prestart createRuntime createContainer; do
		cp "$WORK/base" "$BUNDLE/config.json"
		rm -f "$LOG"/* "$WORK/log"
		note "$kind"
		note "$kind" 'echo said; echo the; echo why >&2; exit 3'
		note "$kind" 'touch "$LOG/never"'
		run -1 --separate-stderr runtime --log "$WORK/log" --log-format json create --bundle "$BUNDLE" c1 < /dev/null
		echo "$kind: $stderr"
		[[ $stderr == *"caisson create failed: error running $kind hook #1: exit status 3, stdout: said the, stderr: why"* ]]
		[[ ${#stderr_lines[@]} == 1 && $(wc -l < "$WORK/log") == 1 ]]
		[[ $(jq -r .level "$WORK/log") == error ]]
		[[ $(order) == "$kind $kind poststop " ]]
		[[ $(state_of poststop) == "c1 stopped none $BUNDLE null" ]]
		[[ ! -e $LOG/never && ! -e $ROOT/c1 ]]
		"$TESTS/leftovers.sh" compare "$BATS_TEST_TMPDIR/census"
	done
}

@test "hooks: a program that is missing is not taken for the container's" {
	edit '.hooks.createRuntime = [{path: "/nonexistent/hook"}]'
	args true
	run -1 runtime create --bundle "$BUNDLE" c1
	[[ $output == *'error running createRuntime hook #0: fork/exec /nonexistent/hook: '* ]]
	[[ ${output,,} != *'no such file'* && ${output,,} != *'not found'* ]]
}

@test "hooks: startContainer that fails: the program is not run, start says why" {
	note poststop
	in_guest 'echo first >> /root/order'
	in_guest 'echo out; echo why >&2; exit 4'
	in_guest 'echo never >> /root/order'
	sh_args 'echo never >> /root/order'
	runtime create --bundle "$BUNDLE" c1 > /dev/null 2>&1 < /dev/null
	[[ ! -e $LOG/order ]]
	run -1 runtime start c1
	[[ $output == *'error running startContainer hook #1: exit status 4, stdout: out, stderr: why'* ]]
	within 60 status_is c1 stopped
	runtime delete c1
	[[ $(order) == 'first poststop ' ]]
	rm "$LOG/order"
	run -1 runtime run c1 < /dev/null
	[[ $output == *'caisson run failed: error running startContainer hook #1: exit status 4'* ]]
	[[ $(order) == 'first poststop ' && ! -e $ROOT/c1 ]]
}

@test "hooks: startContainer is the process's user and has its environment, unless it brings its own" {
	chmod 777 "$LOG"
	edit '.process.user = {uid: 1, gid: 1} | .process.env += ["FROM=process"] | .process.cwd = "/tmp"'
	in_guest 'echo "$FROM $(id -u) $(pwd) ${PATH:+path}" > /root/inherited'
	in_guest 'echo "$FROM" > /root/own' '{env: ["FROM=hook"]}'
	args true
	run -0 runtime run c1 < /dev/null
	[[ $(< "$LOG/inherited") == 'process 1 /tmp path' && $(< "$LOG/own") == hook ]]
}

@test "hooks: poststart that fails ends the container" {
	note poststart 'exit 5'
	note poststop
	args sleep 100000
	runtime create --bundle "$BUNDLE" c1 > /dev/null 2>&1 < /dev/null
	run -1 runtime start c1
	[[ $output == *'error running poststart hook #0: exit status 5'* ]]
	within 60 status_is c1 stopped
	runtime delete c1
	[[ $(order) == 'poststart poststop ' ]]
	rm "$LOG/order"
	run -1 runtime run --detach c1 < /dev/null
	[[ $output == *'caisson run failed: error running poststart hook #0: exit status 5'* ]]
	[[ $(order) == 'poststart poststop ' && ! -e $ROOT/c1 ]]
}

@test "hooks: past its time-out one is killed with its children" {
	args true
	note createRuntime 'sleep 98765 & (sleep 98766; :) & wait' '{timeout: 1}'
	run -1 runtime create --bundle "$BUNDLE" c1 < /dev/null
	[[ $output == *'error running createRuntime hook #0: hook ran past specified timeout of 1.0s'* ]]
	gone() { ! running 98765 && ! running 98766; }
	within 30 gone
	edit '.hooks = {}'
	in_guest 'sleep 1000 & wait' '{timeout: 1}'
	run -1 runtime run c1 < /dev/null
	[[ $output == *'error running startContainer hook #0: hook ran past specified timeout of 1.0s'* ]]
}

@test "hooks: poststop that fails is a warning, and the others are run" {
	note poststop 'exit 6'
	note poststop 'sleep 98767' '{timeout: 1}'
	note poststop
	args true
	run -0 runtime --log "$WORK/log" --log-format json run c1 < /dev/null
	[[ $(order) == 'poststop poststop poststop ' && ! -e $ROOT/c1 ]]
	[[ $(jq -r 'select(.level == "warning") | .msg' "$WORK/log" | grep -c '^error running poststop hook #[01]: ') == 2 ]]
	gone() { ! running 98767; }
	within 30 gone
}

@test "hooks: poststop after kill -9 of the monitor" {
	note poststop
	args sleep 100000
	detach c1
	kill -KILL "$(pid_of c1)"
	within 30 status_is c1 stopped
	rm -rf "$BUNDLE/config.json"
	runtime delete c1
	[[ $(order) == 'poststop ' && $(state_of poststop) == "c1 stopped none $BUNDLE null" ]]
}

@test "hooks: a create that is killed or interrupted takes its hook with it, and poststop is run" {
	note createRuntime 'touch "$LOG/begun"; exec sleep 98768'
	note poststop
	args true
	for signal in KILL TERM; do
		rm -f "$LOG"/*
		"$CAISSON" --root "$ROOT" create --bundle "$BUNDLE" c1 > "$WORK/said" 2>&1 < /dev/null & create=$!
		within 60 test -e "$LOG/begun"
		running 98768
		kill -"$signal" "$create"
		rc=0; wait "$create" || rc=$?
		gone() { ! running 98768; }
		within 30 gone
		runtime delete --force c1
		[[ $(order) == 'createRuntime poststop ' ]]
		"$TESTS/leftovers.sh" compare "$BATS_TEST_TMPDIR/census"
	done
	((rc == 143))
	grep -q 'interrupted by signal 15' "$WORK/said"
}

@test "hooks: prestart may fill the network namespace of the state's pid" {
	modprobe veth 2> /dev/null || true
	ip link add caisson-test0 type veth peer name caisson-test1
	note prestart 'pid=$(jq -r .pid "$LOG/prestart.state"); ip link set caisson-test1 netns "/proc/$pid/ns/net" &&
		nsenter --net="/proc/$pid/ns/net" ip link set caisson-test1 name eth0'
	note createContainer 'ip link show eth0 > "$LOG/links"'
	args sleep 100000
	runtime create --bundle "$BUNDLE" c1 > "$WORK/said" 2>&1 < /dev/null || { cat "$WORK/said"; false; }
	grep -q eth0 "$LOG/links"
	nsenter --net="/proc/$(pid_of c1)/ns/net" ip link show eth0
	run -1 ip link show caisson-test1
	ip link show caisson-test0
	runtime delete --force c1
	gone() { ! ip link show caisson-test0; }
	within 30 gone
}
