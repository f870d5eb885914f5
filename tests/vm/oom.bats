#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A kill for lack of memory in the guest is seen where engines look: oom_kill of memory.events of the cgroup in which they found the pid.

load helpers

X=/sys/fs/cgroup/caisson-oom/c1

setup() {
	common_setup
	bundle '.linux.cgroupsPath = "/caisson-oom/c1" | .linux.resources.memory.limit = 67108864 | .linux.sysctl = {"vm.overcommit_memory": "1"}'
}
teardown() {
	[[ -z ${keeper:-} ]] || kill "$keeper" || true
	for id in $(runtime list -q); do runtime delete --force "$id" || true; done
	[[ ! -d $X ]] || rmdir "$X" "${X%/*}" || true
	common_teardown
}

kills() { sed -n 's/^oom_kill //p' $X/memory.events; }
has_killed() { (($(kills) > 0)); }
children() { find $X -mindepth 1 -type d; }
cgroup_of() { sed -n 's/^0:://p' "/proc/$1/cgroup"; }

@test "oom: the kill that ends the container has been counted when its end is seen" {
	sh_args 'exec dd if=/dev/zero of=/dev/null bs=400M count=1'
	runtime --log "$WORK/log" create c1 > "$WORK/said" 2>&1 < /dev/null
	pid=$(pid_of c1)
	[[ $(kills) == 0 ]]
	# what an engine sees first of all: the monitor is gone
	(tail -f /dev/null --pid="$pid" -s 0.01; kills > "$WORK/kills") &
	runtime start c1
	wait $!
	[[ $(< "$WORK/kills") == 1 ]]
	[[ -z $(children) ]]
	status_is c1 stopped
	runtime delete c1
	[[ ! -e $X ]]
}

@test "oom: a container that lives on is where it was, and without such a kill nothing is counted" {
	sh_args 'trap "exit 0" TERM; while [ ! -e /root/go ]; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=400M count=1; sleep 100000 & wait'
	runtime --log "$WORK/log" run --detach c1 > "$WORK/said" 2>&1 < /dev/null
	pid=$(pid_of c1) vmm=$(vmm_of c1)
	[[ $(cgroup_of "$pid") == /caisson-oom/c1 && $(cgroup_of "$vmm") == /caisson-oom/c1 ]]
	# neither a kill by somebody nor much use of memory is one
	[[ $(runtime exec c1 sh -c 'sh -c "kill -9 \$\$"; echo $?; dd if=/dev/zero of=/dev/null bs=20M count=1 2> /dev/null; echo $?') == $'137\n0' ]]
	[[ $(kills) == 0 ]]
	touch "$BUNDLE/rootfs/root/go"
	within 120 has_killed
	[[ $(kills) == 1 ]]
	gone() { [[ -z $(children) ]]; }
	within 60 gone
	[[ $(cgroup_of "$pid") == /caisson-oom/c1 && $(cgroup_of "$vmm") == /caisson-oom/c1 ]]
	[[ $(< $X/cgroup.subtree_control) == '' && $(wc -l < $X/cgroup.procs) == 2 ]]
	[[ $(runtime exec c1 echo alive) == alive ]]
	# once more
	run -137 runtime exec c1 dd if=/dev/zero of=/dev/null bs=400M count=1
	again() { (($(kills) == 2)); }
	within 60 again
	run ! grep 'Engines do not see' "$WORK/log"
	status_is c1 running
	runtime kill c1 TERM
	within 60 status_is c1 stopped
	[[ $(kills) == 2 && -z $(children) ]]
}

@test "oom: somebody else in the cgroup is not moved: said, and the container runs on" {
	mkdir -p $X
	sleep 100000 3>&- &
	keeper=$!
	sh_args 'trap "exit 0" TERM; dd if=/dev/zero of=/dev/null bs=400M count=1; sleep 100000 & wait'
	runtime --log "$WORK/log" create c1 > "$WORK/said" 2>&1 < /dev/null
	echo "$keeper" > $X/cgroup.procs
	runtime start c1
	within 120 grep -q "Engines do not see the kill: the container's cgroup on the host: other processes are in it" "$WORK/log"
	[[ $(kills) == 0 ]]
	[[ $(cgroup_of "$(pid_of c1)") == /caisson-oom/c1 && $(cgroup_of "$(vmm_of c1)") == /caisson-oom/c1 ]]
	[[ -z $(children) ]]
	[[ $(runtime exec c1 echo alive) == alive ]]
	# what a monitor that was killed in the middle of it leaves goes, also where the cgroup is not ours to remove
	mkdir $X/caisson.guest $X/caisson.oom
	kill -9 "$(pid_of c1)"
	within 60 status_is c1 stopped
	runtime delete c1
	[[ -d $X && -z $(children) ]]
	kill "$keeper"
	wait "$keeper" || true
	keeper=
}
