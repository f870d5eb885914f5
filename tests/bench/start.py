#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Start-up time and memory of Caisson beside QEMU's microvm with virtiofsd, in one run, interleaved.

start.py CAISSON FIRST KERNEL ROUNDS

Both boot the same kernel with the same memory and vCPUs to the same static program in the same root directory, shared by
virtio-fs. What is timed: from the exec of the first process to the first byte that the program writes. Ratios are what counts."""
import json
import os
import re
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MEMORY_MIB = 512
LIMIT_S = 120
VIRTIOFSD = next((p for p in ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd") if os.path.exists(p)), None)


def until_first(fd):
    """Read until the program's line; raises when it does not come."""
    seen, end = b"", time.monotonic() + LIMIT_S
    while b"first" not in seen:
        if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
            raise SystemExit(f"no first line within {LIMIT_S} s: {seen!r}")
        data = os.read(fd, 4096)
        if not data:
            raise SystemExit(f"ended before its first line: {seen!r}")
        seen += data


def make_bundle(caisson, first, directory):
    root = os.path.join(directory, "rootfs")
    for name in ("bin", "dev", "proc", "sys"):
        os.makedirs(os.path.join(root, name))
    shutil.copy(first, os.path.join(root, "bin/first"))
    subprocess.run([caisson, "spec", "--bundle", directory], check=True)
    path = os.path.join(directory, "config.json")
    config = json.load(open(path))
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/first", "end"]
    config["vm"] = {"hwConfig": {"vcpus": 1, "memory": MEMORY_MIB << 20}}
    json.dump(config, open(path, "w"))
    return root


def time_caisson(caisson, directory, state):
    start = time.monotonic()
    with subprocess.Popen([caisson, "--root", state, "run", "--bundle", directory, "bench"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        until_first(process.stdout.fileno())
        took = time.monotonic() - start
        if process.wait() != 0:
            raise SystemExit(f"caisson run: {process.returncode}")
    return took


def time_qemu(kernel, root, directory):
    sock = os.path.join(directory, "fs.sock")
    start = time.monotonic()
    fs = subprocess.Popen([VIRTIOFSD, f"--socket-path={sock}", "-o", f"source={root}", "-o", "cache=auto", "-o", "log_level=err"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(sock):
        time.sleep(0.001)
    qemu = subprocess.Popen([
        "qemu-system-x86_64", "-M", "microvm,acpi=off,pit=on,pic=on,rtc=off,isa-serial=off,memory-backend=ram",
        "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", f"{MEMORY_MIB}M",
        "-object", f"memory-backend-memfd,id=ram,size={MEMORY_MIB}M,share=on",
        "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
        "-global", "virtio-mmio.force-legacy=false",
        "-chardev", f"socket,id=fs,path={sock}", "-device", "vhost-user-fs-device,chardev=fs,tag=root,queue-size=1024",
        "-device", "virtio-serial-device", "-chardev", "stdio,id=out,signal=off", "-device", "virtconsole,chardev=out",
        "-kernel", kernel, "-append",
        "quiet console=hvc0 rootfstype=virtiofs root=root rw init=/bin/first reboot=k panic=-1 tsc=reliable no_timer_check "
        "random.trust_cpu=on rcupdate.rcu_expedited=1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        until_first(qemu.stdout.fileno())
        return time.monotonic() - start
    finally:
        qemu.kill()
        qemu.wait()
        fs.kill()
        fs.wait()
        if os.path.exists(sock):
            os.unlink(sock)


def pss_without_ram(pid):
    """PSS in KiB of a process without mappings that make up one guest's RAM (a contiguous run of MEMORY_MIB)."""
    areas, area = [], None
    for line in open(f"/proc/{pid}/smaps"):
        match = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if match:
            area = [int(match[1], 16), int(match[2], 16), 0]
            areas.append(area)
        elif line.startswith("Pss:"):
            area[2] = int(line.split()[1])
    total, run = 0, []

    def close(run):
        ram = sum(b - a for a, b, _ in run) >= MEMORY_MIB << 20
        return 0 if ram else sum(p for _, _, p in run)

    for a in areas:
        if run and run[-1][1] != a[0]:
            total += close(run)
            run = []
        run.append(a)
    return total + close(run)


def memory_of_caisson(caisson, directory, state):
    path = os.path.join(directory, "config.json")
    config = json.load(open(path))
    config["process"]["args"] = ["/bin/first"]
    json.dump(config, open(path, "w"))
    with subprocess.Popen([caisson, "--root", state, "run", "--bundle", directory, "bench"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        until_first(process.stdout.fileno())
        monitor = json.loads(subprocess.run([caisson, "--root", state, "state", "bench"], stdout=subprocess.PIPE,
                                            check=True).stdout)["pid"]
        vmm = int(subprocess.run(["pgrep", "-P", str(monitor)], stdout=subprocess.PIPE, check=True).stdout.split()[0])
        figures = pss_without_ram(monitor), pss_without_ram(vmm)
        subprocess.run([caisson, "--root", state, "delete", "--force", "bench"], check=True)
    return figures


def main():
    caisson, first, kernel, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    if not VIRTIOFSD:
        raise SystemExit("no virtiofsd: install qemu-system-common or virtiofsd")
    with tempfile.TemporaryDirectory() as directory:
        state = os.path.join(directory, "state")
        root = make_bundle(caisson, first, directory)
        time_caisson(caisson, directory, state)         # both once before, for the page cache
        time_qemu(kernel, root, directory)
        ours, theirs = [], []
        for i in range(rounds):
            ours.append(time_caisson(caisson, directory, state))
            theirs.append(time_qemu(kernel, root, directory))
            print(f"# {i + 1}/{rounds}: {ours[-1] / theirs[-1]:.2f}", file=sys.stderr, flush=True)
        monitor, vmm = memory_of_caisson(caisson, directory, state)
    a, b = statistics.median(ours), statistics.median(theirs)
    spread = [statistics.quantiles(x, n=10) for x in (ours, theirs)]
    print(f"start, exec to first instruction, {rounds} each, interleaved: caisson / QEMU microvm + virtiofsd = {a / b:.2f}"
          f" (medians {a * 1000:.0f} ms and {b * 1000:.0f} ms; p10-p90 {spread[0][0] * 1000:.0f}-{spread[0][-1] * 1000:.0f}"
          f" and {spread[1][0] * 1000:.0f}-{spread[1][-1] * 1000:.0f})")
    print(f"memory without guest RAM (PSS): monitor {monitor} KiB + vmm {vmm} KiB = {(monitor + vmm) / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
