#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# unix.py - the host's side of a Unix socket
#
#   unix.py stream PATH      send back what each connection says; to stdout: "UID GID" of each
#   unix.py datagram PATH    to stdout: "UID GID" and what it says, of each datagram
#   unix.py connect PATH     copy stdin there, and what comes back to stdout
import os, socket, struct, sys, threading

what, path = sys.argv[1:3]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if what == 'datagram' else socket.SOCK_STREAM)

def echo(c):
    with c:
        pid, uid, gid = struct.unpack('3i', c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        print(uid, gid, flush=True)
        while data := c.recv(65536):
            c.sendall(data)

if what == 'connect':
    s.connect(path)
    s.settimeout(120)
    s.sendall(sys.stdin.buffer.read())
    s.shutdown(socket.SHUT_WR)
    while data := s.recv(65536):
        sys.stdout.buffer.write(data)
    sys.exit()
if os.path.exists(path):
    os.unlink(path)
s.bind(path)
os.chmod(path, 0o666)
if what == 'datagram':
    s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    while True:
        data, (control, *_), _, _ = s.recvmsg(65536, 64)
        print(*struct.unpack('3i', control[2])[1:], data.decode(), flush=True)
s.listen(64)
while True:
    threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()
