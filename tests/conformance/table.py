#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""table.py - the same bundle with two runtimes: exit codes, stdout and stderr side by side

    table.py [-l] [-v] [--reference PROGRAM] [--runtime PROGRAM] [CASE...]

Runs on a machine that can run guests (table.sh finds or makes one). Each case of cases.py is a change to one small configuration. The
bundle is made anew for each runtime, at the same place. Compared are, for each command of the case:

    code    its exit code
    stdout  all of it, and what the case's files hold afterwards
    stderr  what the container wrote, exactly; of the runtime's own messages, whether there was an error or a warning, and which of
            the phrases that engines and scripts look for (PHRASES) occur in them

The rest of a message is the runtime's own wording. A case may list deliberate differences, with the reason and what Caisson does
instead: they have to be there, as listed. TAP comes out; the last line is "N passed, N failed, N skipped".
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

from cases import CASES, base_config

LIMIT_S = 120  # for one command
SHOWN_LINES = 12  # of each field, when a case fails
APPLETS = ("sh awk cat chmod chown cut date dd df echo env expr false find grep head hostname id kill ln ls mkdir mknod mount mv nproc "
           "printf ps pwd readlink rm rmdir sed seq sleep sort stat sync tail test touch tr true tty umount uname wc").split()

# What scripts and engines look for in a message, any case
PHRASES = [
    "executable file not found", "no such file or directory", "permission denied", "is a directory", "not a directory",
    "exec format error", "operation not permitted", "container does not exist", "already exists", "invalid container id",
    "not running", "already running", "cannot start", "no such process", "unknown signal", "not stopped",
]
HOOK = re.compile(r"running (\w+ )?hook")  # runc names the kind since 1.2
RUNTIME_LINE = re.compile(r'^(time="|(runc|caisson)( [a-z]+ failed)?: |[A-Z]{4}\[|Incorrect Usage|NAME:|USAGE:)')


class Result:
    """What one runtime did with one case"""

    def __init__(self):
        self.codes, self.stdout, self.stderr, self.text = [], "", "", ""

    def fields(self):
        return {"code": " ".join(map(str, self.codes)), "stdout": self.stdout, "stderr": self.stderr}


def summarise(text):
    """stderr in the form that is compared: the container's lines, then what the runtime's messages come to"""
    lines = text.splitlines()
    own = [line for line in lines if RUNTIME_LINE.match(line)]
    rest = [line for line in lines if not RUNTIME_LINE.match(line)]
    message = "\n".join(own).lower()
    kinds = []
    if any("level=warn" in line or line.startswith("WARN[") for line in own):
        kinds.append("<warning>")
    if any("level=warn" not in line for line in own):
        kinds.append("<error>")
    if HOOK.search(message):
        kinds.append("<running hook>")
    return "\n".join(rest + kinds + [f"<{p}>" for p in PHRASES if p in message])


def place(config, path):
    """The container and key that a path such as "process.user.uid" or "mounts.0.type" means"""
    keys = [int(k) if k.isdigit() else k for k in path.split(".")]
    for key in keys[:-1]:
        config = config[key] if isinstance(key, int) else config.setdefault(key, {})
    return config, keys[-1]


def make_config(case):
    config = base_config()
    if case.args is not None:
        config["process"]["args"] = case.args
    for path, value in case.set.items():
        where, key = place(config, path)
        where[key] = value
    for path, values in case.add.items():
        where, key = place(config, path)
        where[key] = where.get(key, []) + values
    for path in case.drop:
        where, key = place(config, path)
        del where[key]
    if case.edit:
        case.edit(config)
    return config


def make_rootfs(path):
    for name in "bin dev etc mnt proc root sys tmp usr var".split():
        os.makedirs(f"{path}/{name}")
    os.chmod(f"{path}/tmp", 0o1777)
    os.chmod(f"{path}/root", 0o700)
    shutil.copy(shutil.which("busybox"), f"{path}/bin/busybox")
    for name in APPLETS:
        os.symlink("busybox", f"{path}/bin/{name}")
    with open(f"{path}/etc/passwd", "w", encoding="ascii") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    with open(f"{path}/etc/group", "w", encoding="ascii") as f:
        f.write("root:x:0:\nuser:x:1000:\nother:x:2000:user\n")


def make_bundle(case, bundle):
    shutil.rmtree(bundle, ignore_errors=True)
    make_rootfs(f"{bundle}/rootfs")
    text = case.text if case.text is not None else json.dumps(make_config(case), indent=1)
    text = text.replace("BUNDLE", bundle)
    with open(f"{bundle}/config.json", "w", encoding="utf-8") as f:
        f.write(text)
    if case.prepare:
        subprocess.run(["sh", "-ec", case.prepare], cwd=bundle, check=True)


class Runner:
    def __init__(self, program, work):
        self.program, self.bundle, self.root = program, f"{work}/bundle", f"{work}/state"
        self.out, self.err = f"{work}/stdout", f"{work}/stderr"

    def command(self, words, stdin=b""):
        """One command's exit code. Files, not pipes: a container in the background keeps its ends"""
        argv = [self.program, "--root", self.root] + words
        with open(self.out, "ab") as out, open(self.err, "ab") as err, tempfile.TemporaryFile() as given:
            given.write(stdin)
            given.seek(0)
            try:
                done = subprocess.run(argv, stdin=given, stdout=out, stderr=err, cwd=self.bundle, timeout=LIMIT_S, check=False)
            except subprocess.TimeoutExpired:
                return "time-out"
        return done.returncode

    def status(self):
        done = subprocess.run([self.program, "--root", self.root, "state", "c1"], capture_output=True, check=False)
        return json.loads(done.stdout)["status"] if done.returncode == 0 else "none"

    def step(self, step, stdin):
        """A command line, "wait STATUS", or "host COMMAND" """
        words = shlex.split(step.replace("BUNDLE", self.bundle))
        if words[0] == "wait":
            end = time.monotonic() + LIMIT_S
            while self.status() != words[1]:
                if time.monotonic() > end:
                    return "time-out"
                time.sleep(0.1)
            return "ok"
        if words[0] == "host":
            with open(self.out, "ab") as out:
                return subprocess.run(["sh", "-c", step[5:]], stdout=out, cwd=self.bundle, check=False).returncode
        return self.command(words, stdin)

    def run(self, case):
        result = Result()
        make_bundle(case, self.bundle)
        for name in (self.out, self.err):
            open(name, "wb").close()
        for step in case.steps:
            result.codes.append(self.step(step, case.stdin))
        self.discard()
        text = []
        for name in [self.out] + [f"{self.bundle}/{f}" for f in case.files]:
            try:
                with open(name, encoding="utf-8", errors="replace") as f:
                    text.append(f.read())
            except FileNotFoundError:
                text.append(f"no {os.path.basename(name)}\n")
        result.stdout = "".join(text)
        with open(self.err, encoding="utf-8", errors="replace") as f:
            result.text = f.read()
        result.stderr = summarise(result.text)
        return result

    def discard(self):
        """What the case left: its container, and the mounts of a runtime that was given no mount namespace"""
        subprocess.run([self.program, "--root", self.root, "delete", "--force", "c1"], capture_output=True, check=False)
        with open("/proc/self/mounts", encoding="utf-8") as f:
            for line in reversed(f.read().splitlines()):
                where = line.split(" ")[1]
                if where.startswith(self.bundle):
                    subprocess.run(["umount", "--lazy", where], check=True)
        shutil.rmtree(self.root, ignore_errors=True)


def judge(case, reference, ours):
    """What is wrong, as lines; nothing when the runtimes agree, or differ exactly as the case says"""
    theirs, mine, wrong = reference.fields(), ours.fields(), []
    for field in theirs:
        listed = case.differs.get(field)
        if listed is None and theirs[field] != mine[field]:
            wrong.append(f"{field} differs")
        elif listed is not None and theirs[field] == mine[field]:
            wrong.append(f"{field}: a difference is listed, and there is none")
        elif listed is not None and not re.fullmatch(listed, mine[field].strip(), re.S):
            wrong.append(f"{field} is not what the listed difference says: {listed}")
    for message in case.says:
        if message not in ours.text:
            wrong.append(f"stderr does not say '{message}'")
    if wrong:
        for name, result in (("reference", reference), ("ours", ours)):
            for field, value in result.fields().items():
                wrong += [f"{name} {field}: {line}" for line in (value.splitlines() or [""])[:SHOWN_LINES]]
            wrong += [f"{name} said: {line}" for line in result.text.splitlines()[:SHOWN_LINES]]
    return wrong


def own_mounts():
    """In a mount namespace of our own: cases without one must not touch the host's mounts"""
    if "TABLE_MOUNTS" not in os.environ:
        os.environ["TABLE_MOUNTS"] = "own"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-B"] + sys.argv)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--reference", default="runc")
    parser.add_argument("--runtime", default=os.environ.get("CAISSON", "caisson"))
    parser.add_argument("-l", "--list", action="store_true", help="print the cases, with their deliberate differences")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what the runtimes said, also when they agree")
    parser.add_argument("names", nargs="*", help="cases (all); a name's beginning with * at the end")
    options = parser.parse_args()
    wanted = [c for c in CASES if not options.names or
              any(c.name == n or (n.endswith("*") and c.name.startswith(n[:-1])) for n in options.names)]
    if options.list:
        for case in wanted:
            print(case.name + (f": {', '.join(case.differs)} differ: {case.why}" if case.differs else ""))
        return 0
    own_mounts()
    programs = [shutil.which(p) for p in (options.reference, options.runtime)]
    if None in programs:
        parser.error(f"there is no {(options.reference, options.runtime)[programs.index(None)]}")
    count = {"passed": 0, "failed": 0, "skipped": 0}
    print(f"1..{len(wanted)}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o755)
        runners = [Runner(program, work) for program in programs]
        for number, case in enumerate(wanted, 1):
            if case.needs and subprocess.run(["sh", "-c", case.needs], capture_output=True, check=False).returncode != 0:
                count["skipped"] += 1
                print(f"ok {number} - {case.name} # SKIP host: not here: {case.needs}", flush=True)
                continue
            results = [runner.run(case) for runner in runners]
            wrong = judge(case, *results)
            count["failed" if wrong else "passed"] += 1
            print(f"{'not ok' if wrong else 'ok'} {number} - {case.name}" + (f" (differs: {case.why})" if case.differs else ""))
            for line in wrong:
                print(f"# {line}")
            if options.verbose and not wrong:
                for result in results:
                    print(f"# {result.fields()} {result.text!r}")
            sys.stdout.flush()
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**count))
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
