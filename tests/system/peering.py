"""One gateway and X, the Python peer of pywg.py, on a cable: what the conformance tests stand on.

X's outer side is real UDP sockets on its own machine, so Linux answers ARP and ND for it and the gateway is reached as over
any network. X's inner side is pywg. SLUICE_SYSTEM_AGAINST=wireguard-go runs the same tests against the other implementation:
they have to hold there too, or the test is wrong. SLUICE_SYSTEM_AGAINST=drop-in runs them against `sluiced wg0`.
"""
import base64
import contextlib
import os
import select
import socket
import struct
import time
import unittest

import pywg
import rig
from pywg import Endpoint, KeyPair

AGAINST = os.environ.get("SLUICE_SYSTEM_AGAINST", "gateway")
AGAINST_WIREGUARD_GO = AGAINST == "wireguard-go"
NO_GATEWAY = AGAINST != "gateway"  # an interface of Linux's own outside, no counters to look at


def diverges(what):
    """For tests that Debian's wireguard-go is known not to hold: says in which way."""
    return unittest.skipIf(AGAINST_WIREGUARD_GO, "wireguard-go %s" % what)


PORT = 51820
GATEWAY_OUTER = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
X_OUTER = {socket.AF_INET: "192.0.2.2", socket.AF_INET6: "2001:db8::2"}
X_OTHER = {socket.AF_INET: "192.0.2.3", socket.AF_INET6: "2001:db8::3"}
X_PORT = 40001
GATEWAY_INNER4, X_INNER4, STRANGER4 = "10.77.0.1", "10.77.0.2", "10.77.0.3"
GATEWAY_INNER6, X_INNER6 = "fd77::1", "fd77::2"

CONFIG = """
[gateway]
name = "%(name)s"

[[port]]
name = "wan"
device = "%(device)s"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]

[[tunnel]]
name = "wg0"
private-key-file = "gateway.key"
listen-port = 51820
addresses = ["10.77.0.1/24", "fd77::1/64"]
"""


def b64(data):
    return base64.b64encode(data).decode()


class Udp:
    """A UDP socket of X, aimed at the gateway."""

    def __init__(self, machine, family=socket.AF_INET, port=X_PORT, host=None):
        self.family, self.host = family, host or X_OUTER[family]
        self.socket = machine.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        self.socket.bind((self.host, port))
        self.port = self.socket.getsockname()[1]
        self.gateway = (GATEWAY_OUTER[family], PORT)

    def send(self, message):
        self.socket.sendto(message, self.gateway)

    def receive(self, timeout=1.0, want=None):
        """The next datagram (of type `want` if given), or None."""
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return None
            message = self.socket.recv(65535)
            if want is None or pywg.message_type(message) == want:
                return message
        return None

    def receive_with_tos(self, timeout=2.0):
        """The next datagram and its IPv4 type of service."""
        self.socket.settimeout(timeout)
        message, ancillary, _, _ = self.socket.recvmsg(65535, 64)
        return message, next(data[0] for level, kind, data in ancillary if (level, kind) == (socket.IPPROTO_IP,
                socket.IP_TOS))

    def drain(self):
        count = 0
        while select.select([self.socket], [], [], 0)[0]:
            self.socket.recv(65535)
            count += 1
        return count

    def close(self):
        self.socket.close()


class Sniffer:
    """What reaches the gateway's tunnel interface from the tunnel: the packets it delivers."""

    def __init__(self, machine, interface="wg0"):
        # Protocol 3 is ETH_P_ALL.
        self.socket = machine.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.socket.bind((interface, 3))

    def receive(self, timeout=1.0):
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return None
            packet, address = self.socket.recvfrom(65535)
            if address[2] != socket.PACKET_OUTGOING:
                return packet
        return None

    def drain(self):
        while select.select([self.socket], [], [], 0)[0]:
            self.socket.recv(65535)

    def close(self):
        self.socket.close()


class PeeringCase(unittest.TestCase):
    """A gateway for the class; every test adds its own peer with new keys and removes all others."""

    time_limit = 60
    daemon, environment = "sluiced", {}
    device, more_config = "af_packet:wan0", ""

    @classmethod
    def setUpClass(cls):
        cls.build = os.environ["SLUICE_BUILD"]
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.gateway_machine, cls.x = cls.lab.machine("gateway"), cls.lab.machine("x")
        cls.lay_cables()
        cls.key = KeyPair.generate()
        cls.gateway_machine.sysctl("net.ipv6.conf.default.router_solicitations", 0)
        cls.gateway_machine.sysctl("net.ipv6.conf.default.accept_dad", 0)
        cls.start_gateway()
        for family in (socket.AF_INET, socket.AF_INET6):
            cls.x.reaches(GATEWAY_OUTER[family])
        cls.wait_for_quiet()

    @classmethod
    def lay_cables(cls):
        cls.lab.cable(cls.gateway_machine, "wan0", cls.x, "eth0")
        cls.address_x()

    @classmethod
    def address_x(cls):
        cls.x.sysctl("net.ipv6.conf.eth0.router_solicitations", 0)
        rig.kernel_end(cls.x, "eth0", *["%s/24" % a[socket.AF_INET] for a in (X_OUTER, X_OTHER)],
                       *["%s/64" % a[socket.AF_INET6] for a in (X_OUTER, X_OTHER)])

    @classmethod
    def start_gateway(cls):
        if NO_GATEWAY:
            rig.kernel_end(cls.gateway_machine, "wan0", "192.0.2.1/24", "2001:db8::1/64")
            key = rig.Key()
            key.private = b64(cls.key.private)
            daemon, build = ("wireguard-go", None) if AGAINST_WIREGUARD_GO else (cls.daemon, cls.build)
            cls.gateway = rig.WireguardGo(cls.gateway_machine, daemon=daemon, build=build).start(key, PORT, GATEWAY_INNER4 + "/24",
                                                                     GATEWAY_INNER6 + "/64")
            return
        cls.lab.write("gateway.key", b64(cls.key.private) + "\n")
        config = cls.lab.write("gateway.toml", CONFIG % {"name": "peering", "device": cls.device} + cls.more_config)
        cls.gateway = rig.Gateway(cls.gateway_machine, config, cls.build, name="peering",
                                  daemon=cls.daemon).start(environment=cls.environment)

    @classmethod
    def wait_for_quiet(cls):
        """Linux announces new interfaces with multicast for a moment, which moves counters nobody asked about."""
        if NO_GATEWAY:
            return
        last = [cls.gateway.drops(), time.monotonic()]

        def quiet():
            now = cls.gateway.drops()
            if now != last[0]:
                last[:] = [now, time.monotonic()]
            return time.monotonic() - last[1] > 1.5
        rig.wait_until(quiet, lambda: "the drop counters to stand still: %s" % last[0], 20)

    def setUp(self):
        self.wg_remove_peers()

    def diagnosis(self):
        return self.gateway.process.output()[-3000:]

    # ---- the gateway's configuration

    def wg(self, *arguments, stdin=None):
        return self.gateway_machine.text("wg", *arguments, stdin=stdin)

    def wg_set(self, *arguments, stdin=None):
        self.wg("set", "wg0", *arguments, stdin=stdin)

    def wg_remove_peers(self):
        for peer in self.wg("show", "wg0", "peers").split():
            self.wg_set("peer", peer, "remove")

    def add_peer(self, psk=pywg.ZERO32, endpoint=None, allowed=(X_INNER4 + "/32", X_INNER6 + "/128"), keepalive=0,
                 static=None):
        """Configures a new peer on the gateway; its Endpoint for X."""
        me = static or KeyPair.generate()
        arguments = ["peer", b64(me.public), "allowed-ips", ",".join(allowed), "persistent-keepalive", keepalive]
        if endpoint:
            arguments += ["endpoint", endpoint]
        if psk != pywg.ZERO32:
            arguments += ["preshared-key", "/dev/stdin"]
        self.wg_set(*arguments, stdin=b64(psk) if psk != pywg.ZERO32 else None)
        return Endpoint(me, self.key.public, psk)

    def remove_peer(self, peer):
        self.wg_set("peer", b64(peer.static.public), "remove")

    def shown(self, what, peer):
        """The peer's column of `wg show wg0 WHAT`."""
        for line in self.wg("show", "wg0", what).splitlines():
            key, _, value = line.partition("\t")
            if key == b64(peer.static.public):
                return value
        return None

    def endpoint_of(self, peer):
        return self.shown("endpoints", peer)

    # ---- X's side

    def udp(self, family=socket.AF_INET, port=X_PORT, host=None):
        socket_of_x = Udp(self.x, family, port, host)
        self.addCleanup(socket_of_x.close)
        return socket_of_x

    def sniffer(self):
        sniffer = Sniffer(self.gateway_machine)
        self.addCleanup(sniffer.close)
        return sniffer

    def handshake(self, udp, peer, confirm=True, **options):
        """X initiates; the gateway's response."""
        udp.send(peer.make_initiation(**options))
        response = udp.receive(2.0, want=pywg.RESPONSE)
        self.assertIsNotNone(response, "no handshake response")
        peer.consume_response(response)
        if confirm:
            udp.send(peer.session.keepalive())
        return response

    def answer_initiation(self, udp, peer, timeout=3.0):
        """The gateway initiates; X answers. The initiation."""
        initiation = udp.receive(timeout, want=pywg.INITIATION)
        self.assertIsNotNone(initiation, "no initiation")
        peer.consume_initiation(initiation)
        udp.send(peer.make_response())
        return initiation

    def ping(self, udp, peer, seq, timeout=1.0, **options):
        """Echo request through the tunnel to the gateway; the reply's plaintext with its padding, or None."""
        udp.send(peer.session.encrypt(echo(seq, **options), mtu=1420))
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            message = udp.receive(left, want=pywg.DATA)
            if message is None:
                return None
            if struct.unpack_from("<I", message, 4)[0] != peer.session.local_index:
                # Control takes a confirmed session into use: until it has, an answer leaves under the one before.
                udp.send(peer.session.encrypt(echo(seq, **options), mtu=1420))
                continue
            plain = peer.session.decrypt(message)
            inner = pywg.inner_packet(plain)
            if len(inner) >= 28 and inner[9] == 1 and inner[20] == 0 and struct.unpack_from(">H", inner, 26)[0] == seq:
                return plain
        return None

    def assert_alive(self, udp, peer, seq):
        self.assertIsNotNone(self.ping(udp, peer, seq, timeout=3.0), "the session does not answer (any more)")

    def provoke(self, address=X_INNER4, payload=b"x", tos=0):
        """The gateway's own Linux sends a UDP packet into the tunnel."""
        with contextlib.closing(self.gateway_machine.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            sender.sendto(payload, (address, 9))

    def until(self, condition, what, timeout=3.0):
        try:
            rig.wait_until(condition, what, timeout)
        except rig.RigError as error:
            self.fail(str(error))

    def settled_drops(self):
        """What waited for a peer of the test before is discarded, and counted, by the worker in its own time."""
        before = self.gateway.drops()
        while (again := self.gateway.drops()) != before:
            before = again
        return before

    @contextlib.contextmanager
    def drops(self, **expected):
        """Exactly these reasons move by exactly these numbers while the block runs (reason=count)."""
        if NO_GATEWAY:
            yield
            return
        before = self.settled_drops()
        yield
        moved = {}

        def as_expected():
            moved.clear()
            moved.update(self.gateway.drops_since(before))
            return moved == expected
        try:
            rig.wait_until(as_expected, "", 2.0)
        except rig.RigError:
            self.fail("drops moved by %s instead of %s" % (moved, expected))

    def assert_silent(self, udp, message, why, **expected):
        """The datagram is answered by nothing and counted once, by the given reason."""
        # Where nothing is counted, only time says that the datagram has been judged before the test goes on.
        silence = 0.15 if NO_GATEWAY else 0.02
        udp.drain()
        with self.drops(**{reason: 1 for reason in expected.get("reason", "").split() if reason}):
            udp.send(message)
        answer = udp.receive(silence)
        self.assertIsNone(answer, "%s: was answered: %s" % (why, (answer or b"")[:16].hex()))


def echo(seq, source=X_INNER4, destination=GATEWAY_INNER4, size=56, **options):
    return pywg.ipv4(source, destination, 1, pywg.icmp_echo(0x5157, seq, bytes(k & 0xFF for k in range(size))),
                     **options)
