#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# --systemd-cgroup: the monitor's cgroup is a scope of systemd's, limits are properties of it.
#
# The suite's systemd is an instance of its own in a cgroup of its own, run as root for one user, with its socket where the system's
# would be: the program under test finds no bus and speaks to that.

load helpers

MANAGER=/sys/fs/cgroup/caisson-manager

setup_file() {
	[[ ! -d /run/systemd/system ]] || skip "this machine runs systemd itself"
	export XDG_RUNTIME_DIR=$BATS_FILE_TMPDIR/runtime
	# no units of this machine's, but those that are made meanwhile
	export SYSTEMD_UNIT_PATH=$XDG_RUNTIME_DIR/systemd/transient:$XDG_RUNTIME_DIR/systemd/user.control:$BATS_FILE_TMPDIR/units
	local u
	mkdir -p "$MANAGER" /run/systemd/system "$XDG_RUNTIME_DIR" "$BATS_FILE_TMPDIR/units"
	for u in default basic shutdown exit; do printf '[Unit]\nDefaultDependencies=no\n' > "$BATS_FILE_TMPDIR/units/$u.target"; done
	ln -sfn "$XDG_RUNTIME_DIR/systemd/private" /run/systemd/private
	(echo "$BASHPID" > $MANAGER/cgroup.procs; exec /lib/systemd/systemd --user > "$BATS_FILE_TMPDIR/systemd.log" 2>&1 3>&- < /dev/null) &
	echo $! > "$BATS_FILE_TMPDIR/pid"
	within 60 test -S "$XDG_RUNTIME_DIR/systemd/private" || { cat "$BATS_FILE_TMPDIR/systemd.log"; return 1; }
	within 60 systemctl --user show -p Version || { cat "$BATS_FILE_TMPDIR/systemd.log"; return 1; }
}

teardown_file() {
	[[ ! -e $BATS_FILE_TMPDIR/pid ]] || kill -9 "$(< "$BATS_FILE_TMPDIR/pid")"
	rm -rf /run/systemd
	within 30 rmdir $MANAGER/init.scope $MANAGER || true
}

setup() { common_setup; }
teardown() { common_teardown; }

show() { # UNIT PROPERTY
	systemctl --user show --value -p "$2" "$1"
}

@test "systemd: the container is a delegated scope with its limits as properties" {
	bundle '.linux.cgroupsPath = "-.slice:docker:abc" |
		.linux.resources = {pids: {limit: 20}, memory: {limit: 134217728}, cpu: {shares: 512, quota: 25000, period: 50000, cpus: "0"}}'
	args sleep 1000
	runtime --systemd-cgroup run --detach c1 > "$WORK/said" 2>&1 < /dev/null || { cat "$WORK/said"; return 1; }
	pid=$(pid_of c1)
	[[ $(sed -n 's/^0:://p' "/proc/$pid/cgroup") == /caisson-manager/docker-abc.scope ]]
	[[ $(sed -n 's/^0:://p' "/proc/$(vmm_of c1)/cgroup") == /caisson-manager/docker-abc.scope ]]
	dir=$MANAGER/docker-abc.scope
	[[ $(show docker-abc.scope Delegate) == yes ]]
	[[ $(show docker-abc.scope TasksMax) == 85 && $(< $dir/pids.max) == 85 ]]
	[[ $(show docker-abc.scope MemoryMax) == "$(< $dir/memory.max)" ]]
	[[ $(show docker-abc.scope CPUWeight) == 59 && $(< $dir/cpu.weight) == 59 ]]
	[[ $(show docker-abc.scope CPUQuotaPerSecUSec) == 500ms && $(< $dir/cpu.max) == '25000 50000' ]]
	[[ $(show docker-abc.scope AllowedCPUs) == 0 && $(< $dir/cpuset.cpus) == 0 ]]
	[[ $(runtime exec c1 cat /sys/fs/cgroup/pids.max) == 20 ]]
	# the driver is remembered
	runtime update --pids-limit 30 --cpu-quota -1 c1
	[[ $(show docker-abc.scope TasksMax) == 95 && $(< $dir/pids.max) == 95 ]]
	[[ $(show docker-abc.scope CPUQuotaPerSecUSec) == infinity && $(< $dir/cpu.max) == max* ]]
	systemctl --user daemon-reload
	head $dir/{pids.max,cpu.weight,memory.max,cpu.max}
	[[ $(< $dir/pids.max) == 95 && $(< $dir/cpu.weight) == 59 ]]
	runtime delete --force c1
	within 30 test ! -d $dir
	[[ $(show docker-abc.scope LoadState) == not-found ]]
}

@test "systemd: a create that fails leaves no scope, after a crash delete --force ends it" {
	bundle '.linux.cgroupsPath = "-.slice:c:crash"'
	args /no/such/program
	run -1 runtime --systemd-cgroup run c1
	[[ $output == *'no such file or directory'* ]]
	within 30 test ! -d $MANAGER/c-crash.scope
	args sleep 1000
	runtime --systemd-cgroup run --detach c1 > "$WORK/said" 2>&1 < /dev/null || { cat "$WORK/said"; return 1; }
	kill -9 "$(pid_of c1)"
	within 60 status_is c1 stopped
	runtime delete --force c1
	within 30 test ! -d $MANAGER/c-crash.scope
}

@test "systemd: a unit's name is free when it has been stopped, or has failed" {
	helper=$(dirname "$CAISSON")/caisson-systemd
	# it takes its time to end
	sh -c 'trap "sleep 2; exit" TERM; while :; do sleep 0.1; done' 3>&- &
	slow=$!
	"$helper" start caisson-slow.scope -.slice $slow slow
	[[ $(sed -n 's/^0:://p' /proc/$slow/cgroup) == /caisson-manager/caisson-slow.scope ]]
	"$helper" stop caisson-slow.scope
	[[ ! -d /proc/$slow || $(awk '{ print $3 }' /proc/$slow/stat) == Z ]]
	sleep 1000 3>&- &
	next=$!
	"$helper" start caisson-slow.scope -.slice $next next
	# a name that is taken stays so
	sleep 1000 3>&- &
	run -1 "$helper" start caisson-slow.scope -.slice $! other
	kill $!
	"$helper" stop caisson-slow.scope
	"$helper" stop caisson-slow.scope
	# systemd keeps what has failed
	systemd-run --user --scope --slice=-.slice --unit=docker-failed -p RuntimeMaxSec=1 sleep 100 || true
	within 30 eval '[[ $(show docker-failed.scope ActiveState) == failed ]]'
	bundle '.linux.cgroupsPath = "-.slice:docker:failed"'
	args true
	run -0 runtime --systemd-cgroup run c1
}

@test "systemd: what is no unit is refused in runc's words" {
	bundle '.linux.cgroupsPath = "/a/path"'
	args true
	run -1 runtime --systemd-cgroup run c1
	[[ $output == *'expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/path\" instead'* ]]
	edit '.linux.cgroupsPath = "not-a-slice:docker:abc"'
	run -1 runtime --systemd-cgroup run c1
	[[ $output == *'invalid slice name: '* ]]
}

@test "systemd: a kill for lack of memory in the guest is counted in the scope" {
	bundle '.linux.cgroupsPath = "-.slice:c:oom" | .linux.resources.memory.limit = 67108864 | .linux.sysctl = {"vm.overcommit_memory": "1"}'
	sh_args 'trap "exit 0" TERM; dd if=/dev/zero of=/dev/null bs=400M count=1; sleep 100000 & wait'
	runtime --systemd-cgroup run --detach c1 > "$WORK/said" 2>&1 < /dev/null || { cat "$WORK/said"; return 1; }
	scope=/sys/fs/cgroup/caisson-manager/c-oom.scope
	counted() { grep -qx 'oom_kill 1' $scope/memory.events && [[ -z $(find $scope -mindepth 1 -type d) ]]; }
	within 120 counted
	[[ $(sed -n 's/^0:://p' "/proc/$(pid_of c1)/cgroup") == /caisson-manager/c-oom.scope ]]
	runtime delete --force c1
	[[ ! -e $scope ]]
}
