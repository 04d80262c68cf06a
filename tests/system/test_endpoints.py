"""Where a peer is: names that change what they stand for, several addresses, several ways.

sluiced-fast-clock makes the minutes between two questions seconds. The peer is wireguard-go on X, which only ever answers;
its outer addresses are on X's loopback interface, so that any cable leads there. The name server is dnsmasq on X.
"""
import contextlib
import os
import re
import signal
import time
import unittest

import rig

NAME = "x.sluice.test"
PORT = 51820
INNER_GATEWAY, INNER_X = "10.66.0.1", "10.66.0.2"
FAR = ("203.0.113.1", "203.0.113.2", "2001:db8:f::3")
NOWHERE = "203.0.113.66"
NAME_SERVER, SILENT_SERVER = "203.0.113.53", "203.0.113.67"

CONFIG = """
[gateway]
name = "endpoints"

[[port]]
name = "wan"
device = "af_packet:wan0"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]

[[port]]
name = "second"
device = "af_packet:second0"
addresses = ["198.51.100.1/24"]

[[route]]
to = "0.0.0.0/0"
via = "192.0.2.2"
[[route]]
to = "::/0"
via = "2001:db8::2"

[[tunnel]]
name = "wg0"
private-key-file = "gateway.key"
listen-port = 51820
addresses = ["%(inner)s/24"]

[[tunnel.peer]]
name = "x"
public-key = "%(public)s"
endpoint = "%(endpoint)s"
allowed-ips = ["%(allowed)s/32"]
"""


class EndpointCase(unittest.TestCase):
    time_limit = 60

    def setUp(self):
        self.lab = rig.Lab()
        self.addCleanup(self.lab.close)
        self.machine, self.x = self.lab.machine("gateway"), self.lab.machine("x")
        self.lab.cable(self.machine, "wan0", self.x, "eth0")
        self.lab.cable(self.machine, "second0", self.x, "eth1")
        rig.kernel_end(self.x, "eth0", "192.0.2.2/24", "2001:db8::2/64")
        rig.kernel_end(self.x, "eth1", "198.51.100.2/24")
        self.x.sysctl("net.ipv6.conf.lo.disable_ipv6", 0)
        self.key, self.x_key = rig.Key(), rig.Key()
        self.wireguard = rig.WireguardGo(self.x).start(self.x_key, PORT, INNER_X + "/24")
        self.wireguard.add_peer(self.key.public, [INNER_GATEWAY + "/32"])
        self.gateway = None

    def diagnosis(self):
        return self.gateway.process.output()[-3000:] if self.gateway else "not started"

    def start_gateway(self, endpoint=NAME, scale=20):
        self.lab.write("gateway.key", self.key.private + "\n")
        config = self.lab.write("gateway.toml", CONFIG % {
            "inner": INNER_GATEWAY, "public": self.x_key.public, "endpoint": rig.endpoint(endpoint, PORT)
            if ":" in endpoint else "%s:%d" % (endpoint, PORT), "allowed": INNER_X})
        self.gateway = rig.Gateway(self.machine, config, os.environ["SLUICE_BUILD"], name="endpoints",
                                   daemon="sluiced-fast-clock")
        self.gateway.start(environment={"SLUICE_CLOCK_SCALE": str(scale)})

    def endpoint(self):
        """Address that the gateway sends to, or (none)."""
        shown = self.gateway.wg("show", "wg0", "endpoints").stdout.split()[1]
        return shown.removesuffix(":%d" % PORT).strip("[]")

    def until_endpoint(self, address, timeout=15):
        rig.wait_until(lambda: self.endpoint() == address, lambda: "endpoint %s instead of %s" % (address,
                                                                                                  self.endpoint()), timeout)


class Names(EndpointCase):
    def setUp(self):
        super().setUp()
        self.x.add_addresses("lo", NAME_SERVER + "/32")
        self.resolv_conf = self.lab.write("resolv.conf", "", mode=0o644)
        self.use_name_server(NAME_SERVER)
        self.machine.run("mount", "--bind", self.resolv_conf, "/etc/resolv.conf")
        self.hosts = self.lab.write("hosts", "", mode=0o644)
        self.server = None

    def use_name_server(self, address, timeout=2):
        with open(self.resolv_conf, "w", encoding="ascii") as file:
            file.write("nameserver %s\noptions timeout:%d attempts:1\n" % (address, timeout))

    def serve(self, *addresses):
        """The name stands for these from now on."""
        with open(self.hosts, "w", encoding="ascii") as file:
            file.writelines("%s %s\n" % (address, NAME) for address in addresses)
        if self.server:
            loaded = self.server.output().count("read " + self.hosts)
            self.server.child.send_signal(signal.SIGHUP)
            self.server.ready(lambda: self.server.output().count("read " + self.hosts) > loaded, "the names")
            return
        self.server = self.x.start("dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null",
                                   "--log-queries", "--no-resolv", "--no-hosts", "--addn-hosts=" + self.hosts, "--user=root",
                                   "--pid-file=", "--listen-address=" + NAME_SERVER, "--bind-interfaces")
        self.server.ready(lambda: "read " + self.hosts in self.server.output(), "the names")

    def move_x(self, old, new):
        if old:
            self.x.run("ip", "address", "del", "%s/%d" % (old, 128 if ":" in old else 32), "dev", "lo")
        self.x.add_addresses("lo", "%s/%d" % (new, 128 if ":" in new else 32))

    def test_follows_its_name(self):
        """Three addresses one after the other, of both families; each time the old one stops answering"""
        self.serve(FAR[0])
        self.move_x(None, FAR[0])
        self.start_gateway()
        for old, new in zip(FAR, FAR[1:] + FAR[:1]):
            self.machine.reaches(INNER_X)
            self.assertEqual(self.endpoint(), old)
            self.serve(new)
            self.move_x(old, new)
        self.machine.reaches(INNER_X)

    def test_next_address_is_tried(self):
        """The name stands for two addresses all the time, and X has one of them, now this, now that"""
        self.serve(FAR[2], FAR[0])
        self.move_x(None, FAR[0])
        self.start_gateway()
        for old, new in ((FAR[0], FAR[2]), (FAR[2], FAR[0])):
            self.machine.reaches(INNER_X)
            self.assertEqual(self.endpoint(), old)
            self.move_x(old, new)
        self.machine.reaches(INNER_X)

    def test_asked_again_although_nothing_happens(self):
        """Every few minutes, for a peer that nobody talks to; whoever talks is left alone"""
        self.serve(FAR[0])
        self.move_x(None, FAR[0])
        self.start_gateway(scale=100)
        self.until_endpoint(FAR[0])
        self.serve(FAR[1])
        self.until_endpoint(FAR[1])

    def test_a_peer_that_answers_stays(self):
        """Its name stands for another address: no reason to lose it"""
        self.serve(FAR[0])
        self.move_x(None, FAR[0])
        self.start_gateway(scale=100)
        self.machine.reaches(INNER_X)
        self.serve(NOWHERE)
        questions = "query[A] " + NAME
        before = self.server.output().count(questions)

        def asked_again():
            self.machine.ping(INNER_X, count=1)
            return self.server.output().count(questions) > before
        rig.wait_until(asked_again, "another question", 15)
        self.assertEqual(self.machine.ping(INNER_X, count=3), 3)
        self.assertEqual(self.endpoint(), FAR[0])

    def test_a_name_server_that_is_silent(self):
        """Control answers meanwhile, and the name is found when the server is"""
        self.serve(FAR[0])
        self.move_x(None, FAR[0])
        self.use_name_server(SILENT_SERVER, timeout=5)
        self.start_gateway()
        begin = time.monotonic()
        while time.monotonic() < begin + 3:
            asked = time.monotonic()
            self.assertEqual(self.endpoint(), "(none)")
            self.assertLess(time.monotonic() - asked, 3, "control waited")
        self.use_name_server(NAME_SERVER)
        self.until_endpoint(FAR[0], timeout=20)
        self.machine.reaches(INNER_X)


class Nobody(EndpointCase):
    def test_who_waited_in_vain_is_told(self):
        """90 seconds without an answer to the handshake: no key, so the host is unreachable"""
        self.start_gateway(NOWHERE, scale=60)
        before = self.gateway.drops().get("staged_discarded", 0)
        said = self.machine.run("ping", "-n", "-c", 1, "-W", 20, INNER_X, check=False).stdout
        self.assertRegex(said, "From %s icmp_seq=1 Destination Host Unreachable" % re.escape(INNER_GATEWAY))
        self.assertEqual(self.gateway.drops()["staged_discarded"], before + 1)


class TwoWans(EndpointCase):
    """One peer, reachable through either port; Linux's routes say which."""

    def through(self):
        """The ports that outer packets leave by while a few pings are answered."""
        count = lambda: {port["name"]: port["tx_packets"] for port in self.gateway.ask("show")["ports"]}
        before = count()
        self.assertEqual(self.machine.ping(INNER_X, count=10, interval=0.05), 10)
        after = count()
        return {name for name in after if after[name] - before[name] >= 10}

    def test_failover_by_routes(self):
        """A better route comes, goes, and its interface goes down: nothing is lost beyond the change"""
        self.x.add_addresses("lo", FAR[0] + "/32")
        self.start_gateway(FAR[0], scale=1)
        self.machine.reaches(INNER_X)
        self.assertEqual(self.through(), {"wan"})
        key = self.gateway.wg("show", "wg0", "latest-handshakes").stdout
        with self.pings() as ping:
            self.machine.run("ip", "route", "add", FAR[0], "via", "198.51.100.2", "metric", 5)
        self.assert_lost(ping, 2)
        self.assertEqual(self.through(), {"second"})
        with self.pings() as ping:
            self.machine.run("ip", "route", "del", FAR[0], "via", "198.51.100.2", "metric", 5)
        self.assert_lost(ping, 2)
        self.assertEqual(self.through(), {"wan"})
        self.machine.run("ip", "route", "add", FAR[0], "via", "198.51.100.2", "metric", 50)
        self.machine.run("ip", "route", "add", FAR[0], "via", "192.0.2.2", "metric", 5)
        rig.wait_until(lambda: self.through() == {"wan"}, "the better route")
        with self.pings() as ping:
            self.machine.run("ip", "link", "set", "wan", "down")
        self.assert_lost(ping, 5)
        self.assertEqual(self.through(), {"second"})
        self.assertEqual(self.gateway.wg("show", "wg0", "latest-handshakes").stdout, key, "no handshake was needed")

    @contextlib.contextmanager
    def pings(self):
        ping = self.machine.start("ping", "-n", "-D", "-c", 100, "-i", 0.02, "-W", 1, INNER_X)
        ping.ready(lambda: ping.output().count("bytes from") >= 20, "answers")
        yield ping
        ping.wait()

    def assert_lost(self, ping, most):
        lost = 100 - int(re.search(r"(\d+) received", ping.output())[1])
        self.assertLessEqual(lost, most, ping.output())
