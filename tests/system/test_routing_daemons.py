"""Routing daemons that know nothing of sluice: they see its ports and tunnels as Linux interfaces, and packets follow them."""
import os
import unittest

import rig
from daemons import Frr
from routed import RoutedSites

BGP = """
frr defaults datacenter
router bgp 6500%(number)d
 bgp router-id 10.255.0.%(number)d
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 bgp network import-check
 neighbor 10.255.0.%(other)d remote-as 6500%(other)d
 neighbor 10.255.0.%(other)d timers connect 1
 neighbor fdff::%(other)d remote-as 6500%(other)d
 neighbor fdff::%(other)d timers connect 1
 address-family ipv4 unicast
  network 10.%(number)d.0.0/16
  neighbor 10.255.0.%(other)d activate
 exit-address-family
 address-family ipv6 unicast
  network fd0%(number)d::/64
  neighbor fdff::%(other)d activate
 exit-address-family
"""
ANYTHING = '"0.0.0.0/0", "::/0"'


class Bgp(unittest.TestCase):
    """Two gateways without a route to each other's site; BGP sessions over the tunnel, one for each family."""

    time_limit = 60

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.sites = RoutedSites(cls.lab, os.environ["SLUICE_BUILD"])
        cls.sites.start(tunnel_options='routes = "off"', allowed=ANYTHING, wait=False)
        cls.a, cls.b = cls.sites.a, cls.sites.b
        cls.frr = {}
        for site, other in ((cls.a, cls.b), (cls.b, cls.a)):
            cls.frr[site] = Frr(site.machine, BGP % {"number": site.number, "other": other.number})
        for site, other in ((cls.a, cls.b), (cls.b, cls.a)):
            for neighbour in ("10.255.0.%d" % other.number, "fdff::%d" % other.number):
                rig.wait_until(lambda s=site, n=neighbour: cls.frr[s].established(n), "BGP with %s" % neighbour, 30)

    def diagnosis(self):
        return self.sites.diagnosis() + "\n".join(frr.output() for frr in self.frr.values())

    def has_route(self, site, prefix):
        return bool(site.machine.text("ip", "-6" if ":" in prefix else "-4", "route", "show", prefix, "proto", "bgp"))

    def wait_for_route(self, site, prefix, wanted=True):
        rig.wait_until(lambda: self.has_route(site, prefix) == wanted,
                       "%s %s %s" % (site.name, "to have" if wanted else "to lose", prefix))

    def answers(self, address):
        """Asks once, and waits no longer than a second."""
        return self.b.host.run("ping", "-n", "-c", 1, "-w", 1, address, check=False).returncode == 0

    def test_sites_reach_each_other(self):
        """No route in the files leads there"""
        for site, other in ((self.a, self.b), (self.b, self.a)):
            for version, prefix in ((4, "10.%d.0.0/16" % other.number), (6, "fd0%d::/64" % other.number)):
                self.wait_for_route(site, prefix)
                site.host.reaches(other.address(version))
                self.assertEqual(site.host.ping(other.address(version), count=20, interval=0.02), 20)

    def test_prefixes_come_and_go(self):
        """What is announced at A while all is running is reached from B, and no longer once it is withdrawn"""
        for family, network, address in (("ipv4", "10.77.0.0/24", "10.77.0.1"), ("ipv6", "fd77::/64", "fd77::1")):
            version = family[-1]
            rig.kernel_end(self.a.host, "eth0", address + network[-3:])
            self.a.machine.add_route(network, self.a.address(int(version)))
            self.addCleanup(self.a.machine.run, "ip", "-" + version, "route", "del", network)
            announce = ["configure terminal", "router bgp 65001", "address-family %s unicast" % family]
            for _ in range(2):
                self.assertFalse(self.has_route(self.b, network))
                self.frr[self.a].vtysh(*announce, "network " + network, daemon="bgpd")
                self.wait_for_route(self.b, network)
                self.b.host.reaches(address)
                self.assertEqual(self.b.host.ping(address, count=20, interval=0.02), 20)
                self.frr[self.a].vtysh(*announce, "no network " + network, daemon="bgpd")
                self.wait_for_route(self.b, network, wanted=False)
                rig.wait_until(lambda: not self.answers(address), "packets to stop")

    def test_a_thousand_prefixes(self):
        """They are in the forwarding table soon after Linux has them, and gone with the session"""
        networks = ["10.%d.%d.0/24" % (100 + i // 256, i % 256) for i in range(1000)]
        rig.kernel_end(self.a.host, "eth0", "10.102.231.1/32", "10.103.231.1/32")
        self.a.machine.run("ip", "-batch", "-", stdin="".join("route add %s via 10.1.0.2\n" % n for n in networks))
        announce = ["configure terminal", "router bgp 65001", "address-family ipv4 unicast"]
        self.frr[self.a].vtysh(*announce, "redistribute kernel", daemon="bgpd")
        count = lambda: len(self.b.machine.text("ip", "route", "show", "proto", "bgp").splitlines())
        rig.wait_until(lambda: count() >= 1000, "1,000 routes")
        self.b.host.reaches("10.103.231.1", timeout=5)
        self.frr[self.a].vtysh(*announce, "no redistribute kernel", daemon="bgpd")
        rig.wait_until(lambda: count() < 100, "routes to go")
        rig.wait_until(lambda: not self.answers("10.103.231.1"), "packets to stop")
