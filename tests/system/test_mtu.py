"""MTU that just works: derived, learned from routers, and measured where they keep quiet. Every size: test_sizes.py."""
import json
import os
import re
import unittest

import rig
from routed import RoutedSites


class Paths(unittest.TestCase):
    time_limit = 240

    def sites(self, lab_options=None, **options):
        lab = rig.Lab()
        self.addCleanup(lab.close)
        self.routed = RoutedSites(lab, os.environ["SLUICE_BUILD"], **(lab_options or {}))
        return self.routed.start(**options)

    def diagnosis(self):
        return self.routed.diagnosis() if hasattr(self, "routed") else ""

    def until(self, condition, what, timeout=15.0):
        try:
            return rig.wait_until(condition, what, timeout)
        except rig.RigError as error:
            self.fail(str(error))

    def tunnel_mtu(self, site):
        return int(re.search(r"mtu (\d+)", site.machine.text("ip", "link", "show", "wg0"))[1])

    def test_tunnel_mtu_is_what_the_route_to_the_peer_leaves(self):
        sites = self.sites()
        a = sites.a
        self.until(lambda: self.tunnel_mtu(a) == 1420, "1420")
        a.machine.run("ip", "route", "replace", "198.51.100.1/32", "via", "192.0.2.254", "mtu", 1400)
        self.until(lambda: self.tunnel_mtu(a) == 1320, "the route's 1400 less 80")
        a.forget_paths()
        refused = a.host.run("ping", "-n", "-c", 1, "-W", 2, "-M", "do", "-s", 1372, sites.b.address(4), check=False)
        self.assertRegex(refused.stdout + refused.stderr, r"(?i)frag needed.*1320|mtu.1320")
        a.machine.run("ip", "route", "del", "198.51.100.1/32")
        self.until(lambda: self.tunnel_mtu(a) == 1420, "1420 again")
        # Set by hand it stands; set in the file, too, whatever the routes say.
        a.machine.run("ip", "link", "set", "wg0", "mtu", 1390)
        self.assertEqual(sites.reload(a, tunnel_options="mtu = 1350"), ['tunnel wg0: mtu "auto" -> 1350'])
        self.until(lambda: self.tunnel_mtu(a) == 1350, "the file's")
        a.machine.run("ip", "route", "replace", "198.51.100.1/32", "via", "192.0.2.254", "mtu", 1400)
        sites.reload(a, tunnel_options="")
        self.until(lambda: self.tunnel_mtu(a) == 1320, "derived again")

    def test_routers_are_believed(self):
        """ICMPv6 about an outer packet lowers the path; the inner sender is told what fits now"""
        sites = self.sites({"outer": 6, "middle": 1400})
        self.assertEqual(sites.path_mtu(sites.a), 1500)
        for version, size in ((4, 1392), (6, 1372)):
            sites.a.forget_paths()
            address = sites.b.address(version)
            refusals = self.until(lambda: re.findall(
                r"(?i)(?:mtu ?[=:] ?|too long, mtu.)(\d+)",
                sites.a.host.run("ping", "-n", "-c", 3, "-i", 0.3, "-W", 1, "-M", "do", "-s", size, address,
                                 check=False).stdout), "a refusal")
            self.assertIn("1320", refusals)
        self.assertEqual(sites.path_mtu(sites.a), 1400)
        sites.a.host.reaches(sites.b.address(4), size=1292)  # B finds the path by its first answer, which is lost
        self.assertEqual(sites.a.host.ping(sites.b.address(4), count=3, size=1292), 3)
        self.assertEqual(self.tunnel_mtu(sites.a), 1420)  # other peers are not this one

    def transfer(self, sites, version):
        """Bits per second of 100 MB of TCP from host A to host B."""
        # What is under way when the client has sent everything does not count as received.
        done = sites.a.host.run("iperf3", "-J", "-c", sites.b.address(version), "-n", "106M", check=False, timeout=120)
        result = json.loads(done.stdout)
        self.assertNotIn("error", result)
        self.assertGreaterEqual(result["end"]["sum_received"]["bytes"], 100_000_000)
        return result["end"]["sum_received"]["bits_per_second"]

    def through_a_black_hole(self, outer):
        sites = self.sites({"outer": outer, "middle": 1280})
        server = sites.b.host.serve_iperf()
        self.addCleanup(server.stop)
        for clamp in ("false", "true"):
            best = {True: 0, False: 0}
            for _ in range(3):  # others' load may hit one of the two
                for filtered in best:
                    sites.filter_icmp(filtered)
                    self.find_the_path_anew(sites, clamp)
                    best[filtered] = max(best[filtered], self.transfer(sites, 4))
                if best[True] > best[False] / 2:
                    break
            print("outer IPv%d, mss-clamp %s: %.0f Mbit/s unfiltered, %.0f filtered" %
                  (outer, clamp, best[False] / 1e6, best[True] / 1e6))
            self.assertGreater(best[True], best[False] / 2, "mss-clamp %s" % clamp)

    def find_the_path_anew(self, sites, clamp):
        for probe in ("false", "true"):
            for site in (sites.a, sites.b):
                site.forget_paths()
                sites.reload(site, tunnel_options="path-mtu-probe = %s\nmss-clamp = %s" % (probe, clamp))
        for site in (sites.a, sites.b):
            self.until(lambda: sites.path_mtu(site) == 1280, "the path to be found", 30)

    def test_black_hole_over_ipv4(self):
        """A path of 1280 bytes in the middle that filters ICMP: 100 MB of TCP at more than half the speed"""
        self.through_a_black_hole(4)

    def test_black_hole_over_ipv6(self):
        """The same where routers do not fragment"""
        self.through_a_black_hole(6)

    def test_without_probing_routers_fragment(self):
        """DF is clear on IPv4 outer packets, so nothing needs to be known of the path"""
        sites = self.sites({"outer": 4, "middle": 1280})
        sites.filter_icmp(True)
        server = sites.b.host.serve_iperf()
        self.addCleanup(server.stop)
        print("outer IPv4, fragments on the way: %.0f Mbit/s" % (self.transfer(sites, 4) / 1e6))
        self.assertEqual(sites.path_mtu(sites.a), 1500)
