"""Inner packets of every size from 1 to 9,000 bytes, IPv4 with and without DF and IPv6, through two gateways: each arrives
as it was, or its sender is told by ICMP what fits, or it is too short to be a packet and is dropped by name.

The sender is a packet socket, so nobody on its host splits or refuses anything; the receiver is Linux, which puts together
what the gateway has split. Neither looks behind the IP header: protocol 253 is for experiments.
"""
import collections
import contextlib
import os
import select
import socket
import struct
import time
import unittest

import pywg
import rig
from routed import RoutedSites

V4, V6 = socket.AF_INET, socket.AF_INET6
ICMP, ICMPV6, EXPERIMENT = 1, 58, 253
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
LARGEST, DF = 9000, 0x4000
IN_FLIGHT = 200  # frames between two waits: no ring on the way is smaller than 512

# What is sent. `frag`: the IPv4 field; `header`: bytes of the IP header; `near`: the gateway's address that a refusal
# comes from.
Kind = collections.namedtuple("Kind", "name family header near frag")
KINDS = (Kind("IPv4 with DF", V4, 20, "10.1.0.1", DF), Kind("IPv4 without DF", V4, 20, "10.1.0.1", 0),
         Kind("IPv6", V6, 40, "fd01::1", None))


class EverySize(unittest.TestCase):
    time_limit = 90

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.sites = RoutedSites(cls.lab, os.environ["SLUICE_BUILD"], outer=4, mtu=LARGEST, middle=LARGEST).start()
        cls.a, cls.b = cls.sites.a, cls.sites.b
        cls.sender = cls.a.host.socket(socket.AF_PACKET, socket.SOCK_RAW)
        cls.addClassCleanup(cls.sender.close)
        cls.sender.bind(("eth0", 0))
        mac = lambda text: bytes.fromhex(text.strip().replace(":", ""))
        own = mac(cls.a.host.text("cat", "/sys/class/net/eth0/address"))
        neighbour = cls.a.host.text("ip", "neighbour", "show", "10.1.0.1").split()
        cls.link_header = mac(neighbour[neighbour.index("lladdr") + 1]) + own
        cls.pattern = os.urandom(2 * LARGEST)

    def diagnosis(self):
        return self.sites.diagnosis()

    def raw(self, host, family, protocol):
        raw = host.socket(family, socket.SOCK_RAW, protocol)
        self.addCleanup(raw.close)
        raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        raw.setblocking(False)
        return raw

    def payload(self, kind, size):
        """Different for every size."""
        return self.pattern[size:size + size - kind.header]

    def packet(self, kind, size):
        """As many bytes as asked for, be they not even a header."""
        version = 4 if kind.family == V4 else 6
        source, to = self.a.address(version), self.b.address(version)
        payload = self.payload(kind, size) if size > kind.header else b""
        if kind.family == V4:
            whole = pywg.ipv4(source, to, EXPERIMENT, payload, ident=size, frag=kind.frag, total_length=size)
        else:
            whole = pywg.ipv6(source, to, EXPERIMENT, payload)
        return whole[:size]

    def send(self, kind, packet):
        self.sender.send(self.link_header + (b"\x08\x00" if kind.family == V4 else b"\x86\xdd") + packet)

    def arrivals(self, kind, receiver):
        """Sizes of what has come, each looked at byte by byte."""
        with contextlib.suppress(BlockingIOError):
            while True:
                got = receiver.recv(LARGEST + 1000)
                payload = got[20:] if kind.family == V4 else got
                size = len(payload) + kind.header
                if payload != self.payload(kind, size):
                    self.fail("%s of %d bytes came changed" % (kind.name, size))
                yield size

    def refusals(self, kind, receiver, mtu):
        """Sizes that the sender was told are too large, each answer looked at."""
        wanted = (3, 4) if kind.family == V4 else (2, 0)
        with contextlib.suppress(BlockingIOError):
            while True:
                got, (near, *_) = receiver.recvfrom(2000)
                message = got[20:] if kind.family == V4 else got
                if (message[0], message[1]) != wanted:
                    continue  # neighbour discovery
                told = struct.unpack_from(">H" if kind.family == V4 else ">I", message, 6 if kind.family == V4 else 4)[0]
                self.assertEqual((told, near), (mtu, kind.near))
                quote = message[8:]
                size = struct.unpack_from(">H", quote, 2 if kind.family == V4 else 4)[0]
                size += 0 if kind.family == V4 else 40
                sent = self.packet(kind, size)
                self.assertGreaterEqual(len(quote), kind.header + 8)
                unchanged = slice(12, None) if kind.family == V4 else slice(8, None)  # of the TTL nobody says when
                self.assertEqual(quote[unchanged], sent[:len(quote)][unchanged], "the quote of %d bytes" % size)
                yield size

    def wait_for(self, sizes, due, receiver, take, timeout):
        """What is left of the sizes when all have come, or nothing more does. `due`: how often each may still come."""
        left = set(sizes)
        end = time.monotonic() + timeout
        while left and (wait := end - time.monotonic()) > 0:
            if select.select([receiver], [], [], wait)[0]:
                for size in take():
                    self.assertGreater(due[size], 0, "%d bytes came once too often" % size)
                    due[size] -= 1
                    left.discard(size)
        return left

    def all_arrive(self, kind, sizes, mtu):
        receiver = self.raw(self.b.host, kind.family, EXPERIMENT)
        batch, frames = [], 0
        for size in sizes:
            self.send(kind, self.packet(kind, size))
            batch.append(size)
            frames += (size - kind.header) // (mtu - kind.header - 7) + 1
            if frames >= IN_FLIGHT or size == sizes[-1]:
                due = collections.Counter(batch)
                left = self.wait_for(batch, due, receiver, lambda: self.arrivals(kind, receiver), 10)
                self.assertFalse(left, "%s: these did not arrive" % kind.name)
                batch, frames = [], 0

    def all_are_refused(self, kind, sizes, mtu):
        """Answers are limited to a thousand a second: who is not answered sends again, as any sender does."""
        receiver = self.raw(self.a.host, kind.family, ICMP if kind.family == V4 else ICMPV6)
        stranger = self.raw(self.b.host, kind.family, EXPERIMENT)
        sent, left, due = 0, list(sizes), collections.Counter()
        end = time.monotonic() + 30
        while left and time.monotonic() < end:
            batch = left[:50]
            for size in batch:
                self.send(kind, self.packet(kind, size))
            sent += len(batch)
            due.update(batch)  # on a busy machine an answer comes late, and one to the second attempt as well
            unanswered = self.wait_for(batch, due, receiver, lambda: self.refusals(kind, receiver, mtu), 0.05)
            left = sorted(unanswered) + left[len(batch):]
        self.assertFalse(left, "%s: nobody said that these are too large" % kind.name)
        self.assertEqual(list(self.arrivals(kind, stranger)), [])
        return sent

    def every_size(self, kind, mtu):
        a, b = self.a.gateway, self.b.gateway
        before_a, before_b = a.drops(), b.drops()
        for size in range(1, kind.header):
            self.send(kind, self.packet(kind, size))
        self.drop(a, before_a, frame_malformed=kind.header - 1)
        fits = LARGEST if kind.frag == 0 else mtu
        self.all_arrive(kind, range(kind.header, fits + 1), mtu)
        self.drop(a, before_a, frame_malformed=kind.header - 1)
        if fits < LARGEST:
            sent = self.all_are_refused(kind, range(fits + 1, LARGEST + 1), mtu)
            self.drop(a, before_a, frame_malformed=kind.header - 1, too_big=sent)
        self.drop(b, before_b)

    def drop(self, gateway, before, **expected):
        """These have been dropped since, and nothing else."""
        moved = lambda: gateway.drops_since(before)
        with contextlib.suppress(rig.RigError):
            rig.wait_until(lambda: moved() == expected, "", 3)
        self.assertEqual(moved(), expected)

    def at_tunnel_mtu(self, mtu, options):
        for site in (self.a, self.b):
            self.sites.reload(site, tunnel_options=options)
            rig.wait_until(lambda: "mtu %d " % mtu in site.machine.text("ip", "link", "show", "wg0"), "mtu %d" % mtu)
        for kind in KINDS:
            with self.subTest(kind=kind.name):
                self.every_size(kind, mtu)

    def test_through_a_small_tunnel(self):
        """The smallest that IPv6 allows: most have to be split or refused"""
        self.at_tunnel_mtu(1280, "mtu = 1280")

    def test_through_a_jumbo_tunnel(self):
        """What the links' 9,000 bytes leave"""
        self.at_tunnel_mtu(8920, "")

    def test_memory_is_named(self):
        self.assertRegex(self.a.gateway.process.output(), r"packet buffers for frames of MTU 9000: \d+ MiB")
