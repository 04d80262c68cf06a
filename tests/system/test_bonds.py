"""Ports that are several cables: DPDK's bonds, when a cable is lost and when one goes silent."""
import contextlib
import os
import re
import select
import socket
import threading
import time

import rig
from layer2 import L2Case


class Wire:
    """A cable between two interfaces that can be cut without either end losing its link."""

    def __init__(self, *ends):
        """ends: (machine, interface) twice"""
        self.sockets = [machine.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) for machine, _ in ends]
        for end, (_, interface) in zip(self.sockets, ends):
            end.bind((interface, 3))  # ETH_P_ALL
        self.cut, self.carried = False, 0
        self.ended, self.wake = os.pipe()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            ready = select.select([self.ended, *self.sockets], [], [])[0]
            if self.ended in ready:
                return
            for number, end in enumerate(self.sockets):
                if end in ready:
                    with contextlib.suppress(OSError):  # an interface went down
                        frame, sender = end.recvfrom(65536)
                        if sender[2] != socket.PACKET_OUTGOING and not self.cut:
                            self.sockets[1 - number].send(frame)
                            self.carried += frame[12:14] != b"\x88\x09"  # not LACP's own

    def close(self):
        os.write(self.wake, b"x")
        self.thread.join()
        for descriptor in (self.ended, self.wake):
            os.close(descriptor)
        for end in self.sockets:
            end.close()


class Bonds(L2Case):
    time_limit = 60

    @contextlib.contextmanager
    def pings(self, address, count=150):
        """Fifty a second; from the second on the block runs. `lost` is their number afterwards."""
        ping = self.machine.start("ping", "-n", "-c", count, "-i", 0.02, "-W", 1, address)
        ping.ready(lambda: "bytes from" in ping.output(), "answers")
        result = {}
        yield result
        ping.wait(30)
        result["lost"] = count - int(re.search(r"(\d+) received", ping.output())[1])


class ActiveBackup(Bonds):
    WAN = """
[[port]]
name = "wan"
members = ["%s", "%s"]
bond = "active-backup"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
"""
    LONGEST = 50  # pings lost while another member takes over: a second

    def setUp(self):
        super().setUp()
        self.switch, self.remote = self.lab.machine("switch"), self.lab.machine("remote")
        self.lab.cable(self.switch, "r0", self.remote, "eth0")
        rig.kernel_end(self.remote, "eth0", "192.0.2.2/24", "2001:db8::2/64")

    def connect(self, machine, *interfaces):
        """Cables from there to the switch's ports p0 and p1."""
        self.switch.run("ip", "link", "add", "br0", "type", "bridge")
        for number, interface in enumerate(interfaces):
            self.lab.cable(machine, interface, self.switch, "p%d" % number)
        for port in ("p0", "p1", "r0"):
            self.switch.run("ip", "link", "set", port, "master", "br0", "up")
        self.switch.run("ip", "link", "set", "br0", "up")

    def fails_over(self, set_link):
        """set_link(number of the member, up or down)"""
        for address in ("10.60.0.2", "fd60::2"):
            self.machine.reaches(address)
        self.assertEqual(self.active_member(), 0)
        with self.pings("10.60.0.2") as first:
            set_link(0, "down")
        self.assertLess(first["lost"], self.LONGEST)
        self.assertEqual(self.active_member(), 1)
        with self.pings("fd60::2") as back:  # the other one's return is no reason to change again
            set_link(0, "up")
        self.assertLessEqual(back["lost"], 1)
        self.assertEqual(self.active_member(), 1)
        with self.pings("fd60::2") as second:
            set_link(1, "down")
        self.assertLess(second["lost"], self.LONGEST)
        self.assertEqual(self.active_member(), 0)
        print("lost of fifty a second: %d, %d" % (first["lost"], second["lost"]))

    def active_member(self):
        """The one by which packets come to the switch, and which has the bond's address."""
        count = lambda: [int(self.switch.text("cat", "/sys/class/net/p%d/statistics/rx_packets" % n)) for n in (0, 1)]
        before = count()
        self.assertEqual(self.machine.ping("10.60.0.2", count=10, interval=0.02), 10)
        active = [n for n, (was, now) in enumerate(zip(before, count())) if now - was >= 10]
        self.assertEqual(len(active), 1, "only one carries packets")
        self.assertEqual(self.address_of("m%d" % active[0]), self.address_of("wan"))
        return active[0]

    def address_of(self, interface):
        return self.machine.text("cat", "/sys/class/net/%s/address" % interface).strip()

    def test_kernel_interfaces(self):
        """The switch's port goes down"""
        self.connect(self.machine, "m0", "m1")
        self.start(self.WAN % ("af_packet:m0", "af_packet:m1"), (0, self.remote, "192.0.2.2"))
        self.assertEqual(self.ports()["wan"]["device"], "active-backup:af_packet:m0+af_packet:m1")
        self.fails_over(lambda number, to: self.switch.run("ip", "link", "set", "p%d" % number, to))

    def test_tap_devices(self):
        """Their driver knows of the link, but says nothing to the bond"""
        middle = self.lab.machine("middle")
        self.connect(middle, "a0", "a1")
        self.start(self.WAN % ("tap:m0", "tap:m1"), (0, self.remote, "192.0.2.2"))
        for number in (0, 1):
            wire = Wire((self.machine, "m%d" % number), (middle, "a%d" % number))
            self.addCleanup(wire.close)
        self.fails_over(lambda number, to: self.machine.run("ip", "link", "set", "m%d" % number, to))


LACP = """
[gateway]
name = "%(name)s"
[[port]]
name = "wan"
members = ["%(kind)s:m0", "%(kind)s:m1"]
bond = "lacp"
addresses = ["192.0.2.%(number)d/24"]
[[port]]
name = "tagged"
parent = "wan"
vlan = 7
addresses = ["10.7.0.%(number)d/24"]
[[tunnel]]
name = "wg0"
private-key-file = "wg-%(name)s.key"
listen-port = 51820
addresses = ["10.60.0.%(number)d/24"]
[[tunnel.peer]]
public-key = "%(public)s"
endpoint = "192.0.2.%(far)d:51820"
allowed-ips = ["10.60.0.%(far)d/32"]
"""


class Lacp(Bonds):
    """Two gateways and two cables between them."""

    FLOWS = range(5000, 5016)  # UDP ports: the bond chooses the member by them

    def setUp(self):
        super().setUp()
        self.other = self.lab.machine("other")
        self.wires = []

    def start_both(self, kind):
        keys = {"gateway": rig.Key(), "other": rig.Key()}
        gateways = []
        for number, (machine, far) in enumerate(((self.machine, "other"), (self.other, "gateway")), 1):
            self.lab.write("wg-%s.key" % machine.name, keys[machine.name].private)
            config = self.lab.write("lacp-%d.toml" % number, LACP % {
                "name": machine.name, "number": number, "far": 3 - number, "public": keys[far].public, "kind": kind})
            gateways.append(rig.Gateway(machine, config, os.environ["SLUICE_BUILD"], name=machine.name).start())
        self.gateway = gateways[0]

    def wire(self, *ends):
        self.wires.append(Wire(*ends))
        self.addCleanup(self.wires[-1].close)

    def until_agreed(self):
        self.machine.reaches("10.60.0.2", timeout=30)
        rig.wait_until(lambda: self.living_flows() == set(self.FLOWS), "all flows", 20)

    def living_flows(self):
        """Those of the flows between the gateways that get through."""
        arrived = set()
        with contextlib.ExitStack() as stack:
            receivers = {}
            for port in self.FLOWS:
                receiver = stack.enter_context(self.other.socket(socket.AF_INET, socket.SOCK_DGRAM))
                receiver.bind(("192.0.2.2", port))
                receivers[receiver] = port
            sender = stack.enter_context(self.machine.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sender.bind(("192.0.2.1", 0))
            for port in self.FLOWS:
                sender.sendto(b"flow", ("192.0.2.2", port))
            while ready := select.select(set(receivers) - arrived, [], [], 0.5)[0]:
                arrived.update(ready)
            return {receivers[receiver] for receiver in arrived}

    def test_agreement(self):
        """Nothing is carried until both sides have agreed, as tcpdump reads it; then tunnels and VLANs are"""
        for member in ("m0", "m1"):
            self.lab.cable(self.machine, member, self.other, member)
        captures = [self.other.start("tcpdump", "-i", member, "-n", "-v", "-l", "ether proto 0x8809")
                    for member in ("m0", "m1")]
        for capture in captures:
            capture.ready(lambda: "listening on" in capture.output(), "tcpdump to listen")
        self.start_both("af_packet")
        self.machine.reaches("10.60.0.2", timeout=30)
        for address in ("192.0.2.2", "10.60.0.2", "10.7.0.2"):
            self.machine.reaches(address)
            self.assertEqual(self.machine.ping(address, count=5), 5)
        for capture in captures:
            self.assertIn("Synchronization, Collecting, Distributing]", capture.output())

    def test_a_lost_link(self):
        """Where the driver says so, as that of a NIC does, the flows of the lost cable move at once"""
        self.start_both("tap")
        for member in ("m0", "m1"):
            self.wire((self.machine, member), (self.other, member))
        self.until_agreed()
        with self.pings("10.60.0.2") as ping:
            for machine in (self.machine, self.other):
                machine.run("ip", "link", "set", "m0", "down")
        self.assertLess(ping["lost"], 100)
        before = self.wires[0].carried
        self.assertEqual(self.living_flows(), set(self.FLOWS))
        self.assertEqual(self.wires[0].carried, before)

    def test_a_silent_member(self):
        """The link stays, but nothing passes: LACP finds out when its partner has been silent for three slow periods"""
        middle = self.lab.machine("middle")
        self.lab.cable(self.machine, "m0", middle, "a0")
        self.lab.cable(middle, "b0", self.other, "m0")
        self.lab.cable(self.machine, "m1", self.other, "m1")
        self.wire((middle, "a0"), (middle, "b0"))
        self.start_both("af_packet")
        self.until_agreed()
        self.wires[0].cut = True
        cut = time.monotonic()
        alive = self.living_flows()
        self.assertTrue(0 < len(alive) < len(self.FLOWS), "each cable has its flows, not %s" % alive)
        rig.wait_until(lambda: self.living_flows() == set(self.FLOWS), "the silent cable's flows on the other", 120)
        print("after %.0f s" % (time.monotonic() - cut))
        self.machine.reaches("10.60.0.2")
        self.assertEqual(self.machine.ping("10.60.0.2", count=5), 5)
        self.wires[0].cut = False
        before = self.wires[0].carried

        def carries_again():
            self.assertEqual(self.living_flows(), set(self.FLOWS), "nothing is lost when it comes back")
            return self.wires[0].carried > before
        rig.wait_until(carries_again, "the cable to be used again", 60)
    test_a_silent_member.time_limit = 240
