"""The Linux kernel's WireGuard, in a guest, as the other end of a gateway.

    host 10.1.0.2, fd01::2 --- [lan  sluiced  wan] --- [eth0  guest's kernel]  10.2.0.2, fd02::2 behind its wg0

The guest's NIC is a tap that sluiced reads by AF_PACKET. One guest serves all tests; each has a gateway and a tunnel of its own.
"""
import os
import re
import unittest

import guest
import rig

CONFIG = """
[gateway]
name = "kernelpeer"

[[port]]
name = "wan"
device = "af_packet:wan0"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
mtu = %(wan_mtu)d

[[port]]
name = "lan"
device = "af_packet:lan0"
addresses = ["10.1.0.1/24", "fd01::1/64"]
"""
TUNNEL = """
[[tunnel]]
name = "%(name)s"
private-key-file = "ours.key"
listen-port = %(port)d
addresses = ["10.255.%(number)d.1/24", "fdff:%(number)d::1/64"]
mtu = 1420

[[tunnel.peer]]
public-key = "%(public)s"
allowed-ips = ["10.255.%(number)d.2/32", "fdff:%(number)d::2/128", "10.%(site)d.0.0/24", "fd0%(site)d::/64"]
%(options)s
"""
NFT_COUNT = """table %s %s {
    counter seen { }
    chain look {
        type filter hook %s priority 0
        %s counter name seen
    }
}
"""
# A congested router on the way, in the guest: marks what may be marked.
NFT_ROUTER = """table inet router {
    chain in {
        type filter hook prerouting priority -300
        iifname eth0 udp sport 51820 %(family)s ecn ect0 %(family)s ecn set ce
    }
    chain out {
        type filter hook postrouting priority 300
        oifname eth0 udp dport 51820 %(family)s ecn ect0 %(family)s ecn set ce
    }
}
"""
OURS, THEIRS = {4: "192.0.2.1", 6: "2001:db8::1"}, {4: "192.0.2.2", 6: "2001:db8::2"}


class KernelWireguard:
    """A wireguard interface of the guest's kernel; what is behind it has addresses of site 2, 3, ..."""

    def __init__(self, machine, number):
        self.machine, self.number, self.name, self.port = machine, number, "wg%d" % number, 51821 + number
        self.site, self.key = 2 + number, rig.Key()

    def start(self, our_key, our_port, endpoint=None, psk=None):
        run = self.machine.run
        run("ip", "link", "add", self.name, "type", "wireguard")
        run("wg", "set", self.name, "listen-port", self.port, "private-key", "/dev/stdin", stdin=self.key.private)
        options = ["endpoint", endpoint] if endpoint else []
        if psk:
            self.machine.write("/run/psk", psk)
            options += ["preshared-key", "/run/psk"]
        run("wg", "set", self.name, "peer", our_key.public, *options, "allowed-ips",
            "10.255.%d.1/32,fdff:%d::1/128,10.1.0.0/24,fd01::/64" % (self.number, self.number))
        self.machine.add_addresses(self.name, "10.255.%d.2/24" % self.number, "fdff:%d::2/64" % self.number,
                                   "10.%d.0.2/32" % self.site, "fd0%d::2/128" % self.site)
        run("ip", "link", "set", self.name, "mtu", 1420, "up")
        # Several tunnels lead to our site; each answers from its own address by itself.
        for prefix, source in (("10.1.0.0/24", "10.%d.0.2" % self.site), ("fd01::/64", "fd0%d::2" % self.site)):
            run("ip", "route", "replace", prefix, "dev", self.name, "src", source)
        return self

    def stop(self):
        self.machine.run("ip", "link", "del", self.name)

    def show(self, what):
        """`wg show` of that, for its only peer."""
        return self.machine.text("wg", "show", self.name, what).split("\t")[1].strip()

    def address(self, version):
        return "10.%d.0.2" % self.site if version == 4 else "fd0%d::2" % self.site


@unittest.skipIf(guest.missing_for_guest(), guest.missing_for_guest())
class KernelPeer(unittest.TestCase):
    time_limit = 240

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.ours, cls.host = cls.lab.machine("ours"), cls.lab.machine("host")
        cls.lab.cable(cls.ours, "lan0", cls.host, "eth0")
        rig.kernel_end(cls.host, "eth0", "10.1.0.2/24", "fd01::2/64")
        cls.host.add_route("0.0.0.0/0", "10.1.0.1")
        cls.host.add_route("::/0", "fd01::1")
        cls.guest = guest.Guest(cls.lab, "guest")
        cls.guest.add_nic("virtio-net-pci", cls.ours, "wan0")
        cls.guest.start()
        # A tap has nobody who computes what the guest leaves to its NIC, and sluiced sees frames as they are.
        cls.guest.run("ethtool", "-K", "eth0", "tx", "off")
        cls.guest.run("ip", "link", "set", "eth0", "up")
        cls.guest.add_addresses("eth0", THEIRS[4] + "/24", THEIRS[6] + "/64")
        cls.guest.run("modprobe", "wireguard")
        cls.guest.serve_iperf()

    def connect(self, initiator, outer=4, psk=False, tunnels=1, wan_mtu=1500):
        """As many tunnels; `initiator` ("ours", "theirs") has the endpoint, or a list of that for each tunnel."""
        initiators = [initiator] * tunnels if isinstance(initiator, str) else initiator
        our_key, secret = rig.Key(), rig.preshared_key() if psk else None
        self.lab.write("ours.key", our_key.private)
        text = CONFIG % {"wan_mtu": wan_mtu}
        self.theirs = [KernelWireguard(self.guest, number) for number in range(tunnels)]
        for theirs, who in zip(self.theirs, initiators):
            options = 'endpoint = "%s"\n' % rig.endpoint(THEIRS[outer], theirs.port) if who == "ours" else ""
            if psk:
                self.lab.write("theirs.psk", secret)
                options += 'preshared-key-file = "theirs.psk"\n'
            text += TUNNEL % {"name": theirs.name, "port": 51820 - theirs.number, "number": theirs.number,
                              "site": theirs.site, "public": theirs.key.public, "options": options}
        self.gateway = rig.Gateway(self.ours, self.lab.write("ours.toml", text), os.environ["SLUICE_BUILD"],
                                   name="kernelpeer").start()
        self.addCleanup(self.gateway.stop)
        # With an address that may still be a duplicate Linux asks for no neighbour, and packets to it are dropped.
        self.until(lambda: not self.ours.text("ip", "-6", "address", "show", "tentative"), "IPv6 addresses to be ours")
        for theirs, who in zip(self.theirs, initiators):
            endpoint = rig.endpoint(OURS[outer], 51820 - theirs.number) if who == "theirs" else None
            theirs.start(our_key, 51820, endpoint, secret)
            self.addCleanup(theirs.stop)
        return self.theirs[0]

    def diagnosis(self):
        return self.gateway.process.output()[-3000:] if hasattr(self, "gateway") else self.guest.console()

    def until(self, condition, what, timeout=20.0):
        try:
            return rig.wait_until(condition, what, timeout)
        except rig.RigError as error:
            self.fail(str(error))

    def check(self, initiator, outer, psk):
        theirs = self.connect(initiator, outer, psk)
        (self.host if initiator == "ours" else self.guest).reaches(
            theirs.address(4) if initiator == "ours" else "10.1.0.2")
        before = self.gateway.drops()
        for source, four, six in ((self.host, theirs.address(4), theirs.address(6)), (self.guest, "10.1.0.2", "fd01::2"),
                                  (self.ours, "10.255.0.2", "fdff:0::2"), (self.guest, "10.255.0.1", "fdff:0::1")):
            source.reaches(four)
            source.reaches(six)
            self.assertEqual(source.ping(four, count=5), 5)
            self.assertEqual(source.ping(six, count=5, size=1372), 5)
        for address, reverse in ((theirs.address(4), []), (theirs.address(6), ["-R"])):
            self.guest.wait_for_iperf()
            result = self.host.iperf(address, *reverse, seconds=2)
            self.assertGreater(result["end"]["sum_received"]["bytes"], 1 << 16)  # emulated, maybe on a busy machine
        # A queue of the rig may overflow under TCP; what has no peer is Linux greeting multicast groups.
        self.assertLessEqual(set(self.gateway.drops_since(before)), {"transmit_full", "no_peer"})
        self.assertEqual(theirs.show("endpoints"), rig.endpoint(OURS[outer], 51820))

    def test_we_initiate_ipv4(self):
        self.check("ours", 4, psk=False)

    def test_we_initiate_ipv4_psk(self):
        self.check("ours", 4, psk=True)

    def test_we_initiate_ipv6(self):
        self.check("ours", 6, psk=False)

    def test_we_initiate_ipv6_psk(self):
        self.check("ours", 6, psk=True)

    def test_they_initiate_ipv4(self):
        self.check("theirs", 4, psk=False)

    def test_they_initiate_ipv4_psk(self):
        self.check("theirs", 4, psk=True)

    def test_they_initiate_ipv6(self):
        self.check("theirs", 6, psk=False)

    def test_they_initiate_ipv6_psk(self):
        self.check("theirs", 6, psk=True)

    def test_wrong_psk_is_no_tunnel(self):
        """The kernel's initiation is right but for the PSK, which shows in our answer: it must not take it"""
        theirs = self.connect("theirs", psk=True)
        self.guest.reaches("10.1.0.2")
        self.guest.write("/run/psk", rig.preshared_key())
        key = self.guest.text("wg", "show", theirs.name, "peers").strip()
        self.guest.run("wg", "set", theirs.name, "peer", key, "remove")
        self.guest.run("wg", "set", theirs.name, "peer", key, "endpoint", rig.endpoint(OURS[4], 51820), "preshared-key",
                       "/run/psk", "allowed-ips", "10.255.0.1/32,10.1.0.0/24")
        self.assertEqual(self.guest.ping("10.1.0.2", count=2, timeout=3), 0)
        self.assertEqual(theirs.show("latest-handshakes"), "0")

    def test_rekey(self):
        """Two minutes and a half of ping through a tunnel that they began and one that we began: new keys, nothing lost"""
        theirs, ours = self.connect(["theirs", "ours"], tunnels=2) and self.theirs
        # The session belongs to whoever began it, and so does its renewal.
        self.guest.run("ip", "route", "replace", "10.1.0.0/24", "dev", "wg0")
        self.guest.reaches("10.255.0.1", source="10.255.0.2")
        self.ours.reaches("10.255.1.2")
        first = [int(tunnel.show("latest-handshakes")) for tunnel in (theirs, ours)]
        count = 600
        pings = [self.ours.start("ping", "-n", "-q", "-i", 0.25, "-c", count, "-W", 3, "10.255.%d.2" % number)
                 for number in (0, 1)]
        for ping in pings:
            self.assertEqual(ping.wait(240), 0, ping.output())
        for tunnel, handshake, ping in zip((theirs, ours), first, pings):
            self.assertGreaterEqual(int(tunnel.show("latest-handshakes")), handshake + 115, tunnel.name)
            self.assertIn(" %d received" % count, ping.output())
        self.assertEqual(self.gateway.drops().get("data_key_expired", 0), 0)

    test_rekey.time_limit = 300

    def test_they_roam(self):
        """The kernel's port and address change, also to the other family: we follow its next authenticated packet"""
        theirs = self.connect("theirs")
        self.guest.reaches("10.1.0.2")

        def we_send_to():
            return self.ours.text("wg", "show", "wg0", "endpoints").split("\t")[1].strip()

        def expect(address, port):
            self.until(lambda: self.guest.ping("10.1.0.2", count=1) and we_send_to() == rig.endpoint(address, port),
                       lambda: "%s port %d instead of %s" % (address, port, we_send_to()))
            self.assertEqual(self.host.ping(theirs.address(4), count=3), 3)

        expect(THEIRS[4], 51821)
        self.guest.run("wg", "set", "wg0", "listen-port", 51999)
        expect(THEIRS[4], 51999)
        self.guest.run("ip", "address", "del", THEIRS[4] + "/24", "dev", "eth0")
        self.addCleanup(self.guest.run, "ip", "address", "replace", THEIRS[4] + "/24", "dev", "eth0")
        self.addCleanup(self.guest.run, "ip", "address", "del", "192.0.2.77/24", "dev", "eth0")
        self.guest.add_addresses("eth0", "192.0.2.77/24")
        expect("192.0.2.77", 51999)
        peer = self.guest.text("wg", "show", "wg0", "peers").strip()
        self.guest.run("wg", "set", "wg0", "peer", peer, "endpoint", rig.endpoint(OURS[6], 51820))
        expect(THEIRS[6], 51999)

    def test_we_roam(self):
        """Our address changes: the kernel follows"""
        theirs = self.connect("ours")
        self.host.reaches(theirs.address(4))
        self.assertEqual(theirs.show("endpoints"), rig.endpoint(OURS[4], 51820))
        self.ours.run("ip", "address", "del", OURS[4] + "/24", "dev", "wan")
        self.ours.add_addresses("wan", "192.0.2.66/24")
        self.until(lambda: self.host.ping(theirs.address(4), count=1) and
                   theirs.show("endpoints") == "192.0.2.66:51820", lambda: "not %s" % theirs.show("endpoints"))
        self.assertEqual(self.host.ping(theirs.address(4), count=3), 3)
        self.ours.run("wg", "set", "wg0", "listen-port", 51900)
        self.until(lambda: self.host.ping(theirs.address(4), count=1) and
                   theirs.show("endpoints") == "192.0.2.66:51900", lambda: "not %s" % theirs.show("endpoints"))

    def large_pings(self, source, address, size, *options):
        """How many of three arrive once the sender knows the path."""
        command = ["ping", "-n", "-q", "-i", 0.2, "-W", 5, "-s", size, *options]
        source.run(*command, "-c", 1, address, check=False)
        return int(re.search(r"(\d+) received", source.run(*command, "-c", 3, address, check=False).stdout)[1])

    def arrive(self, *pings):
        """All of large_pings()."""
        before = self.gateway.drops()
        self.assertEqual(self.large_pings(*pings), 3, self.gateway.drops_since(before))

    def test_inner_fragments(self):
        """Packets larger than the tunnel, in pieces: made by their senders, and where IPv4 allows it by us"""
        theirs = self.connect("ours")
        # AF_PACKET hands IPv4 fragments over as one packet, of 2048 bytes at most: large ones end at the gateway itself.
        for source, four, six, four_in_pieces in ((self.host, theirs.address(4), theirs.address(6), theirs.address(4)),
                                                  (self.guest, "10.1.0.2", "fd01::2", "10.255.0.1"),
                                                  (self.ours, "10.255.0.2", "fdff:0::2", "10.255.0.2")):
            source.reaches(four)
            source.reaches(six)
            for size in (1393, 1480, 4000, 20000):
                with self.subTest(sender=source.name, size=size):
                    self.arrive(source, six, size)
                    if size < 2000:
                        self.arrive(source, four, size)
                        self.arrive(source, four, size, "-M", "dont")
                    elif source is not self.host:
                        self.arrive(source, four_in_pieces, size)

    def outer_fragments(self, outer):
        """The links are narrower than the tunnels: the kernel takes outer packets apart, we tell inner senders what fits"""
        self.guest.run("ip", "link", "set", "eth0", "mtu", 1300)
        self.addCleanup(self.guest.run, "ip", "link", "set", "eth0", "mtu", 1500)
        theirs = self.connect("ours", outer, wan_mtu=1300)
        self.host.reaches(theirs.address(4))
        self.host.reaches(theirs.address(6))
        pieces = self.count(self.ours, "ip frag-off & 0x3fff != 0", "ingress device wan0", family="netdev")
        pieces6 = self.count(self.ours, "exthdr frag exists", "ingress device wan0", family="netdev")
        before = self.gateway.drops()
        for source, address in ((self.host, theirs.address(4)), (self.host, theirs.address(6)), (self.guest, "10.1.0.2"),
                                (self.guest, "fd01::2")):
            self.assertEqual(self.large_pings(source, address, 1372), 3)
        # Replies to the host, echo requests of the guest: twelve packets in two pieces each.
        self.assertGreaterEqual(pieces6() if outer == 6 else pieces(), 24)
        self.assertLessEqual(set(self.gateway.drops_since(before)), {"no_peer", "too_big"})

    def count(self, machine, rule, hook="prerouting", family="inet"):
        """A counter of what matches on the machine, gone with the test; call it for the number so far."""
        self.tables = getattr(self, "tables", 0) + 1
        table = "count%d" % self.tables
        machine.run("nft", "-f", "-", stdin=NFT_COUNT % (family, table, hook, rule))
        self.addCleanup(machine.run, "nft", "delete", "table", family, table)
        return lambda: int(re.search(r"packets (\d+)", machine.text("nft", "list", "counter", family, table, "seen"))[1])

    def test_outer_fragments_ipv4(self):
        self.outer_fragments(4)

    def test_outer_fragments_ipv6(self):
        self.outer_fragments(6)

    def ecn(self, outer):
        """RFC 6040: what is ECN-capable inside is so outside; a router's mark comes through; nothing else is marked"""
        theirs = self.connect("ours", outer)
        family = "ip" if outer == 4 else "ip6"
        self.host.reaches(theirs.address(4))
        self.host.reaches(theirs.address(6))
        self.guest.run("nft", "-f", "-", stdin=NFT_ROUTER % {"family": family})
        self.addCleanup(self.guest.run, "nft", "delete", "table", "inet", "router")
        for version, protocol, echo in ((4, "ip", "icmp"), (6, "ip6", "icmpv6")):
            at_ours = {4: "10.1.0.2", 6: "fd01::2"}[version]
            for sender, receiver, interface, to in ((self.host, self.guest, "wg0", theirs.address(version)),
                                                    (self.guest, self.host, "eth0", at_ours)):
                arrive = {arriving: self.count(receiver, "iifname %s %s type echo-request %s ecn %s" % (
                    interface, echo, protocol, arriving)) for arriving in ("ce", "not-ect")}
                for sent, arriving in ((2, "ce"), (0, "not-ect")):
                    with self.subTest(outer=outer, inner=version, sender=sender.name, sent=sent):
                        sender.run("ping", "-n", "-q", "-c", 3, "-i", 0.2, "-Q", sent, to)
                        self.assertEqual(arrive[arriving](), 3)

    def test_ecn_over_ipv4(self):
        self.ecn(4)

    def test_ecn_over_ipv6(self):
        self.ecn(6)

    def test_keepalives(self):
        """The kernel's persistent keepalives arrive, and count as nothing else"""
        theirs = self.connect("theirs")
        self.guest.reaches("10.1.0.2")
        peer = self.guest.text("wg", "show", "wg0", "peers").strip()
        received = int(self.ours.text("wg", "show", "wg0", "transfer").split("\t")[1])
        self.guest.run("wg", "set", "wg0", "peer", peer, "persistent-keepalive", 1)
        self.until(lambda: int(self.ours.text("wg", "show", "wg0", "transfer").split("\t")[1]) >= received + 3 * 32,
                   "keepalives")
