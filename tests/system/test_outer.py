"""Outer packets that no honest kernel sends: fragments, lengths, checksums, options and tags, frame by frame."""
import contextlib
import itertools
import os
import random
import socket
import struct
import time
import unittest

import pywg
import rig
from peering import AGAINST_WIREGUARD_GO, NO_GATEWAY, GATEWAY_OUTER, PORT, X_INNER4, X_INNER6, X_OUTER, X_PORT, PeeringCase, diverges, echo

V4, V6 = socket.AF_INET, socket.AF_INET6


class OuterCase(PeeringCase):
    """X's frames are made here, byte by byte."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.raw = cls.x.socket(socket.AF_PACKET, socket.SOCK_RAW)
        cls.raw.bind(("eth0", 0))
        cls.addClassCleanup(cls.raw.close)
        cls.own_mac = mac(cls.x.text("cat", "/sys/class/net/eth0/address"))
        neighbour = cls.x.text("ip", "neighbour", "show", GATEWAY_OUTER[V4]).split()
        cls.gateway_mac = mac(neighbour[neighbour.index("lladdr") + 1])

    def frame(self, packet, tag=b"", padding=b""):
        kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        self.raw.send(self.gateway_mac + self.own_mac + tag + kind + packet + padding)

    def udp4(self, payload, source=X_OUTER[V4], source_port=X_PORT, length=None, checksum=None, **options):
        return pywg.ipv4(source, GATEWAY_OUTER[V4], 17, datagram(source, GATEWAY_OUTER[V4], payload, source_port,
                                                                 length, checksum), **options)

    def udp6(self, payload, checksum=None):
        source = X_OUTER[V6]
        return pywg.ipv6(source, GATEWAY_OUTER[V6], 17, datagram(source, GATEWAY_OUTER[V6], payload, X_PORT, None,
                                                                 checksum))

    def session(self, family=V4):
        udp, peer = self.udp(family), self.add_peer()
        self.handshake(udp, peer)
        if family == V4:
            self.assert_alive(udp, peer, 1)
        else:
            udp.receive(0.2)
        return udp, peer

    def assert_accepted(self, udp, packet, what, **options):
        udp.drain()
        with self.drops():
            self.frame(packet, **options)
            self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), what)

    def assert_dropped(self, udp, packet, what, reason, **options):
        udp.drain()
        with self.drops(**({reason: 1} if reason else {})):
            self.frame(packet, **options)
        self.assertIsNone(udp.receive(0.15 if AGAINST_WIREGUARD_GO else 0.02, want=pywg.DATA), what)


class OuterPackets(OuterCase):
    def test_good_control(self):
        """What the other tests spoil is good."""
        udp, peer = self.session()
        self.assert_accepted(udp, self.udp4(peer.session.encrypt(echo(2))), "an ordinary datagram")

    def test_udp_length(self):
        """D-15: the datagram ends at the UDP length"""
        udp, peer = self.session()
        message = peer.session.encrypt(echo(2))
        self.assert_accepted(udp, self.udp4(message + b"behind", length=8 + len(message)),
                             "bytes behind the UDP length")
        message = peer.session.encrypt(echo(3))
        self.assert_dropped(udp, self.udp4(message, length=8 + len(message) + 1), "more than there is", "udp_length")
        self.assert_dropped(udp, self.udp4(message, length=7), "less than a UDP header", "udp_length")
        self.assert_alive(udp, peer, 4)

    def test_udp_checksum(self):
        """D-16"""
        udp, peer = self.session()
        self.assert_accepted(udp, self.udp4(peer.session.encrypt(echo(2)), checksum=0), "none over IPv4")
        self.assert_dropped(udp, self.udp4(peer.session.encrypt(echo(3)), checksum=0x1234), "a wrong one",
                            "udp_checksum")
        self.assert_alive(udp, peer, 4)

    def test_udp_checksum_over_ipv6(self):
        """D-16"""
        udp, peer = self.session(V6)
        inner = pywg.ipv6(X_INNER6, "fd77::1", 58, pywg.icmp6_echo(X_INNER6, "fd77::1", 7, 9, b"abc"))
        self.assert_accepted(udp, self.udp6(peer.session.encrypt(inner)), "a right one")
        self.assert_dropped(udp, self.udp6(peer.session.encrypt(inner), checksum=0), "none over IPv6", "udp_checksum")
        self.assert_dropped(udp, self.udp6(peer.session.encrypt(inner), checksum=0x1234), "a wrong one", "udp_checksum")

    def test_frame_padding(self):
        """D-17: the length is that of the IP header, not of the frame"""
        udp, peer = self.session()
        self.assert_accepted(udp, self.udp4(peer.session.encrypt(echo(2))), "a padded frame", padding=bytes(20))
        received = int(self.shown("transfer", peer).split()[0])
        with self.drops():
            self.frame(self.udp4(peer.session.keepalive()), padding=bytes(14))
            self.assert_alive(udp, peer, 3)
        self.assertEqual(int(self.shown("transfer", peer).split()[0]), received + 32 + 128)

    def test_ipv4_options(self):
        """D-18: found behind options"""
        udp, peer = self.session()
        packet = self.udp4(peer.session.encrypt(echo(2)))
        self.assert_accepted(udp, with_options(packet), "IPv4 with options")

    def test_ipv6_extension_headers(self):
        """D-18: found behind an extension header, or cleanly dropped"""
        udp, peer = self.session(V6)
        inner = pywg.ipv6(X_INNER6, "fd77::1", 58, pywg.icmp6_echo(X_INNER6, "fd77::1", 7, 9, b"abc"))
        packet = self.udp6(peer.session.encrypt(inner))
        extended = packet[:4] + struct.pack(">HB", len(packet) - 40 + 8, 60) + packet[7:40] + bytes([17, 0, 1, 4, 0, 0,
                0, 0]) + packet[40:]
        udp.drain()
        self.frame(extended)
        udp.receive(0.2)
        udp.send(peer.session.encrypt(inner))
        self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "the session goes on")

    def test_vlan_tag(self):
        """D-18: a tagged frame on an untagged port is no WireGuard message"""
        udp, peer = self.session()
        udp.drain()
        self.frame(self.udp4(peer.session.encrypt(echo(2))), tag=b"\x81\x00\x00\x05")
        self.assertIsNone(udp.receive(0.1, want=pywg.DATA))
        self.assert_alive(udp, peer, 3)

    def test_outer_fragments(self):
        """D-13, M-24: put together, by Linux or by the gateway: this kind of port leaves IPv4 to Linux"""
        udp, peer = self.session()
        packet = self.udp4(peer.session.encrypt(echo(2, size=400)), ident=77)
        payload = packet[20:]
        udp.drain()
        with self.drops():
            for offset, piece, more in ((0, payload[:200], 0x2000), (200, payload[200:], 0)):
                self.frame(pywg.ipv4(X_OUTER[V4], GATEWAY_OUTER[V4], 17, piece, ident=77, frag=more | offset // 8))
            self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "the answer to what was put together")
        self.assert_alive(udp, peer, 3)

    def test_initiation_in_fragments(self):
        """M-24"""
        udp, peer = self.udp(), self.add_peer()
        packet = self.udp4(peer.make_initiation(), ident=78)
        for offset, piece, more in ((0, packet[20:100], 0x2000), (80, packet[100:], 0)):
            self.frame(pywg.ipv4(X_OUTER[V4], GATEWAY_OUTER[V4], 17, piece, ident=78, frag=more | offset // 8))
        answer = udp.receive(0.5)
        self.assertIn(pywg.message_type(answer or b""), (0, pywg.RESPONSE))
        second = self.add_peer(allowed=("10.77.0.9/32",))
        self.handshake(udp, second)

    def test_ip_header(self):
        """Headers that lie about themselves"""
        udp, peer = self.session()
        packet = self.udp4(peer.session.encrypt(echo(2)))
        self.assert_dropped(udp, packet[:10] + bytes([packet[10] ^ 1]) + packet[11:], "a bad header checksum",
                            "ip_checksum")
        longer = self.udp4(peer.session.encrypt(echo(3)), total_length=len(packet) + 100)
        self.assert_dropped(udp, longer, "a total length beyond the frame", "frame_truncated")
        self.assert_alive(udp, peer, 4)

    @diverges("answers to port 0 as the kernel lets it")
    def test_sources_that_cannot_be(self):
        """M-22: never an answer to multicast, broadcast or to itself"""
        udp, peer = self.session()
        session = peer.session
        for source in ("224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", GATEWAY_OUTER[V4]):
            self.assert_dropped(udp, self.udp4(session.encrypt(echo(2)), source=source), "source %s" % source,
                                "martian_source")
        self.assertEqual(self.endpoint_of(peer), "%s:%d" % (X_OUTER[V4], X_PORT))
        udp.drain()
        self.frame(self.udp4(session.encrypt(echo(3)), source_port=0))
        self.assert_alive(udp, peer, 4)
        self.assertEqual(self.endpoint_of(peer), "%s:%d" % (X_OUTER[V4], X_PORT))

    def test_confirmed_by_nobody(self):
        """M-21: who knows only the gateway's private key makes it believe an initiation, and gets no data"""
        udp, peer = self.udp(), self.add_peer()
        # KCI: es and ss are both computable from the gateway's private key and X's public key.
        victim = pywg.KeyPair(os.urandom(32))
        forger = pywg.Endpoint(victim, self.key.public)
        claimed = peer.static.public
        original = pywg.dh

        def without_static_key(private, public, check=True):
            if private == victim.private:
                return original(self.key.private, claimed, check)
            return original(private, public, check)
        victim.public = claimed
        pywg.dh = without_static_key
        try:
            initiation = forger.make_initiation()
        finally:
            pywg.dh = original
        udp.send(initiation)
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE), "the forged initiation is believed")
        self.provoke(X_INNER4)
        self.assertIsNone(udp.receive(0.5, want=pywg.DATA), "data under a key nobody confirmed")


@unittest.skipIf(NO_GATEWAY, "what fragments become is Linux's business there")
class OuterFragments(OuterCase):
    """A tap device for a port: af_packet would leave IPv4 fragments to Linux, a NIC leaves them as they are."""

    device = "tap:wan0"
    ORIGINAL = ((0, 104), (104, 200), (200, 304), (304, None))  # of a datagram of about 500 bytes
    WAITS = 1.0  # seconds for the rest of a packet

    @classmethod
    def lay_cables(cls):
        pass

    @classmethod
    def start_gateway(cls):
        super().start_gateway()
        cls.gateway_machine.run("ip", "link", "set", "wan0", "name", "eth0", "netns", cls.x.pid)
        cls.x.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:02", "up")  # the device's own is the gateway's
        cls.address_x()

    def setUp(self):
        super().setUp()
        self.idents = itertools.count(1)

    def families(self):
        """Each with a session, and proof that it lives on."""
        for family in (V4, V6):
            self.wg_remove_peers()
            udp, peer = self.session(family)
            udp.drain()
            yield family, udp, peer
            udp.drain()
            udp.send(peer.session.encrypt(self.inner(family)))
            self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "whole messages pass as before")
            udp.close()

    def inner(self, family, size=400):
        return (pywg.ipv6(X_INNER6, "fd77::1", 58, pywg.icmp6_echo(X_INNER6, "fd77::1", 7, 9, bytes(size)))
                if family == V6 else echo(2, size=size))

    def datagram(self, family, peer, size=400):
        message = peer.session.encrypt(self.inner(family, size))
        return self.udp6(message)[40:] if family == V6 else self.udp4(message)[20:]

    def fragment(self, family, payload, begin, end, ident):
        end = len(payload) if end is None else end
        more = end < len(payload)
        if family == V4:
            return pywg.ipv4(X_OUTER[V4], GATEWAY_OUTER[V4], 17, payload[begin:end], ident=ident,
                             frag=more << 13 | begin // 8)
        header = struct.pack(">BBHI", 17, 0, begin | more, ident)
        return pywg.ipv6(X_OUTER[V6], GATEWAY_OUTER[V6], 44, header + payload[begin:end])

    def send(self, family, payload, ranges):
        ident = next(self.idents)
        for begin, end in ranges:
            self.frame(self.fragment(family, payload, begin, end, ident))

    def until_dropped(self, before, count, allowed):
        """So many have been dropped, each under one of the names; by name."""
        moved = lambda: self.gateway.drops_since(before)
        with contextlib.suppress(rig.RigError):
            rig.wait_until(lambda: sum(moved().values()) >= count, "", 5)
        self.assertLessEqual(set(moved()), set(allowed))
        self.assertEqual(sum(moved().values()), count, moved())
        return moved()

    def test_every_order(self):
        """D-13"""
        for family, udp, peer in self.families():
            with self.drops():
                for order in itertools.permutations(self.ORIGINAL):
                    payload, ident = self.datagram(family, peer), next(self.idents)
                    for begin, end in order:
                        self.assertIsNone(udp.receive(0, want=pywg.DATA))
                        self.frame(self.fragment(family, payload, begin, end, ident))
                    self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), order)

    def test_packets_among_each_other(self):
        """Fragments of eight packets, of as many sizes, in any order"""
        shuffle = random.Random(4).shuffle
        for family, udp, peer in self.families():
            frames = []
            for size in range(400, 1200, 100):
                payload, ident = self.datagram(family, peer, size), next(self.idents)
                frames += [self.fragment(family, payload, begin, end, ident) for begin, end in self.ORIGINAL]
            shuffle(frames)
            with self.drops():
                for frame in frames:
                    self.frame(frame)
                for _ in range(8):
                    self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA))

    def test_overlaps(self):
        """RFC 5722: a packet with fragments that overlap, or are the same twice, is given up as a whole"""
        tricks = (
            ((0, 104), (96, 200), (200, None)),  # by one unit
            ((0, 104), (0, 104), (104, None)),  # the first twice
            ((0, 200), (48, 104), (200, None)),  # one inside another
            ((0, 104), (104, 200), (104, 200), (200, None)),  # one in the middle twice
            ((96, 200), (200, None), (0, 104)),  # what overlaps comes before what is overlapped
            ((0, 200), (104, None), (200, 304)),  # the last one too early
        )
        for family, udp, peer in self.families():
            for trick in tricks:
                before = self.gateway.drops()
                self.send(family, self.datagram(family, peer), trick)
                moved = self.until_dropped(before, len(trick), ("fragment_refused", "fragment_timeout"))
                self.assertIn("fragment_refused", moved, trick)
                self.assertIsNone(udp.receive(0, want=pywg.DATA), trick)

    def test_incomplete(self):
        """One is missing, each in turn: the others wait for a second"""
        for family, udp, peer in self.families():
            before, begin = self.gateway.drops(), time.monotonic()
            for missing in self.ORIGINAL:
                self.send(family, self.datagram(family, peer), [one for one in self.ORIGINAL if one != missing])
            self.until_dropped(before, 3 * len(self.ORIGINAL), ("fragment_timeout",))
            self.assertGreaterEqual(time.monotonic() - begin, self.WAITS)
            self.assertIsNone(udp.receive(0, want=pywg.DATA))

    def test_impossible(self):
        """No multiple of eight bytes but the last; too many; more than a packet may have"""
        for family, _, peer in self.families():
            payload = self.datagram(family, peer)
            with self.drops(fragment_malformed=1):
                self.send(family, payload, [(0, 100)])
            before = self.gateway.drops()
            self.send(family, payload, [(at, at + 40 if at < 320 else None) for at in range(0, 360, 40)])
            moved = self.until_dropped(before, 9, ("fragment_refused", "fragment_timeout"))
            self.assertIn("fragment_refused", moved)
            with self.drops(fragment_malformed=1):
                self.frame(self.fragment(family, bytes(65700), 65528, 65600, next(self.idents)))

    def test_memory_is_bounded(self):
        """Beginnings of packets that never end, faster than they expire: others pass, and all of them are accounted for"""
        count, at_a_time = 3000, 512
        for family, udp, peer in self.families():
            payload, before, begin = self.datagram(family, peer), self.gateway.drops(), time.monotonic()
            for number in range(count):
                self.send(family, payload, [(0, 104)])
                if number % 500 == 250:
                    udp.send(peer.session.encrypt(self.inner(family)))
                    self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "whole messages pass meanwhile")
            moved = self.until_dropped(before, count, ("fragments_full", "fragment_timeout"))
            self.assertGreater(moved["fragments_full"], 0)
            self.assertLessEqual(moved["fragment_timeout"], at_a_time * (1 + (time.monotonic() - begin) / self.WAITS))
            with self.drops():
                self.send(family, self.datagram(family, peer), self.ORIGINAL)
                self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "there is room again")


def mac(text):
    return bytes.fromhex(text.strip().replace(":", ""))


def datagram(source, destination, payload, source_port, length, checksum):
    """A UDP datagram with a right checksum, or with what is given instead."""
    packed = [socket.inet_pton(V6 if ":" in address else V4, address) for address in (source, destination)]
    length = 8 + len(payload) if length is None else length
    header = struct.pack(">HHHH", source_port, PORT, length, 0)
    if checksum is None:
        covered = (header + payload)[:length]
        pseudo = packed[0] + packed[1] + (struct.pack(">IHBB", length, 0, 0,
                                                      17) if len(packed[0]) == 16 else struct.pack(">BBH", 0, 17,
                                                              length))
        checksum = pywg.checksum(pseudo + covered) or 0xFFFF
    return header[:6] + struct.pack(">H", checksum) + payload


def with_options(packet):
    """The same IPv4 packet with four bytes of no-operation options."""
    total = struct.unpack_from(">H", packet, 2)[0] + 4
    header = bytes([0x46]) + packet[1:2] + struct.pack(">H",
                                                       total) + packet[4:10] + b"\0\0" + packet[12:20] + b"\1\1\1\0"
    return header[:10] + struct.pack(">H", pywg.checksum(header)) + header[12:] + packet[20:]
