#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# dns.py - what a container engine's resolver looks like from outside: 127.0.0.11:53, UDP and TCP
#
#   dns.py NETNS [--nat]
#   dns.py outside ADDRESS...    a server that such a resolver asks
#
# Queries for names that begin with "outside" are forwarded, from sockets in the namespace, to 10.209.7.1, "outside6" to fd00:209::1, and
# "outsidetcp" by TCP. The server there says 10.66.0.1 to everything.
# As an engine does, only the sockets are made in the namespace, the process lives outside. Every name has the address 10.9.8.7, what begins with "echo" comes back; a
# TCP connection gets back what it sends. With --nat the sockets are on a free port, as Docker's are; the ports are printed.
import ctypes, os, socket, sys, threading

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None)

def forward(q, name):
    family = socket.AF_INET6 if name.startswith(b'outside6') else socket.AF_INET
    tcp = name.startswith(b'outsidetcp')
    assert libc.setns(netns, CLONE_NEWNET) == 0
    s = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    assert libc.setns(own, CLONE_NEWNET) == 0
    with s:
        s.settimeout(20)
        s.connect(('fd00:209::1' if family == socket.AF_INET6 else '10.209.7.1', 53))
        s.sendall(len(q).to_bytes(2, 'big') + q if tcp else q)
        a = s.recv(65535)
        return a[2:] if tcp else a

def answer(q, address=b'\x0a\x09\x08\x07'):
    if q.startswith(b'echo'):
        return q
    if address[1] == 9 and q[13:].startswith(b'outside'):
        return forward(q, q[13:])
    end = 12
    while q[end]:
        end += q[end] + 1
    end += 5
    kind = int.from_bytes(q[end - 4:end - 2], 'big')
    a = b'\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4' + address if kind == 1 else b''
    return q[:2] + b'\x81\x80\0\1' + bytes([0, 1 if a else 0]) + b'\0\0\0\0' + q[12:end] + a

def echo(c):
    with c:
        while data := c.recv(65536):
            c.sendall(data)

def tcp(s):
    while True:
        threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()

def serve_udp(u, address):
    while True:
        q, peer = u.recvfrom(65535)
        try:
            u.sendto(answer(q, address), peer)
        except OSError as e:
            print(e, file=sys.stderr, flush=True)

def outside(addresses):
    ours = b'\x0a\x42\0\1'
    for a in addresses:
        family = socket.AF_INET6 if ':' in a else socket.AF_INET
        u = socket.socket(family, socket.SOCK_DGRAM)
        u.bind((a, 53))
        threading.Thread(target=serve_udp, args=(u, ours), daemon=True).start()
    t = socket.create_server((addresses[0], 53))
    print('53', flush=True)
    while True:
        c, _ = t.accept()
        with c:
            a = answer(c.recv(65535)[2:], ours)
            c.sendall(len(a).to_bytes(2, 'big') + a)

if sys.argv[1] == 'outside':
    outside(sys.argv[2:])
own = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
netns = os.open(sys.argv[1], os.O_RDONLY)
assert libc.setns(netns, CLONE_NEWNET) == 0
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
serve_udp(u, b'\x0a\x09\x08\x07')
