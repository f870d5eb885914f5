#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson run`: exit codes, the process's environment, its own kernel; nothing left after any of it.

load helpers

setup() { common_setup; }
teardown() { common_teardown; }

@test "run: the command runs under another kernel than the host's" {
	bundle
	args uname -r
	run -0 runtime run c1
	[[ $output == *caisson* ]]
	[[ $output != "$(uname -r)" ]]
}

@test "run: the exit code is the command's" {
	bundle
	sh_args 'exit 37'
	run -37 runtime run c1
}

@test "run: a process killed by SIGSEGV gives 139" {
	bundle
	# an ordinary init would survive its own signal: the shell's child dies, and the shell passes 128+n on
	sh_args 'sh -c "kill -SEGV \$\$"; exit $?'
	run -139 runtime run c1
	# PID 1 of a pid namespace is spared by signals it sends to itself; by a fault it is not
	cp "$TOOLS/segv" "$BUNDLE/rootfs/bin/segv"
	args /bin/segv
	run -139 runtime run c1
}

@test "run: arguments, environment, directory, user and host name are config.json's" {
	bundle '.process.env += ["A=b c"] | .process.cwd = "/tmp" | .hostname = "hydra" |
		.process.user = {uid: 1, gid: 1, additionalGids: [7, 9]}'
	sh_args 'echo "$A|$(pwd)|$(hostname)|$(id -u):$(id -g):$(id -G)|$0|$1" "$@"; echo "$HOME"'
	run -0 runtime run c1
	[[ ${lines[0]} == "b c|/tmp|hydra|1:1:1 7 9|/bin/sh|"* ]]
	[[ ${lines[1]} == /usr/sbin ]]
}

@test "run: standard error is kept apart from standard output" {
	bundle
	sh_args 'echo out; echo err >&2'
	[[ $(runtime run c1 2>/dev/null) == out ]]
	[[ $(runtime run c1 2>&1 >/dev/null) == err ]]
}

@test "run: /proc, /sys, /dev, /dev/pts and /dev/shm are there, the process is PID 1" {
	bundle
	sh_args 'echo $$; ls /proc/self/fd | wc -l; cat /sys/kernel/mm/transparent_hugepage/enabled > /dev/null && echo sys
		echo x > /dev/null && head -c 3 /dev/zero | wc -c; mount | grep -c -E " /dev/(pts|shm|mqueue) "
		echo shared > /dev/shm/f && cat /dev/shm/f; ls -l /dev/ptmx | grep -c pts'
	run -0 runtime run c1
	[[ ${lines[0]} == 1 && ${lines[2]} == sys && ${lines[3]} == 3 && ${lines[4]} == 3 && ${lines[5]} == shared && ${lines[6]} == 1 ]]
}

@test "run: files written by the container are the host's, with the container's ids" {
	bundle '.process.capabilities[] |= (. + ["CAP_CHOWN", "CAP_FOWNER"])'
	sh_args 'echo from the guest > /root/f; chown 12:34 /root/f; chmod 640 /root/f; cat /etc/given'
	echo 'from the host' > "$BUNDLE/rootfs/etc/given"
	run -0 runtime run c1
	[[ $output == 'from the host' ]]
	[[ $(< "$BUNDLE/rootfs/root/f") == 'from the guest' ]]
	[[ $(stat -c %u:%g:%a "$BUNDLE/rootfs/root/f") == 12:34:640 ]]
}

@test "run: masked and read-only paths, capabilities and limits of the default config" {
	bundle
	sh_args 'cat /proc/timer_list | wc -c; echo 1 > /proc/sys/kernel/domainname || echo refused
		grep CapEff /proc/self/status; ulimit -n'
	run -0 runtime run c1
	[[ ${lines[0]} == 0 ]]
	[[ $output == *refused* ]]
	[[ $output == *$'CapEff:\t0000000020000420'* ]]
	[[ ${lines[-1]} == 1024 ]]
}

@test "run: a read-only root cannot be written" {
	bundle '.root.readonly = true'
	sh_args 'touch /f; echo $?'
	run -0 runtime run c1
	[[ ${lines[-1]} == 1 && $output == *[Rr]ead-only* ]]
	[[ ! -e $BUNDLE/rootfs/f ]]
}

@test "run: a missing program is named in runc's words" {
	bundle
	args no-such-program
	run -1 runtime run c1
	[[ $output == *'no-such-program'*'executable file not found in $PATH'* ]]
	args /etc/passwd
	run -1 runtime run c1
	[[ $output == *'/etc/passwd'*'permission denied'* ]]
	args /no/such
	run -1 runtime run c1
	[[ $output == *'/no/such'*'no such file or directory'* ]]
}

@test "run: 50 sequential runs of true all return 0" {
	local i
	bundle
	args true
	for i in {1..50}; do runtime run "c$i" || { echo "run $i: $?"; return 1; }; done
}

@test "run: 20 guests at once all answer" {
	local i n=0 pids=()
	bundle
	sh_args 'cat /etc/hostname; echo "here $(hostname)"'
	echo shared > "$BUNDLE/rootfs/etc/hostname"
	for i in {1..20}; do
		mkdir "$WORK/b$i"
		jq --arg r "$BUNDLE/rootfs" --arg h "g$i" '.root.path = $r | .hostname = $h' "$BUNDLE/config.json" > "$WORK/b$i/config.json"
		runtime run --bundle "$WORK/b$i" "g$i" > "$WORK/out$i" 2>&1 & pids+=($!)
	done
	for i in {1..20}; do wait "${pids[i - 1]}" || { echo "guest $i: $?"; cat "$WORK/out$i"; n=$((n + 1)); }; done
	((n == 0))
	for i in {1..20}; do [[ $(< "$WORK/out$i") == $'shared\nhere g'"$i" ]]; done
}
