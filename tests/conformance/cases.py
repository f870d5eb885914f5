# SPDX-License-Identifier: Apache-2.0
"""The cases of table.py: small changes to one configuration, and where Caisson differs from runc on purpose."""

CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_config():
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": [PATH, "TERM=dumb"],
            "cwd": "/",
            "capabilities": {s: list(CAPS) for s in ("bounding", "effective", "permitted")},
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        # an emulated host is some thirty times slower: patience before a guest counts as hung
        "annotations": {"org.caisson.heartbeat-seconds": "60", "org.caisson.boot-timeout-seconds": "180"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {
            "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        },
    }


class Case:
    """
    args, sh    what runs; a command line for busybox's shell
    set, add, drop, edit    changes: path to value, path to further items, paths to remove, a function
    text        the whole config.json instead
    prepare     a shell script on the host, in the bundle; "BUNDLE" in the configuration is its path
    steps       command lines of the runtime, "wait STATUS", "host COMMAND" (its output counts)
    files       what the bundle's files hold afterwards is compared, too
    differs     field to a regular expression: what Caisson's is where it differs from runc's; why: the reason
    says        words that must be in Caisson's stderr
    needs       a shell command that fails on hosts where runc cannot do this
    """

    def __init__(self, name, **options):
        known = {"args": None, "sh": None, "set": {}, "add": {}, "drop": [], "edit": None, "text": None, "prepare": None, "stdin": b"",
                 "steps": ["run --bundle BUNDLE c1"], "files": [], "differs": {}, "why": None, "says": [], "needs": None}
        unknown = set(options) - set(known)
        assert not unknown, f"{name}: {unknown}"
        self.name = name
        self.__dict__.update(known)
        self.__dict__.update(options)
        if self.sh is not None:
            self.args = ["sh", "-c", self.sh]
        assert bool(self.differs) == bool(self.why), f"{name}: a difference needs a reason"


def mount(destination, source, kind="bind", options=()):
    return {"mounts": [{"destination": destination, "type": kind, "source": source, "options": list(options)}]}


def without_namespace(*kinds):
    def edit(config):
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] not in kinds]
    return edit


def hook(kind, *script):
    return {f"hooks.{kind}": [{"path": "/bin/sh", "args": ["sh", "-c", s]} for s in script]}


def seccomp(action, names, **more):
    return {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                              "syscalls": [{"names": names, "action": action, **more}]}}


def plain_mounts(where):
    return f"grep ' {where} ' /proc/mounts | cut -d ' ' -f 2-4 | sed -E 's/,inode64//; s/,size=[0-9]+k//'"


# What the runtime says about its own failures avoids the words by which engines tell that a program cannot be run (126, 127)
WORDS = {"differs": {"stderr": "<error>"}, "why": "the words that mean 126 or 127 to an engine are kept for the program itself"}
STRICT = {"differs": {"code": "1", "stderr": "<error>"},
          "why": "the specification: a runtime MUST generate an error for invalid or unsupported values"}

MISSING = {"differs": {"stderr": "(<running hook>|<error>|\n)+"}, "why": WORDS["why"]}
IS_DIRECTORY = {"differs": {"stderr": "(?s)<error>.*<is a directory>.*"}, "why": "runc says so since 1.2; before, permission denied"}

STARTED = ["run --detach --bundle BUNDLE c1"]
ENDED = ["kill c1 KILL", "wait stopped", "delete c1"]

PROCESS = [
    Case("args", args=["sh", "-c", 'printf "<%s>" "$0" "$@"', "a b", "", "ü*$x", "-n"]),
    Case("args empty", args=[]),
    Case("args missing", drop=["process.args"]),
    Case("process missing", drop=["process"]),
    Case("env", sh="env | sort", set={"process.env": [PATH, "B=", "A=1=2", "C=x y", "HOME=/h"]}),
    Case("env twice", sh="echo $A; env | grep -c ^A=", set={"process.env": [PATH, "A=1", "A=2"]}),
    Case("env without PATH", sh="echo here", drop=["process.env"]),
    Case("env without =", sh="env", set={"process.env": [PATH, "NOTHING"]}),
    Case("home of root", sh="echo $HOME"),
    Case("home of a user", sh="echo $HOME", set={"process.user": {"uid": 1000, "gid": 1000}}),
    Case("home of nobody known", sh="echo $HOME", set={"process.user": {"uid": 4321, "gid": 1}}),
    Case("home is empty", sh="echo $HOME", add={"process.env": ["HOME="]}),
    Case("cwd", sh="pwd", set={"process.cwd": "/usr"}),
    Case("cwd missing", sh="pwd; stat -c '%u:%g %a %n' /a /a/b .", set={"process.cwd": "/a/b/c"}),
    Case("cwd is a file", set={"process.cwd": "/etc/passwd"}),
    Case("cwd is relative", set={"process.cwd": "tmp"}),
    Case("cwd is a symlink", sh="pwd -P", prepare="ln -s /usr rootfs/link", set={"process.cwd": "/link"}),
    Case("cwd is forbidden to the user", sh="pwd", set={"process.cwd": "/root", "process.user": {"uid": 1000, "gid": 1000}}),
    Case("cwd is absent", drop=["process.cwd"]),
    Case("user", sh="id; grep -E '^(Uid|Gid|Groups)' /proc/self/status",
         set={"process.user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 2000]}}),
    Case("umask", sh="umask; touch /tmp/x; stat -c %a /tmp/x", set={"process.user": {"uid": 0, "gid": 0, "umask": 0o27}}),
    Case("umask by default", sh="umask"),
    Case("rlimits", sh="ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hs",
         set={"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                                  {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 22}]}),
    Case("rlimits: unknown", set={"process.rlimits": [{"type": "RLIMIT_TEST", "soft": 1, "hard": 1}]}),
    Case("rlimits: soft above hard", set={"process.rlimits": [{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 10}]}),
    Case("capabilities", sh="grep ^Cap /proc/self/status",
         set={"process.capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_CHOWN"],
                                       "permitted": ["CAP_CHOWN", "CAP_KILL"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]}}),
    Case("capabilities of a user", sh="grep ^Cap /proc/self/status; chown 0 /tmp/x || echo no", prepare="touch rootfs/tmp/x",
         set={"process.user": {"uid": 1000, "gid": 1000}}),
    Case("capabilities: ambient for a user", sh="grep ^Cap /proc/self/status",
         set={"process.user": {"uid": 1000, "gid": 1000},
              "process.capabilities": {s: ["CAP_NET_RAW"] for s in ("bounding", "effective", "permitted", "inheritable", "ambient")}}),
    Case("capabilities: none", sh="grep ^Cap /proc/self/status", drop=["process.capabilities"]),
    Case("capabilities: unknown", sh="grep ^Cap /proc/self/status", add={"process.capabilities.bounding": ["CAP_FLY"]}),
    Case("noNewPrivileges", sh="grep NoNewPrivs /proc/self/status", set={"process.noNewPrivileges": True}),
    Case("oomScoreAdj", sh="cat /proc/self/oom_score_adj", set={"process.oomScoreAdj": 300}),
    Case("oomScoreAdj out of range", set={"process.oomScoreAdj": 2000}),
    Case("terminal without a console socket", set={"process.terminal": True}, steps=["create --bundle BUNDLE c1"]),
    Case("console socket without a terminal", steps=["create --bundle BUNDLE --console-socket /tmp/no.sock c1"]),
    Case("apparmorProfile on a host without AppArmor", set={"process.apparmorProfile": "no-such"},
         needs="! grep -q Y /sys/module/apparmor/parameters/enabled"),
]

PROGRAM = [
    Case("program not on PATH", args=["no-such-program"]),
    Case("program missing", args=["/bin/no-such-program"]),
    Case("program not executable", args=["/etc/passwd"]),
    Case("program is a directory", args=["/etc"], **IS_DIRECTORY),
    Case("program below a file", args=["/etc/passwd/x"]),
    Case("program on PATH not executable", args=["x"], prepare="echo > rootfs/bin/x"),
    Case("program relative to cwd", args=["./x"], prepare="printf '#!/bin/sh\\necho x\\n' > rootfs/usr/x; chmod 755 rootfs/usr/x",
         set={"process.cwd": "/usr"}),
    Case("program's PATH is the container's", args=["x"], prepare="printf '#!/bin/sh\\necho x\\n' > rootfs/usr/x; chmod 755 rootfs/usr/x",
         set={"process.env": ["PATH=/bin:/usr"]}),
    Case("script without its interpreter", args=["/x"], prepare="echo '#!/no/such' > rootfs/x; chmod 755 rootfs/x",
         differs={"stderr": "<error>\n<no such file or directory>"}, why="what execve says is the command's error, not the container's output"),
    Case("script without a first line", args=["/x"], prepare="echo 'echo hello' > rootfs/x; chmod 755 rootfs/x",
         differs={"stderr": "<error>\n<exec format error>"}, why="what execve says is the command's error, not the container's output"),
    Case("program in a noexec mount", args=["/mnt/busybox", "true"], add=mount("/mnt", "BUNDLE/rootfs/bin", options=["rbind", "noexec"])),
    Case("exit code", sh="exit 7"),
    Case("exit code 255", sh="exit 255"),
    Case("ended by a signal", sh="kill -TERM $$; sleep 5", edit=without_namespace("pid")),
    Case("ended by SIGKILL from outside", sh="sleep 100", steps=STARTED + ENDED),
    Case("pid 1 in its namespace", sh="echo $$; kill -TERM $$; echo here"),
    Case("stdin", args=["sh", "-c", "cat; echo done"], stdin=b"some\x00thing\nelse"),
    Case("stdout and stderr", sh="echo out; echo err >&2; echo out2"),
    Case("stdout closed early", sh="exec >&-; echo lost; exit 3"),
    Case("no descriptors but three", sh="ls /proc/self/fd | wc -l"),
]

HOST = [
    Case("hostname", sh="hostname; cat /proc/sys/kernel/hostname", set={"hostname": "other"}),
    Case("hostname without a uts namespace", edit=without_namespace("uts")),
    Case("no hostname", sh="test -n \"$(hostname)\"", drop=["hostname"]),
    Case("domainname", sh="cat /proc/sys/kernel/domainname", set={"domainname": "example.org"},
         differs={"stdout": "example.org"}, why="runc before 1.2 ignores the field"),
    Case("sysctl", sh="cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_forward",
         set={"linux.sysctl": {"kernel.shm_rmid_forced": "1", "net.ipv4.ip_forward": "1"}}),
    Case("sysctl that does not exist", set={"linux.sysctl": {"net.ipv4.no_such": "1"}}, **WORDS),
    Case("sysctl that is not namespaced", sh="cat /proc/sys/vm/swappiness", set={"linux.sysctl": {"vm.swappiness": "7"}},
         differs={"code": "0", "stdout": "7", "stderr": ""}, why="the kernel is the container's own: any sysctl may be set"),
    Case("sysctl: a bad value", set={"linux.sysctl": {"net.ipv4.ip_forward": "many"}}),
]

MOUNTS = [
    Case("tmpfs with options", sh=plain_mounts("/mnt") + "; stat -c '%a %u' /mnt",
         add=mount("/mnt", "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec", "mode=1750", "uid=5", "size=1m"]),
         differs={"stdout": "(?s).*\n1750 5"}, why="the mode that was asked for; runc before 1.2 sets the covered directory's"),
    Case("tmpfs's default mode", sh="stat -c %a /new/dir", add=mount("/new/dir", "tmpfs", "tmpfs")),
    Case("tmpfs with what was there", sh="cat /mnt/a; stat -c '%a %u' /mnt/a", prepare="echo hi > rootfs/mnt/a; chmod 640 rootfs/mnt/a",
         add=mount("/mnt", "tmpfs", "tmpfs", ["tmpcopyup"])),
    Case("bind", sh="cat /mnt/a; echo new > /mnt/b", prepare="mkdir src; echo hi > src/a", add=mount("/mnt", "BUNDLE/src", options=["rbind"]),
         files=["src/b"]),
    Case("bind, source relative to the bundle", sh="cat /mnt/a", prepare="mkdir src; echo hi > src/a", add=mount("/mnt", "src", options=["bind"])),
    Case("bind, read-only", sh="cat /mnt/a; echo new > /mnt/b", prepare="mkdir src; echo hi > src/a",
         add=mount("/mnt", "BUNDLE/src", options=["bind", "ro"])),
    Case("bind of a file", sh="cat /new/file; ls /new", prepare="echo hi > src", add=mount("/new/file", "BUNDLE/src", options=["bind"])),
    Case("bind of a directory over a file", prepare="mkdir src; echo > rootfs/file", add=mount("/file", "BUNDLE/src", options=["bind"])),
    Case("bind of a missing source", add=mount("/mnt", "BUNDLE/no-such", options=["bind"]), **WORDS),
    Case("bind below a bind", sh="cat /mnt/sub/b", prepare="mkdir -p one/sub two; echo b > two/b",
         add={"mounts": mount("/mnt", "BUNDLE/one", options=["bind"])["mounts"] + mount("/mnt/sub", "BUNDLE/two", options=["bind"])["mounts"]}),
    Case("mounts' destination is relative", sh="ls -d /rel", add=mount("rel", "tmpfs", "tmpfs")),
    Case("mounts' destination is a symlink", sh=plain_mounts("/tmp/there"), prepare="ln -s /tmp/there rootfs/link",
         add=mount("/link", "tmpfs", "tmpfs", ["size=1m"])),
    Case("mounts' destination points outside", sh=plain_mounts("/esc"), prepare="ln -s ../../../esc rootfs/link",
         add=mount("/link", "tmpfs", "tmpfs", ["size=1m"])),
    Case("mounts' destination is missing", drop=["mounts.0.destination"],
         differs={"stderr": "<error>"}, why="one error, and nothing done; runc warns, goes on and fails at the next mount"),
    Case("mount of an unknown type", add=mount("/mnt", "none", "nosuchfs")),
    Case("mount with an unknown option", add=mount("/mnt", "tmpfs", "tmpfs", ["nosuchoption"])),
    Case("mounts of a starter configuration", sh="cut -d ' ' -f 2,3 /proc/mounts | grep -v '^/ '",
         add={"mounts": mount("/dev/shm", "shm", "tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"])["mounts"] +
              mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"])["mounts"] +
              mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"])["mounts"]}),
    Case("no proc", sh="ls /proc", drop=["mounts.0"],
         differs={"code": "0", "stderr": ""}, why="nothing of ours in the container needs its /proc"),
    Case("root read-only", sh="touch /x; touch /tmp/x; touch /dev/x && echo yes", set={"root.readonly": True}),
    Case("root missing", drop=["root"]),
    Case("root's path missing", set={"root.path": "no-such"}, **WORDS),
    Case("root is a file", set={"root.path": "config.json"}, **WORDS),
    Case("maskedPaths", sh="cat /etc/secret; ls /var; echo; cat /proc/version | wc -c", prepare="echo s > rootfs/etc/secret; touch rootfs/var/x",
         set={"linux.maskedPaths": ["/etc/secret", "/var", "/no/such", "/proc/version"]}),
    Case("readonlyPaths", sh="echo 1 > /proc/sys/net/ipv4/ip_forward; touch /var/x; touch /etc/x && echo yes",
         set={"linux.readonlyPaths": ["/proc/sys", "/var", "/no/such"]}),
    Case("rootfsPropagation: slave", sh="grep ' / / ' /proc/self/mountinfo | grep -c -E 'shared|master'",
         set={"linux.rootfsPropagation": "slave"}),
    Case("rootfsPropagation: unknown", set={"linux.rootfsPropagation": "sideways"}),
]

DEVICES = [
    Case("default devices", sh="cd /dev; ls -l null zero full random urandom tty | awk '{ print $1, $3, $4, $5, $6, $10 }';"
         " for i in fd stdin stdout stderr ptmx; do readlink $i; done"),
    Case("devices", sh="cd /dev; stat -c '%A %t:%T %u:%g' mine p; ls -l /new/dev | tail -n 1 | cut -c 1-10",
         set={"linux.devices": [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6},
                                {"path": "/dev/p", "type": "p", "fileMode": 0o600},
                                {"path": "/new/dev", "type": "u", "major": 1, "minor": 5, "fileMode": 0o666}]}),
    Case("devices: a block device that the host lacks", sh="stat -c '%A %t:%T' /dev/mine",
         set={"linux.devices": [{"path": "/dev/mine", "type": "b", "major": 7, "minor": 300}]},
         differs={"code": "1", "stdout": "", "stderr": "<error>"},
         why="the guest gets the disk itself, not only a node with its number, so there has to be one that can be opened"),
    Case("devices: unknown type", set={"linux.devices": [{"path": "/dev/x", "type": "x", "major": 1, "minor": 3}]}),
    Case("devices: in the way of a file", sh="stat -c %F /etc/passwd",
         set={"linux.devices": [{"path": "/etc/passwd", "type": "c", "major": 1, "minor": 3}]},
         differs={"code": "1", "stdout": "", "stderr": "<error>"},
         why="the specification: if a file already exists at path that does not match the requested device, the runtime MUST generate an error"),
]

NAMESPACES = [
    Case("namespaces: no pid", sh="test $$ -gt 1", edit=without_namespace("pid")),
    Case("namespaces: no mount", edit=without_namespace("mount")),
    Case("namespaces: unknown type", add={"linux.namespaces": [{"type": "moon"}]}),
    Case("namespaces: twice", add={"linux.namespaces": [{"type": "pid"}]}),
    Case("namespaces: a path that is missing",
         edit=lambda c: c["linux"]["namespaces"].__setitem__(1, {"type": "network", "path": "/run/netns/no-such"}), **WORDS),
    Case("namespaces: a path of another type",
         edit=lambda c: c["linux"]["namespaces"].__setitem__(1, {"type": "network", "path": "/proc/self/ns/uts"})),
    Case("namespaces: a user namespace", sh="id -u; cat /proc/self/uid_map | awk '{ print $1, $3 }'; stat -c %u /etc/passwd; touch /tmp/new",
         prepare="chown -R 100000:100000 rootfs",
         add={"linux.namespaces": [{"type": "user"}]},
         set={"linux.uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
              "linux.gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]},
         steps=["run --bundle BUNDLE c1", "host stat -c %u:%g rootfs/tmp/new"]),
    Case("namespaces: a user namespace without mappings", add={"linux.namespaces": [{"type": "user"}]}),
    Case("namespaces: mappings without a user namespace",
         set={"linux.uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]},
         differs={"code": "1", "stderr": "<error>"}, why="as runc since 1.2; before, it ignored them"),
]

CONFIG = [
    Case("config.json is no JSON", text="{"),
    Case("config.json is empty", text=""),
    Case("config.json is missing", prepare="rm config.json"),
    Case("config.json: args of a wrong type", set={"process.args": "true"}),
    Case("config.json: uid of a wrong type", set={"process.user.uid": "root"}),
    Case("config.json: a negative uid", set={"process.user.uid": -1}),
    Case("config.json: an unknown field", sh="echo here", set={"process.magic": True, "moon": {"phase": 3}}),
    Case("ociVersion is no version", set={"ociVersion": "new"}, **STRICT),
    Case("ociVersion is missing", drop=["ociVersion"], **STRICT),
    Case("ociVersion is a later one", set={"ociVersion": "2.0.0"}, **STRICT),
    Case("annotations", set={"annotations.a/b": "c d"},
         steps=["create --bundle BUNDLE c1", "state c1", "delete --force c1"],
         differs={"stdout": r'\{.*"a/b": "c d".*\}'}, why="the pid and the time of creation are not the same"),
]

LIFE = [
    Case("id with a slash", steps=["run --bundle BUNDLE a/b"]),
    Case("id is empty", steps=["run --bundle BUNDLE ''"]),
    Case("id exists", sh="sleep 100", steps=STARTED + ["run --bundle BUNDLE c1", "kill c1 KILL", "wait stopped", "delete c1"]),
    Case("unknown id", steps=["state c2", "start c2", "kill c2", "delete c2", "exec c2 true", "ps c2", "pause c2", "resume c2"]),
    Case("unknown id, delete --force", steps=["delete --force c2"]),
    Case("bundle is missing", steps=["run --bundle /no/such c1"], **WORDS),
    Case("no id", steps=["run", "create", "start", "state", "kill", "delete"],
         differs={"stdout": "(?s).*"}, why="the text is the usage of the command, which is our own"),
    Case("start twice", sh="sleep 100", steps=["create --bundle BUNDLE c1", "start c1", "start c1"] + ENDED),
    Case("start a stopped container", steps=["create --bundle BUNDLE c1", "kill c1 KILL", "wait stopped", "start c1", "delete c1"]),
    Case("kill a stopped container", steps=["create --bundle BUNDLE c1", "kill c1 KILL", "wait stopped", "kill c1 KILL", "delete c1"]),
    Case("kill with an unknown signal", sh="sleep 100", steps=STARTED + ["kill c1 NOSIG", "kill c1 900"] + ENDED),
    Case("kill with a signal by number, by name", sh="trap 'echo usr1' USR1; trap 'echo usr2; exit' USR2; sleep 100 & echo ready > /ready;"
         " wait; wait; wait",
         steps=STARTED + ["host until [ -s rootfs/ready ]; do sleep 0.1; done", "kill c1 10", "host sleep 3", "kill c1 SIGUSR2",
                          "wait stopped", "delete c1"]),
    Case("delete a running container", sh="sleep 100", steps=STARTED + ["delete c1"] + ENDED),
    Case("exec", sh="sleep 100",
         steps=STARTED + ["exec c1 sh -c 'echo here; exit 5'", "exec c1 no-such-program", "exec c1 /etc", "exec c1 /etc/passwd",
                          "exec --cwd /usr --env A=b --user 5:6 c1 sh -c 'pwd; echo $A; id -u; id -g'"] + ENDED, **IS_DIRECTORY),
    Case("exec in a container that is not started", steps=["create --bundle BUNDLE c1", "exec c1 echo here", "delete --force c1"]),
    Case("exec in a stopped container", steps=["create --bundle BUNDLE c1", "kill c1 KILL", "wait stopped", "exec c1 true", "delete c1"]),
    Case("pause, resume", sh="sleep 100", steps=STARTED + ["pause c1", "wait paused", "exec c1 true", "resume c1", "wait running", "resume c1"] +
         ENDED),
]

LOG = 'printf "%s " $0 >> BUNDLE/log; '
HOOKS = [
    Case("hooks", sh="echo main", files=["log"],
         set={f"hooks.{k}": [{"path": "/bin/sh", "args": [k, "-c", f"echo {k}1 >> BUNDLE/log"]},
                             {"path": "/bin/sh", "args": [k, "-c", f"cat > /dev/null; echo {k}2 $X >> BUNDLE/log"], "env": ["X=1"]}]
              for k in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}),
    Case("hooks: prestart fails", set=hook("prestart", "exit 3"), sh="echo main"),
    Case("hooks: createRuntime fails", set={**hook("createRuntime", "exit 3"), **hook("poststop", "echo stop > BUNDLE/log")}, sh="echo main",
         files=["log"]),
    Case("hooks: createContainer fails", set=hook("createContainer", "exit 3"), sh="echo main"),
    Case("hooks: startContainer", set=hook("startContainer", "echo hook > /tmp/x"), sh="cat /tmp/x"),
    Case("hooks: startContainer fails", set=hook("startContainer", "exit 3"), sh="echo main",
         differs={"stderr": "<error>\n<running hook>"}, why="the message is the command's, not the container's output"),
    Case("hooks: poststart fails", set=hook("poststart", "exit 3"), sh="sleep 1; echo main"),
    Case("hooks: poststop fails", set=hook("poststop", "exit 3", "echo second > BUNDLE/log"), sh="echo main", files=["log"],
         differs={"stdout": "main\nsecond", "stderr": "<warning>\n<running hook>"},
         why="the specification: poststop: the runtime MUST log a warning, but the remaining hooks and lifecycle continue"),
    Case("hooks: path missing", set={"hooks.prestart": [{"path": "/no/such"}]}, **MISSING),
    Case("hooks: timeout", set={"hooks.prestart": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]}),
]

SECCOMP = [
    Case("seccomp: errno", sh="mkdir /tmp/x; echo $?", set=seccomp("SCMP_ACT_ERRNO", ["mkdir", "mkdirat"])),
    Case("seccomp: another errno", sh="mkdir /tmp/x", set=seccomp("SCMP_ACT_ERRNO", ["mkdir", "mkdirat"], errnoRet=28)),
    Case("seccomp: kill", sh="mkdir /tmp/x; echo $?", set=seccomp("SCMP_ACT_KILL_PROCESS", ["mkdir", "mkdirat"])),
    Case("seccomp: by argument", sh="umask 077 && umask 022 && echo yes",
         set=seccomp("SCMP_ACT_ERRNO", ["umask"], args=[{"index": 0, "value": 63, "op": "SCMP_CMP_EQ"}])),
    Case("seccomp: an unknown system call", sh="echo here", set=seccomp("SCMP_ACT_ERRNO", ["no_such_call"])),
    Case("seccomp: an unknown action", set=seccomp("SCMP_ACT_DANCE", ["mkdir"])),
    Case("seccomp: status", sh="grep -E '^Seccomp:' /proc/self/status", set=seccomp("SCMP_ACT_ERRNO", ["mkdir"])),
]

RESOURCES = [
    Case("resources: pids", sh="cat /sys/fs/cgroup/pids.max", set={"linux.resources": {"pids": {"limit": 20}}},
         add=mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro"])),
    Case("resources: memory", sh="cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory.low",
         set={"linux.resources": {"memory": {"limit": 67108864, "reservation": 33554432}}},
         add=mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro"])),
    Case("resources: cpu", sh="cat /sys/fs/cgroup/cpu.weight /sys/fs/cgroup/cpu.max",
         set={"linux.resources": {"cpu": {"shares": 512, "quota": 50000, "period": 100000}}},
         add=mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro"]),
         differs={"stdout": "59\n50000 100000"}, why="the weight is that of runc since 1.3.2: shares of 1024 are a weight of 100"),
    Case("resources: devices", sh="echo x > /dev/null && echo null; echo x > /dev/full; head -c 1 /dev/zero | wc -c",
         set={"linux.resources": {"devices": [{"allow": False, "access": "rwm"},
                                              {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}]}}),
    Case("resources: unified", sh="cat /sys/fs/cgroup/pids.max", set={"linux.resources": {"unified": {"pids.max": "33"}}},
         add=mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro"])),
    Case("resources: unified, unknown file", set={"linux.resources": {"unified": {"no.such": "1"}}}),
    Case("resources: a wrong type", set={"linux.resources": {"memory": {"limit": "much"}}}),
    Case("resources: a memory limit of a few bytes", set={"linux.resources": {"memory": {"limit": 1000}}}),
    Case("resources: a cpuset of processors that are not there", set={"linux.resources": {"cpu": {"cpus": "700-701"}}}),
    Case("resources: cgroup path", sh="cat /proc/self/cgroup", set={"linux.cgroupsPath": "/some/where"}),
]

CASES = PROCESS + PROGRAM + HOST + MOUNTS + DEVICES + NAMESPACES + CONFIG + LIFE + HOOKS + SECCOMP + RESOURCES
