#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# dns.py - what a container engine's resolver looks like from outside: 127.0.0.11:53, UDP and TCP
#
#   dns.py NETNS [--nat]
#
# As an engine does, only the sockets are made in the namespace, the process lives outside. Every name has the address 10.9.8.7, what begins with "echo" comes back; a
# TCP connection gets back what it sends. With --nat the sockets are on a free port, as Docker's are; the ports are printed.
import ctypes, os, socket, sys, threading

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None)

def answer(q):
    if q.startswith(b'echo'):
        return q
    end = 12
    while q[end]:
        end += q[end] + 1
    end += 5
    kind = int.from_bytes(q[end - 4:end - 2], 'big')
    a = b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\x09\x08\x07' if kind == 1 else b''
    return q[:2] + b'\x81\x80\0\1' + bytes([0, 1 if a else 0]) + b'\0\0\0\0' + q[12:end] + a

def echo(c):
    with c:
        while data := c.recv(65536):
            c.sendall(data)

def tcp(s):
    while True:
        threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()

own = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
assert libc.setns(os.open(sys.argv[1], os.O_RDONLY), CLONE_NEWNET) == 0
port = 0 if '--nat' in sys.argv else 53
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('127.0.0.11', port))
t = socket.socket()
t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
t.bind(('127.0.0.11', port or 0))
t.listen()
assert libc.setns(own, CLONE_NEWNET) == 0
threading.Thread(target=tcp, args=(t,), daemon=True).start()
print(u.getsockname()[1], t.getsockname()[1], flush=True)
while True:
    q, peer = u.recvfrom(65535)
    u.sendto(answer(q), peer)
