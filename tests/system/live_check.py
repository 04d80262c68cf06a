#!/usr/bin/env python3
"""What a userspace WireGuard does on the wire, asked case by case with the Python peer; see test_live.py.

    unshare -n /usr/bin/python3 live_check.py [--slow] [--impl wireguard-go] [CASE...]

Must run as root in a network namespace of its own (unshare -n): it brings lo
up, starts the implementation with a unique interface name and kills only that
child.  The implementation must accept `IMPL -f IFNAME`, create a TUN device of
that name and serve the UNIX configuration socket that `wg` uses.

Every case prints PASS or FAIL; the exit status is the number of failures.
--slow adds the cases that wait for protocol timers (about 70 s in all),
--very-slow those that wait for key expiry (about 6 minutes more).
"""
import argparse
import base64
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import pywg
from pywg import Endpoint, KeyPair, WgError

IFNAME = "wgpy%d" % (os.getpid() % 100000)
GW4, ME4, OTHER4 = "10.77.0.1", "10.77.0.2", "10.77.0.3"
GW6, ME6 = "fd77::1", "fd77::2"
PORT, MYPORT = 51777, 40001


def sh(*args, check=True, inp=None):
    r = subprocess.run(args, input=inp, capture_output=True, text=True)
    if check and r.returncode:
        raise RuntimeError("%s: %s" % (" ".join(args), r.stderr.strip()))
    return r.stdout


def b64(b):
    return base64.b64encode(b).decode()


class Udp:
    def __init__(self, family=socket.AF_INET, port=MYPORT, host=None):
        self.s = socket.socket(family, socket.SOCK_DGRAM)
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.host = host or ("127.0.0.1" if family == socket.AF_INET else "::1")
        self.s.bind((self.host, port))
        self.dst = ("127.0.0.1" if family == socket.AF_INET else "::1", PORT)

    def send(self, m):
        self.s.sendto(m, self.dst)

    def recv(self, timeout=1.0, want=None):
        """Next datagram (of type `want` if given), or None."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.s.settimeout(left)
            try:
                m = self.s.recv(65535)
            except socket.timeout:
                return None
            if want is None or pywg.message_type(m) == want:
                return m

    def drain(self):
        self.s.setblocking(False)
        n = 0
        try:
            while True:
                self.s.recv(65535)
                n += 1
        except BlockingIOError:
            return n


class Rig:
    def __init__(self, impl):
        self.gw = KeyPair.generate()
        sh("ip", "link", "set", "lo", "up")
        env = dict(os.environ, LOG_LEVEL="silent", WG_PROCESS_FOREGROUND="1")
        self.child = subprocess.Popen([impl, "-f", IFNAME], env=env,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            if subprocess.run(["wg", "show", IFNAME], capture_output=True).returncode == 0:
                break
            time.sleep(0.05)
        self.set("listen-port", str(PORT), "private-key", "/dev/stdin", inp=b64(self.gw.private))
        sh("ip", "address", "add", GW4 + "/24", "dev", IFNAME)
        sh("ip", "-6", "address", "add", GW6 + "/64", "dev", IFNAME, "nodad")
        sh("ip", "link", "set", IFNAME, "mtu", "1420", "up")

    def set(self, *a, inp=None):
        sh("wg", "set", IFNAME, *a, inp=inp)

    def peer(self, psk=pywg.ZERO32, endpoint=None, allowed=(ME4 + "/32", ME6 + "/128"), keepalive=0):
        """A fresh peer with fresh keys; all other peers are removed."""
        for p in sh("wg", "show", IFNAME, "peers").split():
            self.set("peer", p, "remove")
        me = KeyPair.generate()
        a = ["peer", b64(me.public), "allowed-ips", ",".join(allowed),
             "persistent-keepalive", str(keepalive)]
        if endpoint:
            a += ["endpoint", endpoint]
        if psk != pywg.ZERO32:
            a += ["preshared-key", "/dev/stdin"]
        self.set(*a, inp=b64(psk) if psk != pywg.ZERO32 else None)
        return Endpoint(me, self.gw.public, psk)

    def endpoint_of(self, ep):
        for line in sh("wg", "show", IFNAME, "endpoints").splitlines():
            k, e = line.split("\t")
            if k == b64(ep.static.public):
                return e

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(10)


class Fail(Exception):
    pass


def need(cond, what):
    if not cond:
        raise Fail(what)


def echo4(seq, src=ME4, n=56, **kw):
    return pywg.ipv4(src, GW4, 1, pywg.icmp_echo(0x5157, seq, bytes(k & 0xFF for k in range(n))), **kw)


def handshake(u, ep, confirm=True, **kw):
    u.send(ep.make_initiation(**kw))
    m = u.recv(want=pywg.RESPONSE)
    need(m, "no handshake response")
    ep.consume_response(m)
    if confirm:
        u.send(ep.session.keepalive())
    return m


def ping(u, ep, seq, timeout=1.0, **kw):
    """Sends an echo request through the tunnel; returns the plaintext of the
    reply with its padding, or None."""
    end = time.monotonic() + timeout
    u.send(ep.session.encrypt(echo4(seq, **kw), mtu=1420))
    while time.monotonic() < end:
        m = u.recv(end - time.monotonic(), want=pywg.DATA)
        if m is None:
            return None
        if struct.unpack_from("<I", m, 4)[0] != ep.session.local_index:
            # Another thread takes the confirmed session into use: an answer may still leave under the one before.
            # From soon on none may.
            u.send(ep.session.encrypt(echo4(seq, **kw), mtu=1420))
            continue
        p = ep.session.decrypt(m)
        inner = pywg.inner_packet(p)
        if len(inner) >= 28 and inner[9] == 1 and inner[20] == 0 and struct.unpack_from(">H", inner, 26)[0] == seq:
            return p
    return None


CASES = []


def case(slow=0):
    def deco(f):
        CASES.append((f.__name__[2:], f, slow))
        return f
    return deco


@case()
def t_initiator_v4_outer(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    for n in (0, 1, 56, 1000, 1392):
        p = ping(u, ep, n + 1, n=n)
        need(p is not None, "no echo reply for %d data bytes" % n)
        need(len(p) == pywg.padded_length(28 + n, 1420), "padding of %d is %d" % (28 + n, len(p)))


@case()
def t_initiator_v6_outer_and_inner(rig):
    u, ep = Udp(socket.AF_INET6), rig.peer()
    handshake(u, ep)
    u.send(ep.session.encrypt(pywg.ipv6(ME6, GW6, 58, pywg.icmp6_echo(ME6, GW6, 7, 9, b"abc"))))
    for _ in range(5):
        m = u.recv(want=pywg.DATA)
        need(m, "no ICMPv6 reply")
        i = pywg.inner_packet(ep.session.decrypt(m))
        if len(i) > 40 and i[0] >> 4 == 6 and i[40] == 129:
            return
    raise Fail("no echo reply among the answers")


@case()
def t_initiator_with_psk(rig):
    u, ep = Udp(), rig.peer(psk=os.urandom(32))
    handshake(u, ep)
    need(ping(u, ep, 1), "no reply")


@case()
def t_wrong_psk_response_fails_to_open(rig):
    u, ep = Udp(), rig.peer(psk=os.urandom(32))
    ep.psk = os.urandom(32)
    u.send(ep.make_initiation())
    m = u.recv(want=pywg.RESPONSE)
    need(m, "responder must answer: msg1 does not involve the psk")
    try:
        ep.consume_response(m)
    except WgError as e:
        return need(e.reason == "auth", e.reason)
    raise Fail("opened with the wrong psk")


@case()
def t_responder_direction(rig):
    """The implementation initiates because the kernel sends into the tunnel."""
    for fam, host, psk in ((socket.AF_INET, "127.0.0.1:%d", pywg.ZERO32),
                           (socket.AF_INET6, "[::1]:%d", os.urandom(32))):
        u = Udp(fam)
        ep = rig.peer(psk=psk, endpoint=host % MYPORT)
        p = subprocess.Popen(["ping", "-c", "1", "-W", "3", ME4], stdout=subprocess.DEVNULL)
        m = u.recv(3, want=pywg.INITIATION)
        need(m, "no initiation")
        ts = ep.consume_initiation(m)
        ns = struct.unpack(">I", ts[8:])[0]
        need(ns % pywg.TIMESTAMP_WHITEN_NS == 0, "timestamp not whitened: %d" % ns)
        need(m[-16:] == bytes(16), "mac2 must be zero without a cookie")
        u.send(ep.make_response())
        m = u.recv(want=pywg.DATA)
        need(m, "no data after the response")
        plain = ep.session.decrypt(m)
        need(m[8:16] == bytes(8), "first counter is not 0")
        i = pywg.inner_packet(plain)
        need(i[9] == 1 and i[20] == 8, "expected the staged echo request")
        ident, seq = struct.unpack_from(">HH", i, 24)
        u.send(ep.session.encrypt(pywg.ipv4(ME4, GW4, 1, pywg.icmp_echo(ident, seq, i[28:], reply=True))))
        need(p.wait(5) == 0, "ping did not get its reply")
        u.s.close()


@case()
def t_responder_sends_nothing_before_confirmation(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep, confirm=False)
    p = subprocess.Popen(["ping", "-c", "1", "-W", "1", ME4], stdout=subprocess.DEVNULL)
    m = u.recv(0.7, want=pywg.DATA)
    need(m is None, "data was sent under an unconfirmed key")
    u.send(ep.session.keepalive())
    m = u.recv(1, want=pywg.DATA)
    need(m, "the staged packet was not released by the confirming packet")
    p.wait(5)


@case()
def t_keepalive_confirms_initiator_session(rig):
    """When it initiates with nothing staged (persistent keepalive switched on),
    the first data message is an empty one with counter 0."""
    u = Udp()
    ep = rig.peer(endpoint="127.0.0.1:%d" % MYPORT, keepalive=25)
    ep.consume_initiation(u.recv(3, want=pywg.INITIATION))
    u.send(ep.make_response())
    m = u.recv(1, want=pywg.DATA)
    need(m and len(m) == 32 and ep.session.decrypt(m) == b"", "no empty confirming packet")


@case()
def t_replayed_initiation(rig):
    u, ep = Udp(), rig.peer()
    m1 = ep.make_initiation()
    u.send(m1)
    need(u.recv(want=pywg.RESPONSE), "no response to the first")
    time.sleep(0.05)
    u.send(m1)
    need(u.recv(0.4, want=pywg.RESPONSE) is None, "replay answered")
    u.send(ep.make_initiation(timestamp=pywg.tai64n(1)))
    need(u.recv(0.4, want=pywg.RESPONSE) is None, "older timestamp answered")


@case()
def t_initiation_rate_20ms(rig):
    def responses_to_two():
        u, ep = Udp(), rig.peer()
        now = int(time.time())
        u.send(ep.make_initiation(timestamp=pywg.tai64n(now)))
        u.send(ep.make_initiation(timestamp=pywg.tai64n(now + 1)))
        n = 0
        while u.recv(0.4, want=pywg.RESPONSE):
            n += 1
        time.sleep(0.05)
        u.send(ep.make_initiation(timestamp=pywg.tai64n(now + 2)))
        need(u.recv(want=pywg.RESPONSE), "later one not answered")
        u.s.close()
        return n
    # On a busy machine more than 20 ms may lie between the two when they are looked at.
    need(any(responses_to_two() == 1 for _ in range(4)), "of two initiations within 20 ms never exactly one is answered")


@case()
def t_replayed_data(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    m = ep.session.encrypt(echo4(1))
    u.send(m)
    need(u.recv(want=pywg.DATA), "no reply")
    u.drain()
    u.send(m)
    need(u.recv(0.4, want=pywg.DATA) is None, "replayed data answered")


@case()
def t_counter_window(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep, confirm=False)
    W = pywg.WINDOW

    def shot(counter):
        u.drain()
        u.send(ep.session.encrypt(echo4(counter & 0x7FFF), counter=counter))
        return u.recv(0.3, want=pywg.DATA) is not None
    for counter, ok in ((0, True), (0, False), (W + 100, True), (100, True), (100, False), (99, False),
                        (W + 99, True), ((1 << 64) - 1, False),
                        (pywg.REJECT_AFTER_MESSAGES_KERNEL64, False),
                        (pywg.REJECT_AFTER_MESSAGES_PAPER - 1, True),
                        (pywg.REJECT_AFTER_MESSAGES_PAPER - 1 - W, True),
                        (pywg.REJECT_AFTER_MESSAGES_PAPER - 2 - W, False),
                        (pywg.REJECT_AFTER_MESSAGES_PAPER - 1, False)):
        need(shot(counter) == ok, "counter %d: expected %s" % (counter, ok))


@case()
def t_malformed_are_silent(rig):
    """Every truncation, one byte too many, reserved bytes, types, bad macs."""
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    need(ping(u, ep, 1), "sanity")
    now, k = int(time.time()) + 100, 0
    bad = []
    for n in range(148):
        bad.append(ep.make_initiation(sender_index=1, timestamp=pywg.tai64n(now))[:n])
    good = ep.make_initiation(sender_index=1, timestamp=pywg.tai64n(now))
    bad += [good + b"\0", b"\x05" + good[1:], b"\0" + good[1:], b"\x02" + good[1:]]
    for i in (1, 2, 3):
        r = bytearray(3)
        r[i - 1] = 1
        bad.append(ep.make_initiation(reserved=bytes(r), timestamp=pywg.tai64n(now)))
        bad.append(ep.session.encrypt(echo4(7), reserved=bytes(r)))
    for pos in range(0, 148 - 16):
        x = bytearray(good)
        x[pos] ^= 0x80
        bad.append(bytes(x))
        if 8 <= pos < 116:               # same flip under a correct mac1
            bad.append(pywg.finish_macs(bytes(x[:116]), rig.gw.public))
    bad.append(ep.make_initiation(mac1_for=KeyPair.generate().public, timestamp=pywg.tai64n(now)))
    bad.append(ep.make_initiation(static=KeyPair.generate(), timestamp=pywg.tai64n(now)))
    for p in pywg.LOW_ORDER_POINTS:
        bad.append(ep.make_initiation(ephemeral_public=p, timestamp=pywg.tai64n(now)))
    full = ep.session.encrypt(echo4(8))
    for n in range(len(full)):
        bad.append(full[:n])
    bad += [full + b"\0", ep.session.encrypt(echo4(9), index=ep.session.remote_index ^ 1),
            ep.session.encrypt(echo4(9), key=bytes(32))]
    u.drain()
    for m in bad:
        u.send(m)
        k += 1
        if k % 64 == 0:
            time.sleep(0.02)
    time.sleep(0.3)
    m = u.recv(0.1)
    need(m is None, "something was answered: %s" % (m or b"").hex()[:40])
    need(ping(u, ep, 2), "the session must have survived")


@case()
def t_vector_file_malformed(rig):
    """vectors/malformed.json, each against a freshly configured peer."""
    here = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "vectors", "malformed.json")
    with open(here) as f:
        mal = json.load(f)
    h = bytes.fromhex
    rig.set("private-key", "/dev/stdin", inp=b64(h(mal["responder_static_private"])))
    u, peer, answered = Udp(), b64(h(mal["configured_peer_public"])), 0
    try:
        for v in mal["vectors"]:
            rig.set("peer", peer, "remove")          # forget the timestamp
            rig.set("peer", peer, "preshared-key", "/dev/stdin", inp=b64(h(mal["preshared_key"])))
            u.send(h(v["message"]))
            m = u.recv(0.15 if v["dropped_at"] else 1.0)
            need((m is not None) == (v["dropped_at"] == ""), "%s: %s" % (v["id"], "answered" if m else "not answered"))
            if m:
                answered += 1
                need(pywg.message_type(m) == pywg.RESPONSE and m[8:12] == h(v["message"])[4:8], v["id"])
    finally:
        rig.set("peer", peer, "remove")
        rig.set("private-key", "/dev/stdin", inp=b64(rig.gw.private))
    rig.note = "%d datagrams, %d answered" % (len(mal["vectors"]), answered)


@case()
def t_mac2_garbage_ignored_without_load(rig):
    u, ep = Udp(), rig.peer()
    m = ep.make_initiation(cookie=os.urandom(16))
    u.send(m)
    need(u.recv(want=pywg.RESPONSE), "mac2 must not matter when not under load")


@case()
def t_inner_checks(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    need(ping(u, ep, 1), "sanity")

    def silent(inner, what, **kw):
        u.drain()
        u.send(ep.session.encrypt(inner, **kw))
        need(u.recv(0.25, want=pywg.DATA) is None, what)
    silent(echo4(2, src=OTHER4), "source outside allowed ips was answered")
    e = echo4(3)
    silent(pywg.ipv4(ME4, GW4, 1, pywg.icmp_echo(1, 3, b"x" * 56), total_length=len(e) + 64), "total_length > actual", pad=False)
    silent(pywg.ipv4(ME4, GW4, 1, pywg.icmp_echo(1, 3, b"x" * 56), total_length=19), "total_length < 20")
    silent(pywg.ipv4(ME4, GW4, 1, pywg.icmp_echo(1, 3, b"x" * 56), version=5), "version 5")
    silent(b"\x45" + bytes(18), "19 bytes", pad=False)
    silent(b"\x60" + bytes(38), "39 bytes of IPv6", pad=False)
    need(ping(u, ep, 4), "the session must have survived")
    # padding that is not a multiple of 16, and far too much of it, is accepted
    for seq, pad in ((5, False), (6, 1), (7, 7), (8, 500)):
        u.drain()
        u.send(ep.session.encrypt(echo4(seq), pad=pad))
        m = u.recv(want=pywg.DATA)
        need(m and len(pywg.inner_packet(ep.session.decrypt(m))) == len(echo4(seq)), "padding %r" % pad)


@case()
def t_roaming(rig):
    u1, u2, ep = Udp(), Udp(port=MYPORT + 1), rig.peer()
    handshake(u1, ep)
    need(ping(u1, ep, 1), "sanity")
    need(rig.endpoint_of(ep) == "127.0.0.1:%d" % MYPORT, "endpoint after handshake")
    old = ep.session.encrypt(echo4(2))
    u1.send(old)
    time.sleep(0.1)
    u1.drain()
    bad = bytearray(ep.session.encrypt(echo4(3)))
    bad[20] ^= 1
    u2.send(bytes(bad))
    u2.send(old)
    time.sleep(0.2)
    need(rig.endpoint_of(ep) == "127.0.0.1:%d" % MYPORT, "roamed on an unauthentic or replayed packet")
    u2.send(ep.session.encrypt(echo4(4, src=OTHER4)))
    time.sleep(0.2)
    need(rig.endpoint_of(ep) == "127.0.0.1:%d" % (MYPORT + 1), "authentic packet with foreign inner source does roam")
    need(ping(u1, ep, 5), "reply must come to the first socket again")
    u2.send(ep.session.keepalive())
    time.sleep(0.2)
    need(rig.endpoint_of(ep) == "127.0.0.1:%d" % (MYPORT + 1), "a keepalive roams too")


@case()
def t_new_handshake_keeps_previous_key_for_receiving(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    need(ping(u, ep, 1), "sanity")
    first = ep.session
    time.sleep(0.05)
    handshake(u, ep)
    need(ping(u, ep, 2), "new session")
    u.drain()
    u.send(first.encrypt(echo4(3)))
    m = u.recv(want=pywg.DATA)
    need(m, "previous keypair must still be accepted for receiving")
    need(struct.unpack_from("<I", m, 4)[0] == ep.session.local_index, "reply uses the current keypair")
    time.sleep(0.05)
    second = ep.session
    handshake(u, ep)
    need(ping(u, ep, 4), "third session")
    u.drain()
    u.send(first.encrypt(echo4(5)))
    need(u.recv(0.3, want=pywg.DATA) is None, "the keypair before the previous one must be gone")
    u.send(second.encrypt(echo4(6)))
    need(u.recv(0.5, want=pywg.DATA), "second is now the previous one")


@case()
def t_cookie_under_load(rig):
    """Flood with mac1-valid rubbish until a cookie reply comes, then use it."""
    u, ep = Udp(), rig.peer()
    flood = Udp(port=MYPORT + 2)
    junk = [pywg.finish_macs(b"\x01\0\0\0" + struct.pack("<I", i) + os.urandom(108), rig.gw.public)
            for i in range(2000)]
    m = ep.make_initiation()
    end, reply = time.monotonic() + 20, None
    while time.monotonic() < end and reply is None:
        for j in junk:
            flood.send(j)
        u.send(m)
        reply = u.recv(0.5, want=pywg.COOKIE_REPLY)   # a busy machine answers late, and it must answer this one
        if reply is None:
            m = ep.make_initiation()
    need(reply, "no cookie reply while flooding")
    need(len(reply) == 64 and reply[4:8] == m[4:8], "cookie reply shape")
    ep.consume_cookie_reply(reply)
    ep.greatest_timestamp = bytes(12)
    got = None
    for _ in range(10):
        for j in junk:
            flood.send(j)
        time.sleep(0.03)
        u.drain()
        m = ep.make_initiation()
        need(m[-16:] != bytes(16), "mac2 set")
        u.send(m)
        got = u.recv(1.0)
        if got and pywg.message_type(got) == pywg.RESPONSE:
            break
    need(got and pywg.message_type(got) == pywg.RESPONSE, "mac2-bearing initiation not answered by a response")
    ep.consume_response(got)
    n = 0
    while flood.recv(0.2, want=pywg.COOKIE_REPLY):
        n += 1
    need(n > 0, "flooder got no cookie replies")
    time.sleep(1.5)
    rig.note = "%d cookie replies to the flooder" % n


@case()
def t_staged_queue_keeps_the_newest_128(rig):
    u = Udp()
    ep = rig.peer(endpoint="127.0.0.1:%d" % MYPORT)
    src = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for k in range(200):
        src.sendto(struct.pack(">I", k), (ME4, 9))
        time.sleep(0.001)
    ep.consume_initiation(u.recv(3, want=pywg.INITIATION))
    time.sleep(0.2)
    u.send(ep.make_response())
    got = []
    while True:
        m = u.recv(0.5, want=pywg.DATA)
        if m is None:
            break
        i = pywg.inner_packet(ep.session.decrypt(m))
        if len(i) == 32 and i[9] == 17:
            got.append(struct.unpack(">I", i[28:])[0])
    need(got == sorted(got) and got[-1:] == [199], "order or newest packet lost: %s" % got[-3:])
    need(126 <= len(got) <= 129 and got == list(range(200 - len(got), 200)), "%d packets, first %s" % (len(got), got[:1]))
    rig.note = "%d of 200, the newest" % len(got)


@case()
def t_response_errors_do_not_cancel(rig):
    u = Udp()
    ep = rig.peer(endpoint="127.0.0.1:%d" % MYPORT, keepalive=25)
    ep.consume_initiation(u.recv(3, want=pywg.INITIATION))
    good = ep.make_response()
    for pos in (4 + 4, 12, 44, 60):                  # index, ephemeral, tag, mac1
        bad = bytearray(good)
        bad[pos] ^= 1
        u.send(bytes(bad) if pos == 60 else pywg.finish_macs(bytes(bad[:60]), rig.gw.public))
    for p in pywg.LOW_ORDER_POINTS:
        u.send(pywg.finish_macs(good[:12] + p + good[44:60], rig.gw.public))
    need(u.recv(0.4) is None, "a broken response was answered")
    u.send(good)
    m = u.recv(1, want=pywg.DATA)
    need(m and ep.session.decrypt(m) == b"", "the genuine response must still be accepted")
    u.send(good)
    need(u.recv(0.4) is None, "a duplicate response was answered")


@case(slow=1)
def t_keepalive_is_not_answered(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    u.send(ep.session.keepalive())
    u.recv(0.3)                                      # the kernel may send router solicitations
    m = u.recv(11.5, want=pywg.DATA)
    need(m is None or len(m) != 32, "a keepalive was answered by a keepalive")


@case(slow=2)
def t_gives_up_after_20_initiations(rig):
    u = Udp()
    rig.peer(endpoint="127.0.0.1:%d" % MYPORT)
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (ME4, 9))
    times = []
    while True:
        m = u.recv(12, want=pywg.INITIATION)
        if m is None:
            break
        times.append(time.monotonic())
        need(len(times) < 25, "does not give up")
    rig.note = "%d initiations over %.1f s" % (len(times), times[-1] - times[0])
    need(len(times) == 20, rig.note)


@case(slow=2)
def t_last_minute_rekey_on_receive(rig):
    u = Udp()
    ep = rig.peer(endpoint="127.0.0.1:%d" % MYPORT, keepalive=25)
    ep.consume_initiation(u.recv(3, want=pywg.INITIATION))
    u.send(ep.make_response())
    t0 = time.monotonic()
    need(u.recv(1, want=pywg.DATA), "confirmation")
    rig.set("peer", b64(ep.static.public), "persistent-keepalive", "0")
    m = u.recv(t0 + 160 - time.monotonic(), want=pywg.INITIATION)
    need(m is None, "initiation while idle")
    u.send(ep.session.keepalive())
    need(u.recv(0.5, want=pywg.INITIATION) is None, "too early at 160 s")
    time.sleep(max(0, t0 + 166 - time.monotonic()))
    u.send(ep.session.keepalive())
    u.send(ep.session.keepalive())
    need(u.recv(1, want=pywg.INITIATION), "no initiation at 166 s")
    need(u.recv(1, want=pywg.INITIATION) is None, "more than one")


@case(slow=1)
def t_consumes_cookie_reply(rig):
    """It initiates; we answer with a cookie reply; its retry carries mac2."""
    u = Udp()
    ep = rig.peer(endpoint="127.0.0.1:%d" % MYPORT, keepalive=25)
    m = u.recv(3, want=pywg.INITIATION)
    t0 = time.monotonic()
    need(m, "no initiation")
    u.send(ep.checker.make_reply(m, socket.inet_aton("127.0.0.1"), PORT))
    m2 = u.recv(7, want=pywg.INITIATION)
    dt = time.monotonic() - t0
    need(m2, "no retry")
    need(4.9 < dt < 5.6, "retry after %.2f s; a cookie must not trigger an immediate one" % dt)
    need(ep.checker.mac2_ok(m2, socket.inet_aton("127.0.0.1"), PORT), "mac2 of the retry")
    need(m2[8:40] != m[8:40] and m2[4:8] != m[4:8], "retry must use a fresh ephemeral and index")
    ep.consume_initiation(m2)
    u.send(ep.make_response())
    need(u.recv(1, want=pywg.DATA), "handshake did not finish")
    rig.note = "retry after %.2f s" % dt


@case(slow=1)
def t_passive_keepalive_after_10s(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    # an inner packet that provokes no answer at all: UDP to the broadcast address
    u.send(ep.session.encrypt(pywg.ipv4(ME4, "10.77.0.255", 17, pywg.udp(1, 2, b"quiet"))))
    t0 = time.monotonic()
    m = u.recv(13, want=pywg.DATA)
    dt = time.monotonic() - t0
    need(m and len(m) == 32, "no passive keepalive")
    need(9.8 < dt < 10.6, "after %.2f s" % dt)
    rig.note = "after %.2f s" % dt


@case(slow=1)
def t_new_handshake_after_15s_of_silence(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    u.recv(0.2)
    time.sleep(0.1)
    # it sends data; we stay silent
    subprocess.run(["ping", "-c", "1", "-W", "1", ME4], stdout=subprocess.DEVNULL)
    t0 = time.monotonic() - 1.0
    m = u.recv(18, want=pywg.INITIATION)
    dt = time.monotonic() - t0
    need(m, "no initiation")
    need(14.5 < dt < 16.2, "after %.2f s" % dt)
    rig.note = "after about %.1f s" % dt


@case(slow=1)
def t_retransmission_interval(rig):
    u = Udp()
    rig.peer(endpoint="127.0.0.1:%d" % MYPORT, keepalive=1)
    times = []
    for _ in range(4):
        m = u.recv(7, want=pywg.INITIATION)
        need(m, "initiation missing")
        times.append(time.monotonic())
    gaps = [b - a for a, b in zip(times, times[1:])]
    need(all(4.95 < g < 5.6 for g in gaps), str(gaps))
    rig.note = "gaps " + ", ".join("%.2f" % g for g in gaps)


@case(slow=2)
def t_receive_key_expires_at_180s(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    t0 = time.monotonic()
    need(ping(u, ep, 1), "sanity")
    time.sleep(max(0, t0 + 176 - time.monotonic()))
    u.drain()
    need(ping(u, ep, 2, timeout=1), "must still work at 176 s")
    time.sleep(max(0, t0 + 181.5 - time.monotonic()))
    u.drain()
    u.send(ep.session.encrypt(echo4(3)))
    need(u.recv(0.5, want=pywg.DATA) is None, "data accepted after REJECT_AFTER_TIME")
    p = subprocess.Popen(["ping", "-c", "1", "-W", "1", ME4], stdout=subprocess.DEVNULL)
    m = u.recv(2)
    p.wait(5)
    need(m and pywg.message_type(m) == pywg.INITIATION, "sending with an expired key must start a handshake")


@case(slow=2)
def t_initiator_rekeys_on_send_after_120s(rig):
    u = Udp()
    ep = rig.peer(endpoint="127.0.0.1:%d" % MYPORT)
    subprocess.run(["ping", "-c", "1", "-W", "1", ME4], stdout=subprocess.DEVNULL)
    ep.consume_initiation(u.recv(3, want=pywg.INITIATION))
    u.send(ep.make_response())
    t0 = time.monotonic()
    first = ep.session
    while time.monotonic() < t0 + 118:           # traffic in both directions keeps other timers quiet
        u.send(first.encrypt(echo4(1), mtu=1420))
        m = u.recv(0.5, want=pywg.INITIATION)
        need(m is None, "rekeyed early, after %.1f s" % (time.monotonic() - t0))
        time.sleep(1)
    time.sleep(max(0, t0 + 121 - time.monotonic()))
    u.drain()
    u.send(first.encrypt(echo4(2), mtu=1420))
    got = [u.recv(0.7), u.recv(0.7)]
    types = sorted(pywg.message_type(m) for m in got if m)
    need(types == [pywg.INITIATION, pywg.DATA], "expected the reply under the old key and an initiation, got %s" % types)


@case(slow=2)
def t_responder_never_rekeys_by_age(rig):
    u, ep = Udp(), rig.peer()
    handshake(u, ep)
    t0 = time.monotonic()
    time.sleep(125)
    need(ping(u, ep, 1), "still alive")
    m = u.recv(1.0, want=pywg.INITIATION)
    need(m is None, "the responder of a session must not rekey it because of age")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--slow", action="store_const", const=1, default=0)
    ap.add_argument("--very-slow", dest="slow", action="store_const", const=2)
    ap.add_argument("--impl", default="wireguard-go")
    ap.add_argument("--list", action="store_true", help="names of the cases, and how slow each is: 0, 1 or 2")
    ap.add_argument("cases", nargs="*")
    o = ap.parse_args()
    if o.list:
        print("\n".join("%s %d" % (name, slow) for name, _, slow in CASES))
        return 0
    links = [d for d in os.listdir("/sys/class/net")]
    out = sh("ip", "-o", "link", "show")
    if len(out.splitlines()) > 3:
        sys.exit("refusing: not in a network namespace of its own (see the docstring); links: %s" % links)
    rig, bad = Rig(o.impl), 0
    try:
        for name, f, slow in CASES:
            if (o.cases and name not in o.cases) or (slow > o.slow and not o.cases):
                continue
            rig.note = ""
            try:
                f(rig)
                print("PASS  %-52s %s" % (name, rig.note), flush=True)
            except (Fail, WgError, RuntimeError) as e:
                bad += 1
                print("FAIL  %-52s %s: %s" % (name, type(e).__name__, e), flush=True)
    finally:
        rig.stop()
    return bad


if __name__ == "__main__":
    sys.exit(main())
