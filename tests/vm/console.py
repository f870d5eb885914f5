#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An engine's side of --console-socket: console.py SOCKET COMMAND... takes the pty master and talks to the container.

As containerd's shim does, the connection is accepted only after the command has exited."""
import array
import os
import select
import socket
import subprocess
import sys
import time

path, command = sys.argv[1], sys.argv[2:]
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind(path)
server.listen(1)
status = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
if status:
    raise SystemExit(f"exit status {status}")
server.settimeout(60)
conn, _ = server.accept()
name, ancillary, _, _ = conn.recvmsg(4096, socket.CMSG_SPACE(64))
fds = array.array("i")
for level, kind, data in ancillary:
    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
        fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
if not name or len(fds) != 1 or not os.isatty(fds[0]):
    raise SystemExit(f"no terminal: {name!r} {fds}")
if conn.recv(1):
    raise SystemExit("more than one message")
master = fds[0]
os.write(master, b"hello\n")
seen = b""
end = time.monotonic() + 120
while b"got hello" not in seen and time.monotonic() < end:
    if select.select([master], [], [], 1)[0]:
        try:
            seen += os.read(master, 65536)
        except OSError:
            break
print(seen.decode())
os.close(master)
