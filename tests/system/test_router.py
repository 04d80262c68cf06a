"""A router's manners: what it refuses it says why, from the right address and not too often; what cannot be is dropped."""
import contextlib
import os
import re
import socket
import struct
import time
import unittest

import pywg
import rig
from routed import RoutedSites

V4, V6 = socket.AF_INET, socket.AF_INET6
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
EF, AF41 = 46 << 2, 34 << 2


class Manners(unittest.TestCase):
    time_limit = 90

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.sites = RoutedSites(cls.lab, os.environ["SLUICE_BUILD"]).start(
            lan_options='reverse-path-filter = "strict"', wan_options='reverse-path-filter = "loose"')
        cls.host, cls.gateway = cls.sites.a.host, cls.sites.a.gateway
        cls.raw = cls.host.socket(socket.AF_PACKET, socket.SOCK_RAW)
        cls.raw.bind(("eth0", 0))
        cls.addClassCleanup(cls.raw.close)
        mac = lambda text: bytes.fromhex(text.strip().replace(":", ""))
        cls.own_mac = mac(cls.host.text("cat", "/sys/class/net/eth0/address"))
        neighbour = cls.host.text("ip", "neighbour", "show", "10.1.0.1").split()
        cls.gateway_mac = mac(neighbour[neighbour.index("lladdr") + 1])

    def diagnosis(self):
        return self.sites.diagnosis()

    def frame(self, packet):
        kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        self.raw.send(self.gateway_mac + self.own_mac + kind + packet)

    def wait_for_drops(self, before, expected):
        try:
            rig.wait_until(lambda: self.gateway.drops_since(before) == expected, "", 3)
        except rig.RigError:
            self.fail("drops moved by %s instead of %s" % (self.gateway.drops_since(before), expected))

    def icmp_for(self, packet, timeout=3.0):
        """(type, code, from) of the ICMP error that answers the packet, or None."""
        version = packet[0] >> 4
        with self.host.socket(V4 if version == 4 else V6, socket.SOCK_RAW, 1 if version == 4 else 58) as receiver:
            receiver.settimeout(0.2)
            self.frame(packet)
            end = time.monotonic() + timeout
            while time.monotonic() < end:
                with contextlib.suppress(TimeoutError):
                    message, address = receiver.recvfrom(2000)
                    body = message[20:] if version == 4 else message
                    quote = body[8:8 + len(packet)]
                    if quote[12 if version == 4 else 8:40] == packet[12 if version == 4 else 8:40]:
                        return body[0], body[1], address[0]
        return None

    def udp(self, to, ttl=64, source=None, tos=0):
        if ":" in to:
            source = source or "fd01::2"
            return pywg.ipv6(source, to, 17, struct.pack(">HHHH", 1, 2, 32, 0) + bytes(24), hlim=ttl, tclass=tos)
        return pywg.ipv4(source or "10.1.0.2", to, 17, struct.pack(">HHHH", 1, 2, 32, 0) + bytes(24), ttl=ttl, tos=tos)

    def test_unreachable_says_why(self):
        """No hop left, no route, prohibited, no peer; IPv4 and IPv6, from the address of the way back"""
        machine = self.sites.a.machine
        for version, prefix, inside in ((4, "10.99.0.0/16", "10.2.0.2"), (6, "fd99::/64", "fd02::2")):
            flag, near = ("-4", "10.1.0.1") if version == 4 else ("-6", "fd01::1")
            target = "10.99.0.1" if version == 4 else "fd99::1"
            time_exceeded, no_route, prohibited, no_peer = (((11, 0), (3, 0), (3, 13), (3, 1)) if version == 4 else
                                                            ((3, 0), (1, 0), (1, 1), (1, 3)))
            before = self.gateway.drops()
            self.assertEqual(self.icmp_for(self.udp(inside, ttl=1)), time_exceeded + (near,))
            machine.run("ip", flag, "route", "add", "unreachable", prefix)
            self.until_action(target, no_route + (near,))
            machine.run("ip", flag, "route", "del", "unreachable", prefix)
            machine.run("ip", flag, "route", "add", "prohibit", prefix)
            self.until_action(target, prohibited + (near,))
            machine.run("ip", flag, "route", "del", "prohibit", prefix)
            machine.run("ip", flag, "route", "add", prefix, "dev", "wg0")
            self.until_action(target, no_peer + (near,))
            machine.run("ip", flag, "route", "del", prefix, "dev", "wg0")
            moved = self.gateway.drops_since(before)
            self.assertLessEqual({"ttl_exceeded", "no_route", "route_prohibited", "no_peer"}, set(moved))

    def test_traceroute(self):
        """As an operator looks at the way: both gateways say who they are, the far one by its address in the tunnel"""
        for flag, hops in (("-4", ("10.1.0.1", "10.255.0.2", "10.2.0.2")), ("-6", ("fd01::1", "fdff::2", "fd02::2"))):
            seen = []
            for ttl in range(1, len(hops) + 1):
                said = self.host.run("ping", flag, "-n", "-c", 1, "-W", 3, "-t", ttl, hops[-1], check=False).stdout
                seen.append(re.search(r"[Ff]rom (\S+?):? icmp_seq=1 (Time|ttl|Hop)", said))
                self.assertIsNotNone(seen[-1], said)
            self.assertEqual(tuple(match[1] for match in seen), hops)

    def until_action(self, target, expected):
        """Routes take a moment to reach the workers."""
        said = []

        def check():
            said.append(self.icmp_for(self.udp(target), timeout=1.0))
            return said[-1] == expected
        try:
            rig.wait_until(check, "", 10)
        except rig.RigError:
            self.fail("%s instead of %s" % (said[-3:], expected))

    def test_icmp_errors_are_limited(self):
        """RFC 4443, section 2.4 (f): a thousand a second after a burst of fifty, whatever arrives"""
        with self.host.socket(V4, socket.SOCK_RAW, 1) as receiver:
            receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
            receiver.settimeout(0.5)
            time.sleep(0.2)
            before, begin = self.gateway.drops(), time.monotonic()
            for _ in range(5000):
                self.frame(self.udp("10.2.0.2", ttl=1))
            self.wait_for_drops(before, {"ttl_exceeded": 5000})
            seconds, count = time.monotonic() - begin, 0
            with contextlib.suppress(TimeoutError):
                while True:
                    receiver.recv(2000)
                    count += 1
        self.assertGreaterEqual(count, 50)
        self.assertLessEqual(count, 60 + 1000 * (seconds + 0.2))

    def test_a_port_keeps_its_mac(self):
        """Whoever gives its interface another one (udev does when it comes late): neighbours would send to nobody"""
        machine = self.sites.a.machine

        def mac_of(name):
            return machine.text("cat", "/sys/class/net/%s/address" % name).strip()

        before = {name: mac_of(name) for name in ("lan", "wan")}
        for name, mac in before.items():
            machine.run("ip", "link", "set", name, "address", "02:00:00:00:00:99")
            rig.wait_until(lambda name=name, mac=mac: mac_of(name) == mac, "%s to have its MAC back" % name, 5)
            self.assertIn("port %s: somebody changed its interface's MAC to 02:00:00:00:00:99; it is the port's again, %s"
                          % (name, mac), self.gateway.process.output())
        self.host.run("ip", "neigh", "flush", "all")
        self.host.reaches("10.2.0.2", timeout=5)

    def test_no_redirects(self):
        """A packet that leaves by the port it came from, to a neighbour of its sender"""
        self.host.run("ip", "address", "add", "10.1.0.3/16", "dev", "eth0")
        self.addCleanup(self.host.run, "ip", "address", "del", "10.1.0.3/16", "dev", "eth0")
        capture = self.host.start("tcpdump", "-i", "eth0", "-n", "-l", "icmp[0] == 5 or icmp6[0] == 137")
        capture.ready(lambda: "listening on" in capture.output(), "tcpdump to listen")
        for _ in range(5):
            self.frame(self.udp("10.1.0.3"))
        time.sleep(0.5)
        capture.stop()
        self.assertNotIn("redirect", capture.output())

    def test_martians(self):
        """RFC 1812, section 5.3.7"""
        for source in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "10.1.0.1", "192.0.2.1", "10.255.0.1"):
            before = self.gateway.drops()
            self.frame(self.udp("10.2.0.2", source=source))
            self.wait_for_drops(before, {"martian_source": 1})
        for source in ("::", "::1", "ff02::1", "::ffff:10.1.0.2", "fe80::1", "fd01::1"):
            before = self.gateway.drops()
            self.frame(self.udp("fd02::2", source=source))
            self.wait_for_drops(before, {"martian_source": 1})

    def test_reverse_path_filter(self):
        """RFC 3704: strict on the lan port, loose on the wan port, which a default route satisfies"""
        for source, to in (("198.51.100.77", "10.2.0.2"), ("10.2.0.9", "10.2.0.2"), ("2001:db8:77::1", "fd02::2"),
                           ("fd02::9", "fd02::2")):
            before = self.gateway.drops()
            self.frame(self.udp(to, source=source))
            self.wait_for_drops(before, {"reverse_path": 1})
        self.assertEqual(self.host.ping("10.2.0.2", count=3), 3)
        self.assertEqual(self.host.ping("fd02::2", count=3), 3)

    def test_dscp_as_configured(self):
        """Outer DSCP: clear by default, copied, or fixed; changed by a reload. ECN always follows its own table"""
        # RFC 6040 as Linux's WireGuard has it: inner CE becomes ECT(0) outside.
        outer_ecn = {0: 0, 1: 1, 2: 2, 3: 2}
        self.addCleanup(self.sites.reload, self.sites.a, tunnel_options="")
        for setting, expected in (("", 0), ('dscp = "copy"', EF), ("dscp = 34", AF41), ('dscp = "clear"', 0)):
            self.sites.reload(self.sites.a, tunnel_options=setting)
            for to in ("10.2.0.2", "fd02::2"):
                self.assertEqual(self.outer_fields(to, [EF | ecn for ecn in range(4)]),
                                 [expected | outer_ecn[ecn] for ecn in range(4)], setting)

    def outer_fields(self, to, inner_fields):
        """The outer type of service of each of these packets, seen by the first router."""
        router = self.sites.a.router
        with router.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as sniffer:
            sniffer.bind(("edge", 0x0800))
            sniffer.settimeout(3)
            seen = []
            for number, field in enumerate(inner_fields):
                packet = self.udp(to, tos=field)
                size = len(packet) + 16 * (number + 4)  # each of another size, and of no other packet's
                payload = bytes(size - len(packet))
                padded = (pywg.ipv6("fd01::2", to, 17, packet[40:] + payload, tclass=field) if ":" in to else
                          pywg.ipv4("10.1.0.2", to, 17, packet[20:] + payload, tos=field))
                wanted = 20 + 8 + 32 + (len(padded) + 15) // 16 * 16
                self.frame(padded)
                while True:
                    outer = sniffer.recv(2000)
                    if outer[9] == 17 and outer[16:20] == socket.inet_aton("198.51.100.1") and len(outer) == wanted:
                        seen.append(outer[1])
                        break
        return seen
