"""Tunnels of drop-in mode under what the kernel's and wireguard-go's namespace tests ask: real traffic, real peers."""
import json
import os
import unittest

import rig

OUTER = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}


class TunnelCase(unittest.TestCase):
    """Two machines on a cable, `left` with sluice and `right` with sluice or wireguard-go."""

    time_limit = 90
    right_daemon = "sluiced"
    workers = 1

    def setUp(self):
        build = os.environ["SLUICE_BUILD"]
        self.lab = rig.Lab()
        self.addCleanup(self.lab.close)
        self.lab.environment["SLUICE_WORKERS"] = str(self.workers)
        self.left, self.right = self.lab.machine("left"), self.lab.machine("right")
        self.lab.cable(self.left, "eth0", self.right, "eth0")
        for machine, number in ((self.left, 1), (self.right, 2)):
            rig.kernel_end(machine, "eth0", "192.0.2.%d/24" % number, "2001:db8::%d/64" % number)
            machine.run("ethtool", "-K", "eth0", "tx", "on")
        self.keys = rig.Key(), rig.Key()
        go = self.right_daemon == "wireguard-go"
        self.a = rig.WireguardGo(self.left, daemon="sluiced", build=build)
        self.b = rig.WireguardGo(self.right, daemon=self.right_daemon, build=None if go else build)
        self.a.start(self.keys[0], 51820, "10.77.0.1/24", "fd77::1/64")
        self.b.start(self.keys[1], 51820, "10.77.0.2/24", "fd77::2/64")

    def diagnosis(self):
        return self.a.process.output()[-2000:]

    def connect(self, family=4, first="left"):
        """Whoever is `first` has an endpoint and begins."""
        begins = first == "left"
        self.a.add_peer(self.keys[1].public, ["10.77.0.2/32", "fd77::2/128"],
                        rig.endpoint(OUTER[family][1], 51820) if begins else None)
        self.b.add_peer(self.keys[0].public, ["10.77.0.1/32", "fd77::1/128"],
                        None if begins else rig.endpoint(OUTER[family][0], 51820))
        starter, there = (self.left, 2) if begins else (self.right, 1)
        starter.reaches("10.77.0.%d" % there)
        starter.reaches("fd77::%d" % there)

    def transfer(self, address, *options):
        """Several buffers full, so that flow control has its say; serve_iperf() first."""
        end = self.left.iperf(address, *options, amount="16M")["end"]
        self.assertGreater(end["sum_received"]["bytes"], 1 << 20)
        return end


class WithWireguardGo(TunnelCase):
    right_daemon = "wireguard-go"

    def test_both_roles_and_families(self):
        for family in (4, 6):
            for first in ("left", "right"):
                with self.subTest(outer=family, first=first):
                    for tunnel, key in ((self.a, self.keys[1]), (self.b, self.keys[0])):
                        tunnel.set("peer", key.public, "remove")
                    self.connect(family, first)
                    self.assertEqual(self.left.ping("10.77.0.2"), 3)
                    self.assertEqual(self.right.ping("fd77::1"), 3)

    def test_streams(self):
        """Super-frames in, the other's packets out, and back"""
        self.connect()
        self.right.serve_iperf()
        self.transfer("10.77.0.2", "-P", "8")
        self.transfer("10.77.0.2", "-R")
        self.transfer("fd77::2")
        udp = self.left.iperf("10.77.0.2", "-u", "-b", "5M", "-l", "1000", seconds=1)["end"]["sum"]
        self.assertLess(udp["lost_percent"], 60, "wireguard-go on a busy machine")


class WithSluice(TunnelCase):
    def test_streams(self):
        self.connect(6)
        self.right.serve_iperf()
        self.transfer("10.77.0.2", "-P", "8")
        self.transfer("fd77::2", "-R")

    def test_many_flows(self):
        """Fifty TCP connections each way; datagrams of many flows in their order"""
        self.connect()
        self.right.serve_iperf()
        for options in (["-P", "50"], ["-P", "50", "-R"]):
            self.assertEqual(len(self.transfer("10.77.0.2", *options)["streams"]), 50)
        for address in ("10.77.0.2", "fd77::2"):
            end = self.left.iperf(address, "-u", "-P", "20", "-b", "1M", "-l", "400", seconds=1)["end"]
            self.assertEqual([s["udp"]["out_of_order"] for s in end["streams"]], [0] * 20)
            self.assertLess(end["sum"]["lost_percent"], 60, "a busy machine")

    def test_tunnel_in_a_tunnel(self):
        """D-21"""
        self.connect()
        keys, inner = (rig.Key(), rig.Key()), []
        for number, machine in enumerate((self.left, self.right)):
            inner.append(rig.WireguardGo(machine, "wg1", daemon="sluiced", build=os.environ["SLUICE_BUILD"]))
            inner[number].start(keys[number], 51821, "10.78.0.%d/24" % (number + 1), mtu=1340)
        for number in (0, 1):
            inner[number].add_peer(keys[1 - number].public, ["10.78.0.%d/32" % (2 - number)],
                                   "10.77.0.%d:51821" % (2 - number))
        self.left.reaches("10.78.0.2")
        self.assertEqual(self.left.ping("10.78.0.2", size=1312), 3)
        self.assertEqual(self.right.ping("10.78.0.1", size=5000), 3)
        self.right.serve_iperf()
        self.transfer("10.78.0.2")

    def test_route_mtu(self):
        """D-05: a route narrower than the interface, whose MTU is no multiple of the padding"""
        self.connect()
        self.left.run("ip", "route", "replace", "10.77.0.2/32", "dev", "wg0", "mtu", 1299)
        for size in (1269, 1271, 1400):
            self.left.reaches("10.77.0.2", size=size)

    def test_mtu_steps(self):
        """D-03, D-05: every size arrives, whatever the MTU of tunnel and path; far above an ordinary buffer, too"""
        self.connect()
        for mtu, sizes in ((1420, (0, 56, 1392)), (1299, (1271, 1400)), (9000, (1500, 8972)), (34736, (34000,))):
            for machine in (self.left, self.right):
                machine.run("ip", "link", "set", "wg0", "mtu", mtu)
            for size in sizes:
                with self.subTest(mtu=mtu, size=size):
                    self.left.reaches("10.77.0.2", size=size)

    def test_source_filter(self):
        """M-16: only what the peer may send gets through"""
        self.connect()
        self.left.add_addresses("wg0", "10.77.0.9/32")
        self.assertEqual(self.left.ping("10.77.0.2", count=2, timeout=1, source="10.77.0.9"), 0)
        self.assertEqual(self.left.ping("10.77.0.2"), 3)

    def test_key_change(self):
        """U-20"""
        self.connect()
        new = rig.Key()
        self.a.set("private-key", "/dev/stdin", stdin=new.private)
        self.b.set("peer", self.keys[0].public, "remove")
        self.b.add_peer(new.public, ["10.77.0.1/32", "fd77::1/128"])
        self.left.reaches("10.77.0.2", timeout=3)

    def test_unreachable(self):
        """D-19, I-14: who sends where no peer is, or none that can be reached, hears of it"""
        self.a.add_peer(self.keys[1].public, ["10.77.0.2/32", "fd77::2/128"])
        for address, text in (("10.77.0.2", "Destination Host Unreachable"), ("10.77.0.99", "Destination Host Unreachable"),
                              ("fd77::99", "Address unreachable")):
            done = self.left.run("ping", "-n", "-c", 1, "-W", 1, address, check=False)
            self.assertIn(text, done.stdout, address)

    def test_moved_to_another_namespace(self):
        """The sockets stay where they were made; state and end of the interface are followed"""
        self.connect()
        inside = self.lab.machine("inside")
        self.left.run("ip", "link", "set", "wg0", "netns", inside.pid)
        inside.add_addresses("wg0", "10.77.0.1/24")
        inside.run("ip", "link", "set", "wg0", "mtu", 1400, "up")
        inside.reaches("10.77.0.2")
        self.assertEqual(inside.ping("10.77.0.2", size=1372), 3)
        inside.run("ip", "link", "del", "wg0")
        self.assertEqual(self.a.process.wait(5), 0)

    def test_loop_through_itself(self):
        """D-22: an endpoint that is routed into its own tunnel"""
        self.a.add_peer(self.keys[1].public, ["0.0.0.0/0"], "10.88.0.1:51820")
        self.left.run("ip", "route", "replace", "10.88.0.0/16", "dev", "wg0")
        self.left.ping("10.88.0.7", count=3, timeout=1)

        def sent():
            return int(self.left.text("wg", "show", "wg0", "transfer").split()[2])
        self.assertLess(sent(), 70000)

    def test_roaming(self):
        """R-01, R-07: the other side changes its address, and its family, under way"""
        self.connect()
        self.right.run("ip", "address", "add", "192.0.2.7/24", "dev", "eth0")
        self.right.run("ip", "address", "del", "192.0.2.2/24", "dev", "eth0")
        self.right.run("ip", "address", "add", "192.0.2.7/24", "dev", "eth0", check=False)
        self.right.reaches("10.77.0.1")
        self.until_endpoint("192.0.2.7")
        self.b.set("peer", self.keys[0].public, "endpoint", "[2001:db8::1]:51820")
        self.right.reaches("10.77.0.1")
        self.until_endpoint("[2001:db8::2]")
        self.assertEqual(self.left.ping("10.77.0.2"), 3)

    def until_endpoint(self, address):
        rig.wait_until(lambda: address in self.left.text("wg", "show", "wg0", "endpoints"), "endpoint " + address)


class WithThreeWorkers(TunnelCase):
    workers = 3
    test_mtu_steps = WithSluice.test_mtu_steps
    test_roaming = WithSluice.test_roaming
    until_endpoint = WithSluice.until_endpoint

    def worker_stats(self):
        cli = rig.program("sluice", os.environ["SLUICE_BUILD"])
        return json.loads(self.left.text(cli, "stats", "--json"))["workers"]

    def packets_by_worker(self, stage):
        return [sum(s["packets"] for s in worker["stages"] if s["name"] == stage) for worker in self.worker_stats()]

    def test_messages_arrive_at_the_worker_that_has_their_key(self):
        """whatever the port they come from: by that alone, two of three would arrive at another"""
        self.connect()
        for port in range(51821, 51829):
            self.b.set("listen-port", port)
            self.right.reaches("10.77.0.1")
            self.until_endpoint("192.0.2.2:%d" % port)
        self.assertEqual([worker["handed_off"] for worker in self.worker_stats()], [0] * self.workers)

    def test_flows_are_spread_and_keep_their_order(self):
        """D-09: TCP connections go by several workers, datagrams, whole or in fragments, by one"""
        self.connect()
        self.right.serve_iperf()
        for address in ("10.77.0.2", "fd77::2"):
            before = self.packets_by_worker("encapsulate")
            for options in (["-P", "20"], ["-P", "20", "-R"]):
                self.transfer(address, *options)
            after = self.packets_by_worker("encapsulate")
            self.assertEqual(sum(b > a + 20 for a, b in zip(before, after)), self.workers)
            for size in (400, 3000):
                end = self.left.iperf(address, "-u", "-P", "10", "-b", "1M", "-l", size, seconds=1)["end"]
                self.assertEqual([s["udp"]["out_of_order"] for s in end["streams"]], [0] * 10)


class BehindNat(unittest.TestCase):
    """`left` is behind a router that translates its address and forgets what was silent for two seconds."""

    time_limit = 60

    def setUp(self):
        build = os.environ["SLUICE_BUILD"]
        self.lab = rig.Lab()
        self.addCleanup(self.lab.close)
        self.left, self.router, self.right = [self.lab.machine(name) for name in ("left", "router", "right")]
        for end, interface, network in ((self.left, "inside", "192.168.1"), (self.right, "outside", "192.0.2")):
            self.lab.cable(end, "eth0", self.router, interface)
            rig.kernel_end(end, "eth0", network + ".2/24")
            rig.kernel_end(self.router, interface, network + ".1/24")
            end.run("ethtool", "-K", "eth0", "tx", "on")
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.left.add_route("192.0.2.0/24", "192.168.1.1")
        done = self.router.run("nft", "-f", "-", stdin=NAT, check=False)
        if done.returncode:
            self.skipTest("this kernel translates no addresses: %s" % done.stderr.strip().splitlines()[0])
        for kind in ("udp_timeout", "udp_timeout_stream"):
            self.router.sysctl("net.netfilter.nf_conntrack_" + kind, 2)
        self.keys = rig.Key(), rig.Key()
        self.a, self.b = [rig.WireguardGo(machine, daemon="sluiced", build=build) for machine in (self.left, self.right)]
        self.a.start(self.keys[0], 51820, "10.77.0.1/24")
        self.b.start(self.keys[1], 51820, "10.77.0.2/24")
        self.a.add_peer(self.keys[1].public, ["10.77.0.2/32"], "192.0.2.2:51820")
        self.b.add_peer(self.keys[0].public, ["10.77.0.1/32"])
        self.left.reaches("10.77.0.2")

    def diagnosis(self):
        return self.a.process.output()[-2000:]

    def is_mapped(self):
        flows = self.router.text("cat", "/proc/net/nf_conntrack")
        return any("src=192.168.1.2 " in flow and " udp " in flow for flow in flows.splitlines())

    def test_keepalive_keeps_the_mapping(self):
        """T-13: without it the other side reaches nobody, with it at any time"""
        self.assertIn("192.0.2.1:", self.right.text("wg", "show", "wg0", "endpoints"))
        # Nothing is due meanwhile: a passive keepalive comes ten seconds after data, at the earliest.
        rig.wait_until(lambda: not self.is_mapped(), "the router to forget", 9)
        self.assertEqual(self.right.ping("10.77.0.1", count=1, timeout=1), 0)
        self.a.set("peer", self.keys[1].public, "persistent-keepalive", 1)
        rig.wait_until(self.is_mapped, "the first keepalive")
        for _ in range(30):
            self.left.run("sleep", 0.1)
            self.assertTrue(self.is_mapped())
        self.right.reaches("10.77.0.1", timeout=3)


NAT = """
table ip nat {
  chain out {
    type nat hook postrouting priority 100;
    oifname "outside" masquerade;
  }
}
"""


if __name__ == "__main__":
    unittest.main()
