"""What Linux's routes say, packets do: several next hops, next hop objects, link-local next hops, rules and tables, and
which of several peers. While they change nothing is lost."""
import contextlib
import os
import socket
import struct
import threading
import time
import unittest

import rig

PORTS = """
[gateway]
name = "crossing"

[[port]]
name = "lan"
device = "af_packet:lan0"
addresses = ["10.1.0.1/16", "fd01::1/64"]
[[port]]
name = "wan1"
device = "af_packet:west0"
addresses = ["192.0.2.1/24"]
[[port]]
name = "wan2"
device = "af_packet:east0"
addresses = ["198.51.100.1/24"]
"""
CONFIG = PORTS + """
[[tunnel]]
name = "wg0"
private-key-file = "crossing.key"
listen-port = 51820
addresses = ["10.255.0.1/24"]
routes = "off"
fwmark = 51820
[[tunnel.peer]]
name = "far"
public-key = "%(far)s"
endpoint = "203.0.113.9:51820"
allowed-ips = ["10.255.0.9/32", "0.0.0.0/0"]
"""
FAR4, FAR6 = "203.0.113.9", "2001:db8:9::9"


class Crossroads:
    """host - [lan] gateway [wan1] - west - far, and [wan2] - east - far. West and east are Linux routers."""

    def __init__(self, lab):
        self.host, self.gateway, self.west, self.east, self.far = (
            lab.machine(name) for name in ("host", "gateway", "west", "east", "far"))
        lab.cable(self.gateway, "lan0", self.host, "eth0")
        rig.kernel_end(self.host, "eth0", "10.1.0.2/16", "fd01::2/64")
        self.host.add_route("0.0.0.0/0", "10.1.0.1")
        self.host.add_route("::/0", "fd01::1")
        for number, (name, router, near) in enumerate((("west", self.west, "192.0.2."), ("east", self.east, "198.51.100."))):
            lab.cable(self.gateway, name + "0", router, "near")
            lab.cable(router, "far", self.far, name)
            rig.kernel_end(router, "near", near + "254/24", "fe80::fe/64")
            rig.kernel_end(router, "far", "172.16.%d.1/24" % number, "fd16:%d::1/64" % number)
            rig.kernel_end(self.far, name, "172.16.%d.2/24" % number, "fd16:%d::2/64" % number)
            router.sysctl("net.ipv4.ip_forward", 1)
            router.sysctl("net.ipv6.conf.all.forwarding", 1)
            router.add_route(FAR4 + "/32", "172.16.%d.2" % number)
            router.add_route(FAR6 + "/128", "fd16:%d::2" % number)
            router.add_route("10.1.0.0/16", near + "1")
            router.run("ip", "-6", "route", "add", "fd01::/64", "via", "fe80::1", "dev", "near")
        rig.kernel_end(self.far, "lo", FAR4 + "/32", FAR6 + "/128")
        self.far.add_route("0.0.0.0/0", "172.16.0.1")  # back by the west, whichever way it came
        self.far.add_route("198.51.100.0/24", "172.16.1.1")
        self.far.add_route("::/0", "fd16:0::1")
        for key in ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.east.rp_filter"):
            self.far.sysctl(key, 0)

    @contextlib.contextmanager
    def counted(self):
        """How many packets the routers got from the gateway meanwhile."""
        def received(router):
            return int(router.text("cat", "/sys/class/net/near/statistics/rx_packets"))
        result, before = {}, {router: received(router) for router in (self.west, self.east)}
        yield result
        result.update({router.name: received(router) - before[router] for router in before})


class Stream:
    """Numbered datagrams from a machine to another at a steady rate; what became of them."""

    def __init__(self, source, destination, address, rate=200):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.rate, self.sent, self.seen, self.ended = rate, 0, set(), threading.Event()
        self.receiver = destination.socket(family, socket.SOCK_DGRAM)
        self.receiver.bind((address, 5009))
        self.receiver.settimeout(0.1)
        self.sender = source.socket(family, socket.SOCK_DGRAM)
        self.sender.connect((address, 5009))
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while not self.ended.is_set():
            self.sender.send(struct.pack(">I", self.sent))
            self.sent += 1
            time.sleep(1 / self.rate)

    def receive(self):
        quiet_since = None
        while quiet_since is None or time.monotonic() - quiet_since < 1:
            try:
                self.seen.add(struct.unpack(">I", self.receiver.recv(100))[0])
                quiet_since = None
            except TimeoutError:
                if self.ended.is_set():
                    quiet_since = quiet_since or time.monotonic()

    def lost(self):
        """Ends it; the numbers of those that did not arrive."""
        self.ended.set()
        for thread in self.threads:
            thread.join(30)
        self.sender.close()
        self.receiver.close()
        return sorted(set(range(self.sent)) - self.seen)


class Routes(unittest.TestCase):
    time_limit = 60

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.net = Crossroads(cls.lab)
        cls.host, cls.far, cls.machine = cls.net.host, cls.net.far, cls.net.gateway
        cls.key, cls.far_key = rig.Key(), rig.Key()
        cls.lab.write("crossing.key", cls.key.private + "\n")
        cls.config = cls.lab.write("crossing.toml", CONFIG % {"far": cls.far_key.public})
        cls.gateway = rig.Gateway(cls.machine, cls.config, os.environ["SLUICE_BUILD"], name="crossing").start()
        for port in ("wan1", "wan2"):
            cls.machine.add_addresses(port, "fe80::1/64")

    def tearDown(self):
        for flag in ("-4", "-6"):
            for table in ("main", "100", "200"):
                self.ip(flag, "route", "flush", "table", table, "proto", "boot", check=False)
        self.ip("nexthop", "flush", check=False)
        for rule in self.rules:
            self.ip("rule", "del", *rule, check=False)

    def setUp(self):
        self.rules = []

    def diagnosis(self):
        return "\n".join([self.gateway.process.output()[-2000:], str(self.gateway.drops()),
                          self.machine.text("ip", "route"), self.machine.text("ip", "-6", "route"),
                          self.machine.text("ip", "neighbour"), self.machine.text("ip", "rule")])

    def ip(self, *arguments, check=True):
        return self.machine.run("ip", *arguments, check=check)

    def ip_batch(self, *lines):
        self.machine.run("ip", "-batch", "-", stdin="\n".join(lines))

    def rule(self, *arguments):
        self.ip("rule", "add", *arguments)
        self.rules.append(arguments)

    def shares(self, address, flows=100):
        """Of so many flows of one packet each, how many took each router."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.net.counted() as counted:
            for _ in range(flows):
                with self.host.socket(family, socket.SOCK_DGRAM) as flow:
                    flow.sendto(b"flow", (address, 5010))
                time.sleep(0.001)
            time.sleep(0.3)
        return counted

    def until_shares(self, address, west, east):
        """Until so large a part of the flows takes each router; (least, most)."""
        def check():
            shares = self.shares(address)
            return all(least * 100 <= shares[name] <= most * 100 + 20  # and what the gateway says of its own
                       for name, (least, most) in (("west", west), ("east", east)))
        rig.wait_until(check, "flows to go %s west, %s east" % (west, east), 15)

    ALL, NONE, HALF = (1, 1), (0, 0), (0.3, 0.7)

    def test_several_next_hops(self):
        """Equal and weighted; one that does not answer is not used; a flow stays with its own"""
        self.ip("route", "add", FAR4, "nexthop", "via", "192.0.2.254", "nexthop", "via", "198.51.100.254")
        self.until_shares(FAR4, self.HALF, self.HALF)
        for port in ("wan1", "wan2"):  # neighbours that are forgotten are found again
            self.ip("neighbour", "flush", "dev", port)
            self.until_shares(FAR4, self.HALF, self.HALF)
        with self.net.counted() as counted, self.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
            for _ in range(200):
                flow.sendto(b"flow", (FAR4, 5010))
                time.sleep(0.001)
            time.sleep(0.3)
        self.assertGreaterEqual(max(counted.values()), 200)
        self.assertLess(min(counted.values()), 20)
        self.ip("route", "replace", FAR4, "nexthop", "via", "192.0.2.254", "weight", 1, "nexthop", "via", "198.51.100.254",
                "weight", 9)
        self.until_shares(FAR4, (0.02, 0.25), (0.75, 0.98))
        self.ip("route", "replace", FAR4, "nexthop", "via", "192.0.2.254", "nexthop", "via", "198.51.100.77")
        self.until_shares(FAR4, self.ALL, self.NONE)

    def test_next_hop_objects(self):
        """What happens to the object happens to its routes, also where Linux does not spell it out"""
        for compatible in (1, 0):
            self.machine.sysctl("net.ipv4.nexthop_compat_mode", compatible)
            self.ip("nexthop", "add", "id", 1, "via", "192.0.2.254", "dev", "wan1")
            self.ip("nexthop", "add", "id", 2, "via", "198.51.100.254", "dev", "wan2")
            self.ip("nexthop", "add", "id", 3, "group", "1/2")
            self.ip("route", "add", FAR4, "nhid", 3)
            self.until_shares(FAR4, self.HALF, self.HALF)
            self.ip("nexthop", "replace", "id", 3, "group", "2")
            self.until_shares(FAR4, self.NONE, self.ALL)
            self.ip("nexthop", "replace", "id", 2, "via", "192.0.2.254", "dev", "wan1")
            self.until_shares(FAR4, self.ALL, self.NONE)
            self.ip("nexthop", "del", "id", 3)
            self.until_shares(FAR4, self.NONE, self.NONE)
            self.ip("nexthop", "flush")

    def test_link_local_next_hops(self):
        """The same address on both links: the link says whose"""
        self.ip("-6", "route", "add", FAR6, "via", "fe80::fe", "dev", "wan1")
        self.until_shares(FAR6, self.ALL, self.NONE)
        self.ip("-6", "route", "replace", FAR6, "via", "fe80::fe", "dev", "wan2")
        self.until_shares(FAR6, self.NONE, self.ALL)
        self.ip("-6", "route", "del", FAR6)
        self.ip("-6", "route", "add", FAR6, "nexthop", "via", "fe80::fe", "dev", "wan1", "nexthop", "via", "fe80::fe", "dev",
                "wan2")
        self.until_shares(FAR6, self.HALF, self.HALF)
        self.ip("route", "add", FAR4, "via", "inet6", "fe80::fe", "dev", "wan2")  # RFC 5549
        self.until_shares(FAR4, self.NONE, self.ALL)

    def test_nothing_is_lost_while_routes_change(self):
        """Sixty changes of the way under traffic of both families: each next hop, both, and none, where a shorter prefix
        takes over; and other routes come and go"""
        ways4 = ("via 192.0.2.254", "via 198.51.100.254", "nexthop via 192.0.2.254 nexthop via 198.51.100.254", None)
        ways6 = ("via fe80::fe dev wan1", "via fe80::fe dev wan2", None)
        self.ip_batch("route add 203.0.113.0/24 via 192.0.2.254", "route add 2001:db8:9::/64 via fe80::fe dev wan1",
                      "route add %s %s" % (FAR4, ways4[2]), "route add %s %s" % (FAR6, ways6[0]))
        self.host.reaches(FAR4)
        self.host.reaches(FAR6)
        before = self.gateway.drops()
        streams = [Stream(self.host, self.far, address) for address in (FAR4, FAR6)]
        for turn in range(60):
            ways = ((FAR4, ways4[turn % len(ways4)]), (FAR6, ways6[turn % len(ways6)]))
            other = "10.77.%d.0/24" % (turn // 2)
            self.ip_batch(*["route replace %s %s" % (to, way) if way else "route del %s" % to for to, way in ways],
                          "route del %s" % other if turn % 2 else "route add %s via 192.0.2.254" % other)
            time.sleep(0.02)
        self.assertEqual([stream.lost() for stream in streams], [[], []])
        self.assertEqual(self.gateway.drops_since(before), {})

    def test_nothing_is_lost_while_other_neighbours_change(self):
        """They come, change their address and go on both links, sixty times"""
        self.ip("route", "add", FAR4, "nexthop", "via", "192.0.2.254", "nexthop", "via", "198.51.100.254")
        self.ip("-6", "route", "add", FAR6, "via", "fe80::fe", "dev", "wan1")
        self.host.reaches(FAR4)
        self.host.reaches(FAR6)
        before = self.gateway.drops()
        streams = [Stream(self.host, self.far, address) for address in (FAR4, FAR6)]
        for turn in range(60):
            others = (("192.0.2.77", "wan1"), ("198.51.100.77", "wan2"), ("fe80::77", "wan1"))
            self.ip_batch(*["neighbour del %s dev %s" % other if turn % 3 == 2 else
                            "neighbour replace %s dev %s lladdr 02:00:00:00:77:%02x nud permanent" % (*other, turn)
                            for other in others])
            time.sleep(0.02)
        self.assertEqual([stream.lost() for stream in streams], [[], []])
        self.assertEqual(self.gateway.drops_since(before), {})

    def test_packets_wait_for_neighbours_that_vanish(self):
        """Linux forgets all of them under traffic, ten times: they are asked for, and sixteen packets wait for each; what a
        slow answer costs beyond that is counted"""
        self.ip("route", "add", FAR4, "via", "192.0.2.254")
        self.ip("-6", "route", "add", FAR6, "via", "fe80::fe", "dev", "wan1")
        self.host.reaches(FAR4)
        self.host.reaches(FAR6)
        before = self.gateway.drops()
        streams = [Stream(self.host, self.far, address, rate=50) for address in (FAR4, FAR6)]
        for _ in range(10):
            self.ip_batch(*["neighbour flush dev %s" % port for port in ("wan1", "wan2", "lan")])
            time.sleep(0.1)
        lost = sum(len(stream.lost()) for stream in streams)
        self.assertEqual(self.gateway.drops_since(before), {"neighbour_unresolved": lost} if lost else {})
        self.assertLessEqual(lost, sum(stream.sent for stream in streams) // 10)

    def test_a_neighbour_changes_its_address(self):
        """Another machine takes over the next hop's address and says so: what is lost was sent before Linux knew"""
        self.ip("route", "add", FAR4, "via", "192.0.2.254")
        self.host.reaches(FAR4)
        west, rate = self.net.west, 200
        original = west.text("cat", "/sys/class/net/near/address").strip()
        self.addCleanup(west.run, "ip", "link", "set", "near", "address", original)
        west.sysctl("net.ipv4.conf.near.arp_notify", 1)
        stream, blind = Stream(self.host, self.far, FAR4, rate=rate), 0
        for turn in range(5):
            address, begin = "02:00:00:00:88:%02x" % turn, time.monotonic()
            west.run("ip", "link", "set", "near", "address", address)
            rig.wait_until(lambda: address in self.ip("neighbour", "show", "192.0.2.254").stdout, "Linux to know")
            blind += time.monotonic() - begin + 0.02  # the gateway follows Linux within milliseconds
            seen = len(stream.seen)
            rig.wait_until(lambda: len(stream.seen) >= seen + 20, "packets to take the new address", 3)
        lost = stream.lost()
        print("lost %d of %d, blind for %.0f ms" % (len(lost), stream.sent, blind * 1000))
        self.assertLessEqual(len(lost), blind * rate + 5)

    def test_a_route_that_goes_is_said_to_be_gone(self):
        self.ip("route", "add", FAR4, "via", "192.0.2.254")
        self.host.reaches(FAR4)
        before = self.gateway.drops()
        self.ip("route", "del", FAR4)
        said = lambda: self.host.run("ping", "-n", "-c", 1, "-w", 1, FAR4, check=False).stdout
        rig.wait_until(lambda: "Net Unreachable" in said(), "the router to say so")
        self.assertEqual(set(self.gateway.drops_since(before)), {"no_route"})

    def test_the_tunnel_does_not_swallow_itself(self):
        """Everything into the tunnel, as wg-quick does it: by mark, rule and table; the tunnel's own packets by table main,
        or by the table that a rule names for its mark"""
        remote = rig.WireguardGo(self.far).start(self.far_key, 51820, "10.255.0.9/24")
        self.addCleanup(remote.stop)
        remote.set("peer", self.key.public, "allowed-ips", "10.255.0.1/32,10.1.0.0/16")
        self.far.run("ip", "route", "replace", "10.1.0.0/16", "dev", "wg0")
        self.addCleanup(self.far.run, "ip", "route", "del", "10.1.0.0/16", check=False)
        rig.kernel_end(self.far, "lo", "10.99.0.9/32")  # only the tunnel leads there
        self.ip("route", "add", "0.0.0.0/0", "via", "192.0.2.254")
        self.ip("route", "add", "0.0.0.0/0", "dev", "wg0", "table", 100)
        self.rule("not", "fwmark", 51820, "table", 100)
        self.rule("table", "main", "suppress_prefixlength", 0)
        self.host.reaches("10.99.0.9")
        with self.net.counted() as counted:
            self.assertEqual(self.host.ping("10.99.0.9", count=50, interval=0.01), 50)
            self.assertEqual(self.machine.ping("10.99.0.9", count=3), 3)  # the gateway's own packets follow Linux
        self.assertGreaterEqual(counted["west"], 50)
        self.assertLess(counted["east"], 20)
        self.ip("route", "add", "0.0.0.0/0", "via", "198.51.100.254", "table", 200)
        self.rule("fwmark", 51820, "table", 200, "priority", 100)

        def goes_east():
            with self.net.counted() as counted:
                self.host.ping("10.99.0.9", count=50, interval=0.01)
            return counted["east"] >= 50 and counted["west"] < 20
        rig.wait_until(goes_east, "the tunnel's packets to go east")
        self.assertEqual(self.host.ping("10.99.0.9", count=50, interval=0.01), 50)


SHARED = PORTS + """
[[tunnel]]
name = "wg0"
private-key-file = "crossing.key"
listen-port = 51820
addresses = ["10.255.0.1/24", "fdff::1/64"]
routes = "off"
shared-allowed-ips = %(shared)s
[[tunnel.peer]]
name = "west"
public-key = "%(west)s"
endpoint = "192.0.2.254:51820"
allowed-ips = ["10.255.0.2/32", "fdff::2/128", %(anything)s]
[[tunnel.peer]]
name = "east"
public-key = "%(east)s"
endpoint = "198.51.100.254:51820"
allowed-ips = ["10.255.0.3/32", "fdff::3/128", %(anything)s]
"""


class PeersByRoute(unittest.TestCase):
    """Two peers that may carry everything, both of them at the same places behind: the route's gateway says which does."""

    time_limit = 60
    PLACE4, PLACE6 = "10.99.0.9", "fd99::9"

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.net = Crossroads(cls.lab)
        cls.host, cls.machine = cls.net.host, cls.net.gateway
        cls.keys = {name: rig.Key() for name in ("crossing", "west", "east")}
        cls.lab.write("crossing.key", cls.keys["crossing"].private + "\n")
        cls.config = cls.configure("true")
        cls.gateway = rig.Gateway(cls.machine, cls.config, os.environ["SLUICE_BUILD"], name="crossing").start()
        for number, router in ((2, cls.net.west), (3, cls.net.east)):
            remote = rig.WireguardGo(router).start(cls.keys[router.name], 51820, "10.255.0.%d/24" % number,
                                                   "fdff::%d/64" % number)
            remote.set("peer", cls.keys["crossing"].public, "allowed-ips", "0.0.0.0/0,::/0")
            rig.kernel_end(router, "lo", cls.PLACE4 + "/32", cls.PLACE6 + "/128")
            router.run("ip", "route", "replace", "10.1.0.0/16", "dev", "wg0")
            router.run("ip", "-6", "route", "replace", "fd01::/64", "dev", "wg0")
        cls.machine.run("ip", "route", "add", "10.255.0.0/24", "dev", "wg0", check=False)

    @classmethod
    def configure(cls, shared, anything='"0.0.0.0/0", "::/0"'):
        return cls.lab.write("crossing.toml", SHARED % {"shared": shared, "anything": anything, "west": cls.keys["west"].public,
                                                       "east": cls.keys["east"].public})

    def diagnosis(self):
        return "\n".join([self.gateway.process.output()[-2000:], str(self.gateway.drops()),
                          self.machine.text("ip", "route")])

    def sent_to(self):
        """Bytes sent so far, by peer."""
        return {peer["name"]: peer["tx_bytes"] for peer in self.gateway.ask("show")["tunnels"][0]["peers"]}

    def carrier(self, machine, address):
        """The peer that carried ten answered pings."""
        before = self.sent_to()
        self.assertEqual(machine.ping(address, count=10, interval=0.01, size=1000), 10)
        after = self.sent_to()
        carried = [name for name in after if after[name] - before[name] > 10000]
        self.assertEqual(len(carried), 1)
        return carried[0]

    def test_the_gateway_chooses(self):
        """Forwarded packets and the gateway's own, both families; the other direction is allowed to each of them"""
        for place, peers in ((self.PLACE4, {"west": "10.255.0.2", "east": "10.255.0.3"}),
                             (self.PLACE6, {"west": "fdff::2", "east": "fdff::3"})):
            flag = "-6" if ":" in place else "-4"
            for name in ("west", "east", "west"):
                self.machine.run("ip", flag, "route", "replace", place, "via", peers[name], "dev", "wg0")
                for machine in (self.host, self.machine):
                    machine.reaches(place)
                    rig.wait_until(lambda m=machine: self.carrier(m, place) == name, "%s to carry" % name)
        self.assertNotIn("inner_source", self.gateway.drops())

    def test_several_gateways_share(self):
        """Flows over both peers at once, by a multipath route"""
        self.machine.run("ip", "route", "replace", self.PLACE4, "nexthop", "via", "10.255.0.2", "dev", "wg0", "nexthop",
                         "via", "10.255.0.3", "dev", "wg0")
        self.addCleanup(self.machine.run, "ip", "route", "del", self.PLACE4)
        self.host.reaches(self.PLACE4)

        def both_carry():
            before = self.sent_to()
            for _ in range(100):
                with self.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
                    flow.sendto(bytes(500), (self.PLACE4, 5010))
            after = self.sent_to()
            return all(after[name] - before[name] > 20 * 500 for name in after)
        rig.wait_until(both_carry, "both to carry")

    def test_without_the_switch_it_is_refused(self):
        """In one line, and nothing is lost"""
        self.addCleanup(self.configure, "true")
        self.configure("false")
        said = self.gateway.sluice("check", self.config, check=False)
        self.assertEqual(said.returncode, 1)
        lines = (said.stdout + said.stderr).strip().splitlines()
        self.assertEqual(len([line for line in lines if "shared-allowed-ips = true" in line]), 2, lines)
        self.assertEqual(len(self.sent_to()), 2)
