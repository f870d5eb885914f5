#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a person does with Docker, against a real daemon. Each test holds with RUNTIME=runc as well.
#
# One daemon for the file. The container `main` lives from the first test to the last: it serves HTTP on 80 (published on 8080) and UDP
# on 7000 (published on 7000), writes a counter, and has the volume `data`.

load helpers

setup_file() {
	docker_up
	docker network create net1 > /dev/null
	docker network create net2 > /dev/null
	"$TESTS/leftovers.sh" census > "$DOCKER_STATE/census"
	start main -p 8080:80 -p 7000:7000/udp -v data:/data --hostname box -e FROM=run -w /tmp --network net1 bb sh -c '
		mkdir -p /tmp/www; echo page > /tmp/www/index.html; httpd -h /tmp/www -p 80; udp_echo 7000 & echo out; echo err >&2
		i=0; while :; do i=$((i + 1)); echo $i > /tmp/counter; sleep 1; done'
	within 60 logged main err
}

teardown_file() {
	docker_down
}

# Everything but `main` and what the file's set-up made
teardown() {
	docker ps -a --format '{{.Names}}' | grep -vx main | xargs -r docker rm -f > /dev/null 2>&1 || true
	# not by each test: the number of processes is what would grow
	rm -rf "$DOCKER_STATE/work"
}

setup() {
	WORK=$DOCKER_STATE/work
	mkdir -p "$WORK"
}

# ---- run ---------------------------------------------------------------------------------------------------------------

# bats test_tags=smoke
@test "run: output, error output, status, input, environment, working directory, host name" {
	docker run --rm -i -e A=1 -w /var -h name bb sh -c 'cat; echo $A; pwd; hostname; echo oops >&2; exit 7' \
		< <(echo input) > "$WORK/out" 2> "$WORK/err" && status=0 || status=$?
	same status "$status" 7
	same output "$(cat "$WORK/out")" $'input\n1\n/var\nname'
	same error "$(cat "$WORK/err")" oops
}

# bats test_tags=smoke
@test "run: exit statuses 125, 126, 127 and 128 + signal" {
	ends 127 docker run --rm bb no-such-program
	says 'executable file not found in $PATH'
	ends 127 docker run --rm bb /no/such/program
	says 'no such file or directory'
	ends 126 docker run --rm bb /etc/passwd
	says 'permission denied'
	ends 125 docker run --rm --no-such-option bb true
	ends 143 docker run --rm bb sh -c 'sh -c "kill -TERM \$\$"; exit $?'
	gives "" docker ps -aq --filter status=created --filter status=exited
}

@test "run -it: a terminal with its size, echo, Ctrl-C and the exit status" {
	ends 5 terminal expect='/dev/pts/' until='size\r:24 80' type='hello\r' expect='hello' expect='got hello' resize=50x132 \
		until='size\r:50 132' type='\x03' expect=caught type='\rbye\r' -- docker run --rm -it bb sh -c '
		trap "echo caught" INT; tty
		while read -r l; do case $l in size) stty size ;; bye) exit 5 ;; *) echo "got $l" ;; esac; done; echo end; read -r l; read -r l; exit 5'
}

@test "run: a signal to the client reaches the process" {
	docker run --name sig bb sh -c 'trap "echo usr1; exit 9" USR1; echo ready; while :; do usleep 100000; done' > "$WORK/out" &
	pid=$!
	within 60 grep -q ready "$WORK/out"
	kill -USR1 $pid
	wait $pid && status=0 || status=$?
	same status "$status" 9
	same output "$(cat "$WORK/out")" $'ready\nusr1'
}

# ---- exec --------------------------------------------------------------------------------------------------------------

# bats test_tags=smoke
@test "exec: output, status, user, environment, working directory, input" {
	gives "hi" docker exec main echo hi
	ends 5 docker exec main sh -c 'exit 5'
	gives "uid=1000(u) gid=1000(u) groups=1000(u)" docker exec -u u main id
	gives "uid=1000(u) gid=2000(extra) groups=2000(extra)" docker exec -u 1000:extra main id
	gives "run 2" docker exec -e B=2 main sh -c 'echo $FROM $B'
	gives /tmp docker exec main pwd
	gives /var docker exec -w /var main pwd
	gives 6 docker exec -i main wc -c < <(printf 123456)
	# 126 before Docker 23
	run docker exec main no-such-program
	[[ $status == 12[67] ]]
	says 'executable file not found in $PATH'
	ends 126 docker exec main /etc/passwd
}

@test "exec: a megabyte in and out is the same" {
	head -c 1048576 /dev/urandom > "$WORK/in"
	docker exec -i main cat < "$WORK/in" > "$WORK/out"
	cmp "$WORK/in" "$WORK/out"
}

# bats test_tags=smoke
@test "exec -it: a terminal with its size, Ctrl-C and the exit status" {
	ends 5 terminal expect='/dev/pts/' resize=50x132 until='size\r:50 132' type='\x03' expect=caught type='\rbye\r' -- docker exec -it main sh -c '
		trap "echo caught" INT; tty
		while read -r l; do case $l in size) stty size ;; bye) exit 5 ;; esac; done; read -r l; read -r l; exit 5'
}

@test "exec -d: runs on, and is in the container" {
	docker exec -d main sh -c 'echo $$ > /tmp/detached; exec sleep 1000'
	within 30 docker exec main test -s /tmp/detached
	gives sleep in_it main 'cat /proc/$(cat /tmp/detached)/comm'
	docker exec main sh -c 'kill $(cat /tmp/detached)'
	within 30 in_it main '! kill -0 $(cat /tmp/detached)'
}

# ---- what is said ------------------------------------------------------------------------------------------------------

@test "logs: both streams, the last lines, and following until the end" {
	gives out sh -c 'docker logs main 2> /dev/null'
	gives err sh -c 'docker logs main 2>&1 > /dev/null'
	start talker bb sh -c 'for i in 1 2 3; do echo line $i; usleep 300000; done'
	gives $'line 1\nline 2\nline 3' docker logs -f talker
	gives 'line 3' docker logs --tail 1 talker
}

@test "attach: input goes in, output comes out, and its keys detach" {
	docker run -dit --name talk bb sh -c 'while read -r l; do [ "$l" = bye ] && exit 4; echo "got $l"; done' > /dev/null
	run terminal type='one\r' expect='got one' type='\x10\x11' -- docker attach talk
	says 'got one'
	gives true inspect talk '{{.State.Running}}'
	ends 4 terminal type='two\r' expect='got two' type='bye\r' -- docker attach talk
}

@test "inspect, wait, events" {
	local since
	since=$(date +%s)
	gives "running true" inspect main '{{.State.Status}} {{.State.Running}}'
	kill -0 "$(inspect main '{{.State.Pid}}')"
	docker create --name brief bb sh -c 'exit 6' > /dev/null
	gives created inspect brief '{{.State.Status}}'
	docker start brief > /dev/null
	gives 6 docker wait brief
	gives "exited 6 0 false" inspect brief '{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}} {{.State.OOMKilled}}'
	docker rm brief > /dev/null
	run docker events --since "$since" --until $(($(date +%s) + 1)) --filter container=brief --format '{{.Action}} {{.Actor.Attributes.exitCode}}'
	says 'create '
	says 'start '
	says 'die 6'
	says 'destroy '
}

@test "top: what runs" {
	ends 0 docker top main
	if differs top; then says caisson; else says udp_echo; fi
	ends 0 docker top main -o pid,comm
}

@test "stats: memory, processor, network, processes" {
	run docker stats --no-stream --format '{{.MemUsage}}|{{.CPUPerc}}|{{.NetIO}}|{{.PIDs}}' main
	[[ $output =~ ^[0-9.]+[KM]iB\ /\ [0-9.]+GiB\|[0-9.]+%\|[0-9.]+k?B\ /\ [0-9.]+k?B\|[1-9][0-9]*$ ]] || { echo "$output"; return 1; }
}

# ---- files -------------------------------------------------------------------------------------------------------------

# bats test_tags=smoke
@test "cp: both ways while it runs; the host's own files are untouched" {
	local before
	before=$(md5sum /etc/passwd /etc/hosts)
	echo mine > "$WORK/f"
	docker cp "$WORK/f" main:/etc/passwd.new
	gives mine docker exec main cat /etc/passwd.new
	docker cp "$WORK/f" main:/data/f
	gives mine docker exec main cat /data/f
	docker exec main sh -c 'mkdir -p /tmp/tree/sub; echo deep > /tmp/tree/sub/f; ln -s sub/f /tmp/tree/link'
	docker cp main:/tmp/tree "$WORK/"
	gives deep cat "$WORK/tree/sub/f"
	gives sub/f readlink "$WORK/tree/link"
	gives root: sh -c "docker cp main:/etc/passwd - | tar -xO | head -c 5"
	# a file that the guest has just read is seen changed
	for i in 1 2 3; do
		echo "round $i" > "$WORK/f"
		docker cp "$WORK/f" main:/tmp/again
		gives "round $i" docker exec main cat /tmp/again
	done
	same "the host's files" "$(md5sum /etc/passwd /etc/hosts)" "$before"
	[[ ! -e /etc/passwd.new && ! -e /data/f ]]
}

@test "cp, diff, export, commit: a stopped container" {
	docker run --name kept bb sh -c 'echo new > /added; rm /etc/group; echo more >> /etc/passwd'
	run docker diff kept
	says 'A /added'
	says 'D /etc/group'
	says 'C /etc/passwd'
	echo in > "$WORK/f"
	docker cp "$WORK/f" kept:/put
	docker cp kept:/added "$WORK/got"
	gives new cat "$WORK/got"
	gives in sh -c 'docker export kept | tar -xO put'
	docker commit -c 'CMD ["cat", "/added", "/put"]' kept kept-image > /dev/null
	gives $'new\nin' docker run --rm kept-image
	docker rmi -f kept-image > /dev/null
}

@test "commit and diff: a running container, with what was written last" {
	docker exec main sh -c 'echo last > /tmp/last'
	docker commit main snap > /dev/null
	gives last docker run --rm snap cat /tmp/last
	run docker diff main
	says 'A /tmp/last'
	docker rmi -f snap > /dev/null
}

@test "volumes: named, of the host, read-only, single files, nested, and the image's files in a new one" {
	echo host > "$WORK/host"
	mkdir -p "$WORK/dir/sub"
	docker volume create vol > /dev/null
	docker run --rm -v vol:/etc -v vol:/v bb sh -c 'echo kept > /v/f'
	gives $'kept\nroot' docker run --rm -v vol:/v bb sh -c 'cat /v/f; head -n 1 /v/passwd | cut -d : -f 1'
	gives $'host\nro\nro\nchanged' docker run --rm -v "$WORK/host:/etc/one:ro" -v "$WORK/dir:/d" -v vol:/d/sub:ro bb sh -c '
		cat /etc/one; echo x 2> /dev/null > /etc/one || echo ro; touch /d/sub/no 2> /dev/null || echo ro
		echo changed > /d/f; cat /d/f'
	gives changed cat "$WORK/dir/f"
	docker volume rm vol > /dev/null
}

@test "volumes: what the host changes is seen, and the other way" {
	start watch -v "$WORK:/w" bb sleep 1000
	for i in 1 2 3; do
		echo "host $i" > "$WORK/f"
		gives "host $i" docker exec watch cat /w/f
		docker exec watch sh -c "echo guest $i > /w/f"
		gives "guest $i" cat "$WORK/f"
	done
}

@test "tmpfs and --shm-size: size, mode, and gone afterwards" {
	gives $'1024\n1777\n10240' docker run --rm --tmpfs /t:size=1m,mode=1777 --shm-size 10m bb sh -c '
		df -k /t | tail -n 1 | awk "{ print \$2 }"; stat -c %a /t; df -k /dev/shm | tail -n 1 | awk "{ print \$2 }"'
	ends 1 docker run --rm --tmpfs /t:size=1m bb sh -c 'dd if=/dev/zero of=/t/f bs=1k count=2000 2>&1'
	says 'No space left on device'
}

@test "--read-only: nothing but its volumes can be written" {
	gives $'ro\nok' docker run --rm --read-only -v data:/data --tmpfs /tmp bb sh -c 'touch /f 2> /dev/null || echo ro; touch /data/g /tmp/g && echo ok'
}

# ---- what a process is given -------------------------------------------------------------------------------------------

# bats test_tags=smoke
@test "--user, --group-add, --ulimit, --sysctl, --cap-drop, --init, --env-file, --entrypoint" {
	echo "FILE=yes" > "$WORK/env"
	run docker run --rm --user 1000:1000 --group-add 2000 --ulimit nofile=100:200 --ulimit core=0 --sysctl net.ipv4.ip_forward=0 \
		--sysctl kernel.msgmax=9000 --cap-drop ALL --cap-add NET_RAW --init --env-file "$WORK/env" --entrypoint sh bb -c '
		id; ulimit -n; ulimit -Hn; ulimit -c; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax
		grep CapBnd /proc/self/status; cat /proc/1/comm; echo $FILE'
	same output "$output" $'uid=1000(u) gid=1000(u) groups=1000(u),2000(extra)\n100\n200\n0\n0\n9000\nCapBnd:\t0000000000002000\ndocker-init\nyes'
}

@test "--init reaps what is orphaned" {
	start reaper --init bb sleep 1000
	docker exec reaper sh -c 'sh -c "sleep 0.1 & " & wait'
	within 30 in_it reaper '! grep -l "^State:.Z" /proc/[0-9]*/status'
}

@test "--pids-limit, --memory, --cpus: seen and held inside" {
	run docker run --rm --pids-limit 20 --memory 64m --cpus 0.5 bb sh -c '
		cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max
		i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i + 1)); done; :'
	says $'20\n67108864\n50000 100000'
	says "can't fork"
}

@test "update: limits of a running container" {
	start small --memory 64m bb sleep 1000
	docker update --memory 100m --memory-swap 100m --cpus 0.5 --pids-limit 33 small
	gives $'104857600\n50000 100000\n33' in_it small 'cd /sys/fs/cgroup; cat memory.max cpu.max pids.max'
}

@test "--security-opt: no new privileges, a seccomp profile" {
	jq -n '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO"}]}' > "$WORK/seccomp.json"
	run docker run --rm --security-opt no-new-privileges --security-opt seccomp="$WORK/seccomp.json" bb sh -c 'grep NoNewPrivs /proc/self/status; mkdir /d'
	says $'NoNewPrivs:\t1'
	says "can't create directory '/d': Operation not permitted"
}

@test "--device: character devices that a guest has" {
	gives "0" docker run --rm --device /dev/zero:/dev/nought bb sh -c 'head -c 1 /dev/nought | od -An -tu1 | tr -d " "'
}

# bats test_tags=smoke
@test "--privileged: all capabilities and mounts, but not the host's devices" {
	run docker run --rm --privileged bb sh -c 'grep CapEff /proc/self/status; mount -t tmpfs x /mnt && echo mounted; (: < /dev/kvm) 2> /dev/null && echo kvm; [ -w /proc/sys/kernel/msgmax ] && echo sys'
	[[ $output =~ CapEff:.*ffffffff ]]
	says mounted
	says sys
	if differs privileged; then [[ $output != *kvm* ]]; else says kvm; fi
}

@test "out of memory is told" {
	ends 137 docker run --name hog --memory 32m bb tail /dev/zero
	gives true inspect hog '{{.State.OOMKilled}}'
	# and no other end is taken for one
	docker run --name plain --memory 32m bb sh -c 'kill -9 $$; exit 3' || true
	gives false inspect plain '{{.State.OOMKilled}}'
}

# ---- life --------------------------------------------------------------------------------------------------------------

# bats test_tags=smoke
@test "stop, kill, start, restart: what the process is sent and what it ends with" {
	start polite --stop-signal USR2 bb sh -c 'trap "exit 3" USR2; trap "echo hup" HUP; echo ready; while :; do usleep 50000; done'
	within 60 logged polite ready
	docker kill -s HUP polite > /dev/null
	within 30 logged polite hup
	docker stop polite > /dev/null
	gives 3 inspect polite '{{.State.ExitCode}}'
	docker start polite > /dev/null
	gives true inspect polite '{{.State.Running}}'
	docker restart -t 30 polite > /dev/null
	docker kill polite > /dev/null
	within 30 state_is polite exited
	gives 137 inspect polite '{{.State.ExitCode}}'
	start deaf bb sh -c 'trap "" TERM; echo ready; while :; do usleep 50000; done'
	within 60 logged deaf ready
	docker stop -t 1 deaf > /dev/null
	gives 137 inspect deaf '{{.State.ExitCode}}'
}

# bats test_tags=smoke
@test "pause: nothing runs until unpause; a paused one can be killed" {
	local a b
	docker pause main > /dev/null
	gives "paused true" inspect main '{{.State.Status}} {{.State.Paused}}'
	docker cp main:/tmp/counter "$WORK/a"
	ends 1 docker exec main true
	docker cp main:/tmp/counter "$WORK/b"
	cmp "$WORK/a" "$WORK/b"
	docker unpause main > /dev/null
	within 30 in_it main "[ \$(cat /tmp/counter) -gt $(cat "$WORK/a") ]"
	start frozen bb sleep 1000
	docker pause frozen > /dev/null
	docker kill frozen > /dev/null
	within 30 state_is frozen exited
	gives 137 inspect frozen '{{.State.ExitCode}}'
}

restarted() { # NAME TIMES
	[[ $(inspect "$1" '{{.RestartCount}}') == "$2" ]]
}

@test "restart policies: on-failure gives up, always does not" {
	start failing --restart on-failure:2 bb sh -c 'exit 4'
	within 90 restarted failing 2
	within 60 state_is failing exited
	gives "4" inspect failing '{{.State.ExitCode}}'
	start again --restart always bb sh -c 'echo once; sleep 1000'
	within 60 logged again once
	kill -9 "$(inspect again '{{.State.Pid}}')"
	within 60 restarted again 1
	within 60 sh -c '[ $(docker logs again | grep -c once) -eq 2 ]'
	docker stop -t 1 again > /dev/null
	gives "exited" inspect again '{{.State.Status}}'
}

healthy() { # NAME STATUS
	[[ $(inspect "$1" '{{.State.Health.Status}}') == "$2" ]]
}

@test "health checks: healthy, unhealthy, and one that hangs is killed in the container" {
	start patient --health-cmd 'test -e /tmp/well && exit; [ -e /tmp/hang ] && exec sleep 12345; exit 1' --health-interval 1s \
		--health-timeout 8s --health-retries 1 bb sh -c 'touch /tmp/well; sleep 1000'
	within 60 healthy patient healthy
	docker exec patient rm /tmp/well
	within 60 healthy patient unhealthy
	docker exec patient touch /tmp/well
	within 60 healthy patient healthy
	docker exec patient sh -c 'touch /tmp/hang; rm /tmp/well'
	within 60 in_it patient 'pidof sleep | grep -q " "'
	within 60 healthy patient unhealthy
	docker exec patient touch /tmp/well
	within 60 in_it patient '! grep -qs [1]2345 /proc/[0-9]*/cmdline'
}

# ---- network -----------------------------------------------------------------------------------------------------------

udp_answers() { # PORT
	[[ $(echo ping | socat -t 2 - "UDP:127.0.0.1:$1") == ping ]]
}

# bats test_tags=smoke
@test "published ports: TCP and UDP, a megabyte over TCP" {
	gives page curl -sS -m 60 http://127.0.0.1:8080/
	gives page curl -sS -m 60 "http://$(inspect main '{{.NetworkSettings.Networks.net1.IPAddress}}')/"
	within 30 udp_answers 7000
	docker exec main sh -c 'head -c 1048576 /dev/urandom > /tmp/www/big'
	same "its checksum" "$(curl -sS -m 60 http://127.0.0.1:8080/big | md5sum | cut -d ' ' -f 1)" \
		"$(docker exec main md5sum /tmp/www/big | cut -d ' ' -f 1)"
	gives "80/tcp -> 0.0.0.0:8080" sh -c "docker port main | grep '80/tcp -> 0.0.0.0'"
}

@test "published ports: one that is taken" {
	ends 125 docker run --rm -p 8080:80 bb true
	says 'port is already allocated'
}

# bats test_tags=smoke
@test "a network of one's own: names are found, TCP and ping" {
	gives $'page\nfound' docker run --rm --network net1 bb sh -c 'fetch main; ping -c 1 -W 30 main > /dev/null && echo found'
}

@test "a network of one's own: by address, and the other way" {
	local ip
	ip=$(inspect main '{{.NetworkSettings.Networks.net1.IPAddress}}')
	start peer --network net1 bb sh -c 'mkdir /tmp/w; echo peer > /tmp/w/index.html; exec httpd -f -h /tmp/w -p 80'
	gives page docker exec peer fetch "$ip"
	gives peer docker exec main fetch "$(inspect peer '{{.NetworkSettings.Networks.net1.IPAddress}}')"
}

# bats test_tags=smoke
@test "network connect and disconnect while it runs" {
	local ip
	docker network connect --ip "$(subnet net2).77" net2 main 2> /dev/null || docker network connect net2 main
	ip=$(inspect main '{{.NetworkSettings.Networks.net2.IPAddress}}')
	within 30 in_it main "ip -o a | grep -qF '$ip/'"
	gives page curl -sS -m 60 "http://$ip/"
	start peer --network net2 bb sleep 1000
	gives page docker exec peer fetch "$ip"
	docker network disconnect net2 main
	within 30 in_it main "! ip -o a | grep -qF '$ip/'"
	gives page curl -sS -m 60 http://127.0.0.1:8080/
}

subnet() { # NETWORK: the first three numbers
	docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' "$1" | cut -d . -f 1-3
}

@test "--network none: a loopback interface only" {
	gives lo docker run --rm --network none bb ls /sys/class/net
}

@test "--network host" {
	ends 0 docker run --rm --network host bb sh -c 'ls /sys/class/net'
	if differs network-host; then same interfaces "$output" lo; else says eth0; fi
}

@test "--network container:NAME" {
	run docker run --rm --network container:main bb fetch 127.0.0.1
	if differs network-container; then
		same status "$status" 125
		says 'network'
		gives page curl -sS -m 60 http://127.0.0.1:8080/
	else
		same output "$output" page
	fi
}

@test "--add-host, --dns: the files are the engine's, and follow" {
	start names --network net1 --add-host far:192.0.2.7 --dns 192.0.2.8 --dns-search example.org bb sleep 1000
	gives 192.0.2.7 in_it names "grep far /etc/hosts | cut -f 1"
	gives "search example.org" in_it names "grep search /etc/resolv.conf"
	docker network connect net2 names
	within 30 in_it names "grep -qF '$(inspect names '{{.NetworkSettings.Networks.net2.IPAddress}}')' /etc/hosts"
}

# ---- build -------------------------------------------------------------------------------------------------------------

# bats test_tags=smoke
@test "build: the classic builder" {
	printf 'FROM bb\nARG WHO\nWORKDIR /srv\nCOPY f /srv/\nRUN uname -r > kernel; cat f > built; echo $WHO >> built\nUSER u\nCMD ["cat", "/srv/built"]\n' > "$WORK/Dockerfile"
	echo file > "$WORK/f"
	DOCKER_BUILDKIT=0 docker build -q --build-arg WHO=me -t built "$WORK"
	gives $'file\nme' docker run --rm built
	built_with_runtime
	docker rmi -f built > /dev/null
}

@test "build: BuildKit" {
	printf 'FROM bb AS a\nRUN echo stage > /s\nFROM bb\nCOPY --from=a /s /srv/s\nRUN uname -r > /srv/kernel\nCMD ["cat", "/srv/s"]\n' > "$WORK/Dockerfile"
	DOCKER_BUILDKIT=1 docker build --progress plain -t built "$WORK" > "$WORK/out" 2>&1 || { cat "$WORK/out"; return 1; }
	gives stage docker run --rm built
	built_with_runtime
	docker rmi -f built > /dev/null
}

built_with_runtime() {
	local kernel
	kernel=$(docker run --rm built cat /srv/kernel)
	if differs kernel; then [[ $kernel != "$(uname -r)" ]]; else same kernel "$kernel" "$(uname -r)"; fi
}

# ---- many, and the daemon ----------------------------------------------------------------------------------------------

@test "twenty containers at once" {
	local i
	for i in $(seq 20); do docker run -d --name "many$i" --memory 64m bb sh -c "echo $i > /tmp/number; echo is $i; sleep 1000" > /dev/null & done
	wait
	for i in $(seq 20); do within 120 logged "many$i" "is $i"; done
	same "their number" "$(docker ps --filter name=many -q | wc -l)" 20
	gives 7 docker exec many7 cat /tmp/number
	# not all at once: the daemon waits ten seconds for an end, and a machine of the lab is slow
	docker ps -q --filter name=many | xargs -n 4 docker rm -f > /dev/null
}

@test "the daemon restarts, the containers live on" {
	local pid
	pid=$(inspect main '{{.State.Pid}}')
	start leaving bb sh -c 'until [ -e /tmp/go ]; do usleep 100000; done; exit 8'
	docker_stop
	kill -0 "$pid"
	docker_start
	gives "$pid running" inspect main '{{.State.Pid}} {{.State.Status}}'
	gives hi docker exec main echo hi
	gives page curl -sS -m 60 http://127.0.0.1:8080/
	docker exec leaving touch /tmp/go
	within 60 state_is leaving exited
	gives 8 inspect leaving '{{.State.ExitCode}}'
	# and when it is killed
	docker_stop KILL
	docker_start
	gives "$pid running" inspect main '{{.State.Pid}} {{.State.Status}}'
	gives hi docker exec main echo hi
}

# Last but one: `main` ends
# bats test_tags=smoke
@test "rm -f: nothing is left" {
	docker ps -aq | xargs docker rm -f > /dev/null
	within 60 nothing_left || { cat "$DOCKER_STATE/left"; return 1; }
}

# What the daemon keeps, or made anew when it was restarted, is not ours
nothing_left() {
	"$TESTS/leftovers.sh" census | comm -13 "$DOCKER_STATE/census" - |
		grep -vE '^cgroup /sys/fs/cgroup/docker(/buildkit)?$|/docker\.sock$|/libnetwork/|/netns/default ' > "$DOCKER_STATE/left"
	[[ ! -s $DOCKER_STATE/left ]]
}

@test "user namespaces (userns-remap)" {
	# Docker does not remap the user root, and another needs an entry in this host's files
	[[ -n ${LAB:-} ]] || skip "host: /etc/subuid is not this suite's to change"
	docker_stop
	echo 'daemon:200000:65536' >> /etc/subuid
	echo 'daemon:200000:65536' >> /etc/subgid
	docker_configure '. + {"userns-remap": "daemon"}'
	docker_start
	tar -C "$DOCKER_STATE/root" -c . | docker import - bb > /dev/null
	gives "0 200000 65536" docker run --rm -v mapped:/v bb sh -c 'echo x > /v/f; awk "{ print \$1, \$2, \$3 }" /proc/self/uid_map'
	same owner "$(stat -c %u "$(docker volume inspect -f '{{.Mountpoint}}' mapped)/f")" 200000
	gives "0 0 4294967295" docker run --rm --userns host bb awk '{ print $1, $2, $3 }' /proc/self/uid_map
}
