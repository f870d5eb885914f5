#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The life cycle by single commands, and what a kill -9 of any of our processes leaves.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

@test "life: create, state, start, kill, delete" {
	bundle
	sh_args 'trap "exit 9" TERM; echo up > /root/up; sleep 100000 & wait'
	runtime create --bundle "$BUNDLE" --pid-file "$WORK/pid" c1 > /dev/null 2>&1 < /dev/null
	status_is c1 created
	[[ $(< "$WORK/pid") == $(pid_of c1) && $(wc -l < "$WORK/pid") == 0 ]]
	[[ ! -e $BUNDLE/rootfs/root/up ]]
	runtime start c1
	status_is c1 running
	within 60 test -s "$BUNDLE/rootfs/root/up"
	[[ $(runtime list --format json | jq -r '.[0] | "\(.id) \(.status)"') == 'c1 running' ]]
	[[ $(runtime list -q) == c1 ]]
	run -1 runtime start c1
	[[ $output == *'cannot start a container in the running state'* || $output == *'cannot start an already running container'* ]]
	run -1 runtime delete c1
	[[ $output == *'cannot delete container c1 that is not stopped: running'* ]]
	runtime kill c1 TERM
	within 60 status_is c1 stopped
	[[ $(pid_of c1) == 0 ]]
	run -1 runtime kill c1 TERM
	[[ $output == *'container not running'* ]]
	runtime delete c1
	run -1 runtime state c1
	[[ $output == *'container does not exist'* ]]
}

@test "life: an id that exists is refused and the first container lives on" {
	bundle
	sh_args 'sleep 100000'
	detach c1
	run -1 runtime run c1
	[[ $output == *'container with given ID already exists'* ]]
	[[ $(runtime exec c1 echo alive) == alive ]]
	runtime delete --force c1
}

@test "life: the monitor ends with the container's own status" {
	bundle
	sh_args 'exit 23'
	# the engine's part: a subreaper that waits for the pid in the pid file
	run -0 python3 - "$CAISSON" "$ROOT" "$BUNDLE" "$WORK/pid" <<-'PY'
		import ctypes, os, subprocess, sys
		caisson, root, bundle, pid_file = sys.argv[1:]
		ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)	# PR_SET_CHILD_SUBREAPER
		subprocess.run([caisson, "--root", root, "create", "--bundle", bundle, "--pid-file", pid_file, "c1"],
			       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
		subprocess.run([caisson, "--root", root, "start", "c1"], check=True)
		pid = int(open(pid_file).read())
		_, status = os.waitpid(pid, 0)
		assert os.waitstatus_to_exitcode(status) == 23, status
		subprocess.run([caisson, "--root", root, "delete", "c1"], check=True)
	PY
}

@test "life: a signal to the monitor's pid reaches the container's process" {
	bundle
	sh_args 'trap "echo usr1 > /root/seen" USR1; echo up > /root/up; while :; do sleep 1; done'
	runtime run --detach --pid-file "$WORK/pid" c1 > /dev/null 2>&1 < /dev/null
	within 60 test -s "$BUNDLE/rootfs/root/up"
	kill -USR1 "$(< "$WORK/pid")"
	within 60 test -s "$BUNDLE/rootfs/root/seen"
	runtime delete --force c1
}

@test "life: kill -9 of the monitor ends the guest" {
	bundle
	sh_args 'sleep 100000'
	runtime run --detach --pid-file "$WORK/pid" c1 > /dev/null 2>&1 < /dev/null
	vmm=$(vmm_of c1)
	kill -0 "$vmm"
	kill -KILL "$(< "$WORK/pid")"
	gone() { ! kill -0 "$vmm"; }
	within 30 gone
	within 30 status_is c1 stopped
	runtime delete c1
}

@test "life: a vmm that dies is a failure, not exit code 0" {
	bundle
	sh_args 'echo up > /root/up; sleep 100000'
	runtime run c1 > "$WORK/out" 2>&1 < /dev/null & run=$!
	within 60 test -s "$BUNDLE/rootfs/root/up"
	kill -KILL "$(vmm_of c1)"
	rc=0; wait "$run" || rc=$?
	cat "$WORK/out"
	((rc != 0))
	runtime delete --force c1
}

@test "life: the command killed at any moment leaves nothing that delete --force cannot clear" {
	local delay
	bundle
	sh_args 'sleep 100000'
	for delay in 0.05 0.3 0.8 1.5 2.5 4; do
		runtime run --detach c1 > /dev/null 2>&1 < /dev/null & run=$!
		sleep "$delay"	# the moment is the point of the test, not something waited for
		kill -KILL "$run" 2> /dev/null || true
		wait "$run" || true
		runtime delete --force c1
		"$TESTS/leftovers.sh" compare "$BATS_TEST_TMPDIR/census"
	done
}

@test "life: Ctrl-C during create undoes it" {
	local delay
	bundle
	sh_args 'sleep 100000'
	for delay in 0.1 1 2; do
		timeout --preserve-status --signal INT "$delay" "$CAISSON" --root "$ROOT" create --bundle "$BUNDLE" c1 > /dev/null 2>&1 < /dev/null || true
		runtime delete --force c1
		"$TESTS/leftovers.sh" compare "$BATS_TEST_TMPDIR/census"
	done
}
