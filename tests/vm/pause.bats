#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson pause` and `caisson resume`: the guest's freezer, what is written before, and the commands on a paused container.

load helpers

setup() {
	common_setup
	bundle
}
teardown() { common_teardown; }

size() { stat -c %s "$BUNDLE/rootfs/root/$1"; }

@test "pause: processes stop, commands know it, resume lets them go on" {
	sh_args 'trap "echo caught >> /root/term; exit 7" TERM; while :; do echo tick >> /root/ticks; sleep 0.1; done'
	detach c1
	within 60 test -s "$BUNDLE/rootfs/root/ticks"
	run -1 runtime resume c1
	[[ $output == *'container not paused'* ]]

	run -0 runtime pause c1
	[[ -z $output ]]
	status_is c1 paused
	[[ $(runtime list | awk '$1 == "c1" { print $3 }') == paused ]]
	[[ $(runtime list --format json | jq -r '.[0].status') == paused ]]
	[[ $(runtime state c1 | jq .pid) -gt 1 ]]
	before=$(size ticks)
	# other questions are answered meanwhile, and take their time
	run -0 runtime ps c1
	[[ ${lines[1]} == *'sh -c trap'* ]]
	runtime events --stats c1 | jq -e '.data.pids.current >= 1'
	[[ $(size ticks) == "$before" ]]

	run -255 runtime exec c1 true
	[[ $output == *'exec failed: cannot exec in a paused container (use --ignore-paused to override)'* ]]
	run -1 runtime pause c1
	[[ $output == *'container not running'* ]]
	run -1 runtime start c1
	[[ $output == *'cannot start a container in the paused state'* ]]
	run -1 runtime delete c1
	[[ $output == *'cannot delete container c1 that is not stopped: paused'* ]]
	status_is c1 paused

	runtime exec --ignore-paused c1 sh -c 'echo went on; exit 5' > "$WORK/out" 2>&1 &
	waiting=$!
	# as docker does: the signal first, then on
	runtime kill c1 TERM
	[[ $(size ticks) == "$before" && ! -e $BUNDLE/rootfs/root/term && ! -s $WORK/out ]]
	kill -0 "$waiting"
	run -0 runtime resume c1
	rc=0
	wait "$waiting" || rc=$?
	# it races with the end of the container: either it ran, or it was told of that end
	[[ $rc == 5 && $(< "$WORK/out") == 'went on' || $rc == 255 || $rc == 137 ]]
	within 60 status_is c1 stopped
	[[ $(< "$BUNDLE/rootfs/root/term") == caught ]]
	run -1 runtime pause c1
	[[ $output == *'container not running'* ]]
	run -1 runtime resume c1
	[[ $output == *'container not paused'* ]]
}

@test "pause: exec --ignore-paused begins with resume" {
	sh_args 'while :; do sleep 1000; done'
	detach c1
	runtime pause c1
	runtime exec --ignore-paused c1 sh -c 'echo went on; exit 5' > "$WORK/out" 2>&1 &
	waiting=$!
	runtime ps c1 > /dev/null
	[[ ! -s $WORK/out ]]
	runtime resume c1
	rc=0
	wait "$waiting" || rc=$?
	[[ $rc == 5 && $(< "$WORK/out") == 'went on' ]]
	status_is c1 running
	# and again, more than once
	for _ in 1 2 3; do
		runtime pause c1
		status_is c1 paused
		runtime resume c1
		status_is c1 running
	done
	[[ $(runtime exec c1 echo alive) == alive ]]
	# limits can be changed meanwhile
	runtime pause c1
	runtime update --pids-limit 77 c1
	status_is c1 paused
	runtime resume c1
	[[ $(runtime exec c1 cat /sys/fs/cgroup/pids.max) == 77 ]]
}

@test "pause: what was written is on the host" {
	sh_args 'head -c 3000000 /dev/urandom > /root/data; sha256sum < /root/data > /root/sum; echo > /root/done; sleep 100000'
	detach c1
	within 120 test -e "$BUNDLE/rootfs/root/done"
	runtime pause c1
	[[ $(size data) == 3000000 ]]
	[[ $(sha256sum < "$BUNDLE/rootfs/root/data") == "$(< "$BUNDLE/rootfs/root/sum")" ]]
	# one that is killed is paused no longer, whatever it was
	runtime kill c1 KILL
	within 60 status_is c1 stopped
	[[ ! -e $ROOT/c1/paused ]]
	runtime delete c1
}

@test "pause: of a created container; delete --force of a paused one" {
	sh_args 'echo started > /root/started; sleep 100000'
	runtime create c1 > "$WORK/said" 2>&1 < /dev/null
	runtime pause c1
	status_is c1 paused
	runtime resume c1
	status_is c1 created
	runtime start c1
	within 60 test -s "$BUNDLE/rootfs/root/started"
	runtime pause c1
	pid=$(pid_of c1)
	run -0 runtime delete --force c1
	[[ ! -e $ROOT/c1 && ! -d /proc/$pid ]]
}
