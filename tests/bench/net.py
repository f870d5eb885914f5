#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The network device beside QEMU's virtio-net, in one run, interleaved: by a thread of the vmm, and by vhost-net.

net.py TOP ROUNDS

The same kernel with the same memory and one vCPU, the same program in the guest (tests/tools/net_init.c), the same tap set up by the
same peer on the host (tests/tools/net_boot.c), the same offloads. The guest measures: a stream up, a stream down, and requests of one
byte that the host answers. Both ends check every byte. Ratios are what counts; above 1 is better for caisson in all of them."""
import os
import re
import statistics
import subprocess
import sys
import tempfile

MEMORY_MIB = 256
BYTES, REQUESTS = 24 << 20, 400
LIMIT_S = 300
FIGURES = ("up", "down", "request")


def measure(command):
    """The three figures of one boot; KiB/s, KiB/s, us."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S)
    found = {name: re.search(rf"net: {name} (\d+)", done.stdout) for name in FIGURES}
    if done.returncode != 0 or not all(found.values()):
        raise SystemExit(f"{command}: {done.returncode}\n{done.stdout}")
    return {name: int(match[1]) for name, match in found.items()}


def ours(top, initramfs, vhost):
    return measure([f"{top}/build/release/tests/net_boot", "-k", f"{top}/build/kernel/vmlinux", "-i", initramfs, "-t", str(LIMIT_S),
                    "-b", str(BYTES), "-q", str(REQUESTS)] + (["-v"] if vhost else []))


def qemu(top, initramfs, vhost):
    return measure([
        f"{top}/build/release/tests/net_boot", "-i", initramfs, "-k", "/dev/null", "-t", str(LIMIT_S)] + (["-v"] if vhost else []) + [
        "--", "qemu-system-x86_64", "-M", "microvm,acpi=off,pit=on,pic=on,rtc=off,isa-serial=off", "-accel", "kvm", "-cpu", "host",
        "-smp", "1", "-m", f"{MEMORY_MIB}M", "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot",
        "-global", "virtio-mmio.force-legacy=false",
        "-device", "virtio-serial-device", "-chardev", "stdio,id=out,signal=off", "-device", "virtconsole,chardev=out",
        "-netdev", "tap,id=net,fd=TAP_FD" + (",vhost=on,vhostfd=VHOST_FD" if vhost else ""),
        "-device", "virtio-net-device,netdev=net,mac=02:ca:15:50:00:09",
        "-kernel", f"{top}/build/kernel/vmlinux", "-initrd", initramfs, "-append",
        f"quiet console=hvc0 reboot=k panic=-1 tsc=reliable no_timer_check net_device=eth0 net_bytes={BYTES} net_requests={REQUESTS}"])


def ratio(name, our, their):
    """Above 1: caisson is ahead."""
    return our / their if name != "request" else their / our


def compare(top, initramfs, vhost, rounds):
    pairs = []
    for i in range(rounds):
        pairs.append((ours(top, initramfs, vhost), qemu(top, initramfs, vhost)))
        print(f"# {i + 1}/{rounds}: " + ", ".join(f"{n} {ratio(n, pairs[-1][0][n], pairs[-1][1][n]):.2f}" for n in FIGURES),
              file=sys.stderr, flush=True)
    for name in FIGURES:
        our, their = (statistics.median(pair[i][name] for pair in pairs) for i in (0, 1))
        spread = sorted(ratio(name, pair[0][name], pair[1][name]) for pair in pairs)
        unit = "us" if name == "request" else "KiB/s"
        print(f"net {name}, vhost {'on' if vhost else 'off'}, {rounds} each, interleaved: ahead of QEMU by a factor of "
              f"{ratio(name, our, their):.2f} (medians {our:.0f} and {their:.0f} {unit}; single rounds {spread[0]:.2f}-{spread[-1]:.2f})",
              flush=True)


def main():
    top, rounds = sys.argv[1], int(sys.argv[2])
    subprocess.run(["modprobe", "-qa", "tun", "vhost_net"], check=False)
    with tempfile.TemporaryDirectory() as directory:
        initramfs = os.path.join(directory, "initramfs")
        subprocess.run([f"{top}/guest/initramfs.sh", f"{top}/build/release/tests/net_init", initramfs], check=True)
        compare(top, initramfs, False, rounds)
        if os.path.exists("/dev/vhost-net"):
            compare(top, initramfs, True, rounds)


if __name__ == "__main__":
    main()
