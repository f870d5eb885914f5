#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Commands on containers that do not exist, or of which a crash left a part: runc's words and exit codes.

bats_require_minimum_version 1.5.0
load helpers

setup() { common_setup; }

@test "state: unknown containers, in runc's words" {
	need_runc
	while IFS='|' read -r code command; do
		# shellcheck disable=SC2086
		fails "$code" "$(runc_says $command)" $command
	done <<-'END'
		1|state nobody
		1|start nobody
		1|kill nobody
		1|kill nobody KILL
		1|kill --all nobody 9
		1|delete nobody
		255|exec nobody true
		1|state a/b
		1|kill ..
		1|pause nobody
		1|resume nobody
		1|ps nobody
		1|ps --format json nobody
		1|events nobody
		1|events --stats nobody
	END
	run -0 runtime delete --force nobody
	run -0 "$RUNC" --root "$BATS_TEST_TMPDIR/runc" delete --force nobody
}

@test "list: of nothing, in runc's words" {
	need_runc
	for options in '' '--format json' '-f table' '--quiet'; do
		# shellcheck disable=SC2086
		[[ $(runtime list $options) == "$("$RUNC" --root "$BATS_TEST_TMPDIR/runc" list $options)" ]]
	done
	fails 1 'invalid format option' list --format xml
}

@test "state: what a crash left never blocks delete --force" {
	local number=0 id
	for text in '' '{' '{"id": "c1"}' "$(printf '\377')" none; do
		number=$((number + 1))
		id=c$number
		mkdir -p "$ROOT/$id"
		[[ $text == none ]] || printf '%s' "$text" > "$ROOT/$id/state.json"
		: > "$ROOT/$id/control.sock"
		run -1 runtime state "$id"
		[[ $output == *'container does not exist'* ]]
		run -0 --separate-stderr runtime list --quiet
		[[ -z $output ]]
		run -1 runtime create --bundle "$BUNDLE" "$id"
		[[ $output == *'already exists'* ]]
		run -0 runtime delete --force "$id"
		[[ ! -e $ROOT/$id ]]
	done
}

@test "state: without --force a left-over is removed too, but was no container" {
	mkdir -p "$ROOT/c1"
	run -1 runtime delete c1
	[[ $output == *'container does not exist'* ]]
	[[ ! -e $ROOT/c1 ]]
}

# A container whose monitor has ended: state.json by hand, with a pid that is somebody else's
stopped() {
	mkdir -p "$ROOT/$1"
	jq -n --arg id "$1" --arg b "$BUNDLE" '{ociVersion: "1.2.0", id: $id, pid: 1, status: "running", bundle: $b,
		rootfs: ($b + "/rootfs"), created: "2026-01-02T03:04:05Z", annotations: {a: "b"}, pidStartTime: 123456789,
		bootID: "", cgroup: ""}' > "$ROOT/$1/state.json"
}

@test "state: a pid that is somebody else's now means stopped" {
	stopped c1
	run -0 --separate-stderr runtime state c1
	[[ -z $stderr ]]
	jq -e '.status == "stopped" and .pid == 0 and .id == "c1" and .annotations.a == "b" and .owner == "root"
		and .created == "2026-01-02T03:04:05Z" and has("pidStartTime") == false' <<< "$output"
	[[ $(runtime list --format json | jq -r '.[0].status') == stopped ]]
	[[ $(runtime list | tail -n 1) == "c1          0           stopped     $BUNDLE   2026-01-02T03:04:05Z   root" ]]
	run -1 runtime kill c1 KILL
	[[ $output == *'container not running'* ]]
	run -0 runtime kill --all c1 KILL
	run -1 runtime kill c1 NOSUCH
	[[ $output == *'unknown signal \"NOSUCH\"'* ]]
	run -1 runtime start c1
	[[ $output == *'cannot start a container that has stopped'* ]]
	run -255 runtime exec c1 true
	[[ $output == *'exec failed: cannot exec in a stopped container'* ]]
	# a mark that a monitor left which was killed means nothing
	: > "$ROOT/c1/paused"
	[[ $(runtime state c1 | jq -r .status) == stopped ]]
	run -1 runtime pause c1
	[[ $output == *'container not running'* ]]
	run -1 runtime resume c1
	[[ $output == *'container not paused'* ]]
	[[ $(runtime ps c1) == 'UID          PID    PPID  C STIME TTY          TIME CMD' ]]
	[[ $(runtime ps --format json c1) == null ]]
	run -1 runtime ps c1 -o user
	[[ $output == *"couldn't find PID field in ps output"* ]]
	run -1 runtime events c1
	[[ $output == *'container with id c1 is not running'* ]]
	run -1 runtime events --interval 5x c1
	[[ $output == *'invalid value "5x" for flag -interval: parse error'* ]]
	run -1 runtime events --interval 0s --stats c1
	[[ $output == *'duration interval must be greater than 0'* ]]
	run -0 runtime delete c1
	[[ ! -e $ROOT/c1 ]]
	kill -0 1
}

@test "state: two delete --force at once both succeed" {
	stopped c1
	runtime delete --force c1 & first=$!
	runtime delete --force c1
	wait "$first"
	[[ ! -e $ROOT/c1 ]]
}

@test "check: every line has a status, a name and a text, and JSON says the same" {
	run --separate-stderr runtime check
	code=$status
	[[ $code == 0 || $code == 1 ]]
	grep -qE '^(ok|warn|FAIL) +memory: ' <<< "$output"
	run --separate-stderr runtime check --json
	[[ $status == "$code" ]]
	jq -e 'length > 8 and all(.[]; (.status | test("^(ok|warn|fail)$")) and (.text | length > 0) and (.status == "ok" or (.fix | length > 0)))
		and ([.[].name] | unique | length) == length' <<< "$output"
	[[ $code == $(jq 'if any(.[]; .status == "fail") then 1 else 0 end' <<< "$output") ]]
}

@test "check: a guest kernel that is not there is a failure with a fix" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	cp "$CAISSON" "$BATS_TEST_TMPDIR/bin/caisson"
	[[ ! -e /usr/local/lib/caisson/vmlinux ]] || skip "host: Caisson is installed"
	run -1 "$BATS_TEST_TMPDIR/bin/caisson" check --json
	jq -e '.[] | select(.name == "guest-kernel") | .status == "fail" and (.fix | length > 0)' <<< "$output"
	run -1 "$BATS_TEST_TMPDIR/bin/caisson" --root "$ROOT" run --bundle "$BUNDLE" c1
	[[ $output == *'guest kernel: neither'* ]]
	[[ -z $(ls -A "$ROOT") ]]
}

# A container whose monitor is this process: created or running
alive() { # ID STATUS PID
	mkdir -p "$ROOT/$1"
	jq -n --arg id "$1" --arg s "$2" --argjson p "$3" --argjson t "$(awk '{print $22}' "/proc/$3/stat")" --arg b "$BUNDLE" \
		'{ociVersion: "1.2.0", id: $id, pid: $p, status: $s, bundle: $b, rootfs: ($b + "/rootfs"),
		created: "2026-01-02T03:04:05Z", pidStartTime: $t, bootID: "", cgroup: ""}' > "$ROOT/$1/state.new"
	mv "$ROOT/$1/state.new" "$ROOT/$1/state.json"
}

@test "state: delete does not end a container that is being started" {
	local code=0 monitor delete
	sleep 1000 3>&- & monitor=$!
	alive c1 created "$monitor"
	exec 7> "$ROOT/c1/lock"
	flock 7
	runtime delete c1 2> "$BATS_TEST_TMPDIR/error" 7>&- & delete=$!
	# It waits for the lock, which start holds, or is about to end the monitor
	for _ in {1..40}; do
		find "/proc/$delete/fd" -lname '*/lock' 2> /dev/null | grep -q . && break
		sleep 0.05
	done
	alive c1 running "$monitor"
	exec 7>&-
	wait "$delete" || code=$?
	kill -0 "$monitor"
	[[ $code == 1 ]]
	grep -q 'cannot delete container c1 that is not stopped: running' "$BATS_TEST_TMPDIR/error"
	kill "$monitor"
	wait "$monitor" || true
}

@test "state: delete --force waits for a monitor that it learns of late, and that is on its way out" {
	local code=0 monitor delete
	sleep 3 3>&- & monitor=$!
	mkdir -p "$ROOT/c1"
	exec 7< "$ROOT/c1"	# as one that makes it
	flock 7
	runtime delete --force c1 2> "$BATS_TEST_TMPDIR/error" 7>&- & delete=$!
	for _ in {1..40}; do
		pgrep -f "^$CAISSON .*delete --force c1" > /dev/null && break
		sleep 0.05
	done
	sleep 0.2	# it has seen that there is no state by now, or the test shows less
	alive c1 running "$monitor"
	exec 7<&-	# the monitor lets go of the directory before it has ended
	wait "$delete" || code=$?
	cat "$BATS_TEST_TMPDIR/error"
	[[ $code == 0 && ! -e $ROOT/c1 ]]
	run -1 kill -0 "$monitor"
}

# A monitor that refuses every request: fake_monitor ID STATUS ERRNO TEXT
fake_monitor() {
	mkdir -p "$ROOT/$1"
	python3 - "$ROOT/$1" "$3" "$4" 3>&- <<-'END' &
		import os, socket, struct, sys
		os.chdir(sys.argv[1])
		listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		listener.bind("control.sock")
		listener.listen()
		while True:
		    peer = listener.accept()[0]
		    peer.recv(4096)
		    peer.send(struct.pack("<IIIiiIQQ1024s", 0x43534e43, 2, 1, -int(sys.argv[2]), 0, 0, 0, 0, sys.argv[3].encode()))
	END
	monitor=$!
	until [[ -S $ROOT/$1/control.sock ]]; do sleep 0.05; done
	alive "$1" "$2" "$monitor"
}

@test "state: start writes nothing: it is the monitor that knows whether the process has been let go" {
	fake_monitor c1 created 16 'the agent: cannot start an already running container'
	fails_with=$(runtime start c1 2>&1) && false
	kill "$monitor"
	[[ $fails_with == *'cannot start an already running container'* ]]
	[[ $(jq -r .status "$ROOT/c1/state.json") == created ]]
}

@test "exec: in a container that is ending" {
	fake_monitor c1 running 3 'container not running'
	run -255 runtime exec c1 true
	kill "$monitor"
	[[ $output == *'exec failed: cannot exec in a stopped container'* ]]
}

@test "update: of a paused container, as with runc" {
	fake_monitor c1 running 22 'the agent: no such limit'
	: > "$ROOT/c1/paused"
	[[ $(runtime state c1 | jq -r .status) == paused ]]
	run -1 runtime update --pids-limit 5 c1
	kill "$monitor"
	[[ $output == *'the agent: no such limit'* ]]
}

@test "kill: KILL ends a monitor that does nothing, soon" {
	fake_monitor c1 running 3 ''
	kill -STOP "$monitor"
	SECONDS=0
	run -0 runtime kill c1 KILL
	((SECONDS < 60))
	wait "$monitor" || [[ $? == 137 ]]
	[[ $(runtime state c1 | jq -r .status) == stopped ]]
}

# The kernel's kill may end the container between two looks at its figures
@test "events: what ended the container is told, though its figures are gone before" {
	mkdir -p "$ROOT/c1"
	python3 - "$ROOT/c1" 3>&- <<-'END' &
		import os, socket, struct, sys
		def reply(peer, kind, code):
		    peer.send(struct.pack("<IIIiiIQQ1024s", 0x43534e43, 2, kind, code, 0, 0, 0, 0, b"container not running"))
		os.chdir(sys.argv[1])
		listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
		listener.bind("control.sock")
		listener.listen()
		events = listener.accept()[0]
		events.recv(4096)
		reply(events, 1, 0)
		stats = listener.accept()[0]
		stats.recv(4096)
		reply(events, 3, 1)
		reply(stats, 1, -3)
		stats.close()
		events.close()
		while True:
		    listener.accept()[0].close()
	END
	monitor=$!
	until [[ -S $ROOT/c1/control.sock ]]; do sleep 0.05; done
	alive c1 running "$monitor"
	run -0 timeout 60 "$CAISSON" --root "$ROOT" events --interval 100ms c1
	kill "$monitor"
	[[ $output == '{"type":"oom","id":"c1"}' ]]
}
