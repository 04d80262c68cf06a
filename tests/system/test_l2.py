"""What is under IP: VLANs, one port for everything, several ports and tunnels. The other side is Linux's network
stack: ARP, neighbour discovery and pings are its own; the remote peers are wireguard-go.
"""
import socket
import struct
import time

import pywg
import rig
import trunk
from layer2 import PORT, L2Case


class Vlans(L2Case):
    PORTS = """
[[port]]
name = "trunk"
device = "af_packet:trunk0"
addresses = ["192.168.1.1/24"]

[[port]]
name = "lan"
parent = "trunk"
vlan = 20
addresses = ["10.1.0.1/24", "fd01::1/64"]

[[port]]
name = "wan"
parent = "trunk"
vlan = 10
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
"""

    def setUp(self):
        super().setUp()
        self.wire, self.remote, self.host = (self.lab.machine(name) for name in ("wire", "remote", "host"))
        self.lab.cable(self.machine, "trunk0", self.wire, "eth0")
        rig.kernel_end(self.wire, "eth0", "192.168.1.2/24")
        self.trunk = trunk.Trunk(self.wire, "eth0", 10, 20, 30)
        self.addCleanup(self.trunk.close)
        self.give(self.wire, "v10", self.remote)
        rig.kernel_end(self.remote, "v10", "192.0.2.2/24", "2001:db8::2/64")
        self.give(self.wire, "v20", self.host)
        rig.kernel_end(self.host, "v20", "10.1.0.2/24", "fd01::2/64")
        self.default_route(self.host, "10.1.0.1", "fd01::1")
        self.wire.run("ip", "link", "set", "v30", "up")

    def test_both_sides_on_one_cable(self):
        """The tunnel's outside in one VLAN, its inside in another, the trunk itself untagged"""
        for address in ("192.0.2.2", "2001:db8::2"):
            with self.subTest(outside=address):
                self.start(self.PORTS, (0, self.remote, address))
                for inner in ("10.60.0.2", "fd60::2"):
                    self.host.reaches(inner)
                before = self.ports()
                for size in (56, 1300, 1392 - 28):
                    self.assertEqual(self.host.ping("10.60.0.2", count=5, size=size), 5)
                after = self.ports()
                moved = {name: (after[name]["rx_packets"] - before[name]["rx_packets"],
                                after[name]["tx_packets"] - before[name]["tx_packets"]) for name in after}
                for name in ("lan", "wan"):
                    self.assertGreaterEqual(min(moved[name]), 15, moved)
                self.assertGreaterEqual(min(moved["trunk"]), 30, moved)
                self.assertEqual(self.wire.ping("192.168.1.1", count=3), 3)
                self.gateway.stop()
                self.remote.run("ip", "link", "del", "peer0")

    def test_to_linux_and_back(self):
        """What is for the gateway itself: its mirror of the VLAN answers, and its pings leave tagged"""
        self.start(self.PORTS, (0, self.remote, "192.0.2.2"))
        for address in ("10.1.0.1", "fd01::1"):
            self.host.reaches(address)
            self.assertEqual(self.host.ping(address, count=3, size=1400), 3)
        for address in ("10.1.0.2", "fd01::2", "192.0.2.2"):
            self.machine.reaches(address)

    def test_vlans_of_nobody(self):
        """A named drop; a tag that is a priority alone is as good as none"""
        self.start(self.PORTS, (0, self.remote, "192.0.2.2"))
        self.wire.reaches("192.168.1.1")
        self.wait_for_quiet()
        mac = lambda machine, name: bytes.fromhex(machine.text("cat", "/sys/class/net/%s/address" % name).strip().replace(
            ":", ""))
        gateway, own = mac(self.machine, "trunk"), mac(self.wire, "eth0")
        udp = struct.pack(">HHHH", 1, 2, 8, 0)
        to_host = pywg.ipv4("192.168.1.2", "10.1.0.2", 17, udp)
        before = self.gateway.drops()
        self.trunk.send(30, gateway + own + b"\x08\x00" + to_host)
        rig.wait_until(lambda: self.gateway.drops_since(before) == {"vlan_unknown": 1},
                       lambda: "drops, which moved by %s" % self.gateway.drops_since(before), 3)
        with self.host.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as sniffer:
            sniffer.bind(("v20", 0x0800))
            sniffer.settimeout(3)
            self.trunk.send(0, gateway + own + b"\x08\x00" + to_host, priority=5)
            while sniffer.recv(2000)[12:20] != to_host[12:20]:
                pass
        self.assertEqual(self.gateway.drops_since(before), {"vlan_unknown": 1})

    def wait_for_quiet(self):
        last = [self.gateway.drops(), time.monotonic()]

        def quiet():
            now = self.gateway.drops()
            if now != last[0]:
                last[:] = [now, time.monotonic()]
            return time.monotonic() - last[1] > 1
        rig.wait_until(quiet, "the drop counters to stand still", 20)

    def test_tagged_only(self):
        """A device whose every frame is tagged: what is not is nobody's"""
        ports = """
[[port]]
name = "wan"
device = "af_packet:trunk0"
vlan = 10
addresses = ["192.0.2.1/24"]
"""
        self.start(ports, (0, self.remote, "192.0.2.2"))
        self.machine.reaches("10.60.0.2")
        self.assertEqual(self.remote.ping("192.0.2.1", count=3), 3)
        before = self.gateway.drops().get("vlan_unknown", 0)
        self.assertEqual(self.wire.ping("192.168.1.1", count=1, timeout=1), 0)
        self.assertGreater(self.gateway.drops().get("vlan_unknown", 0), before)


class OnAStick(L2Case):
    PORTS = """
[[port]]
name = "vpc"
device = "af_packet:vpc0"
addresses = ["172.31.16.10/24", "fd16::10/64"]
"""

    def test_in_and_out_by_the_same_port(self):
        """Host, gateway and remote peer on one switch, as in a cloud's subnet"""
        switch, host, remote = (self.lab.machine(name) for name in ("switch", "host", "remote"))
        switch.run("ip", "link", "add", "br0", "type", "bridge")
        switch.run("ip", "link", "set", "br0", "up")
        for index, (machine, interface) in enumerate(((self.machine, "vpc0"), (host, "eth0"), (remote, "eth0"))):
            self.lab.cable(switch, "p%d" % index, machine, interface)
            switch.run("ip", "link", "set", "p%d" % index, "master", "br0")
        rig.kernel_end(host, "eth0", "172.31.16.20/24", "fd16::20/64")
        rig.kernel_end(remote, "eth0", "172.31.16.30/24", "fd16::30/64")
        self.default_route(host, "172.31.16.10", "fd16::10")
        self.start(self.PORTS, (0, remote, "172.31.16.30"))
        for inner in ("10.60.0.2", "fd60::2"):
            host.reaches(inner)
            self.assertEqual(host.ping(inner, count=5, size=1300), 5)
        host.serve_iperf()
        sent = remote.iperf("172.31.16.20", "-B", "10.60.0.2", seconds=1)
        self.assertGreater(sent["end"]["sum_received"]["bytes"], 100_000)


class SeveralTunnels(L2Case):
    PORTS = """
[[port]]
name = "first"
device = "af_packet:first0"
addresses = ["192.0.2.1/24"]

[[port]]
name = "second"
device = "af_packet:second0"
addresses = ["2001:db8:2::1/64"]

[[port]]
name = "lan"
device = "af_packet:lan0"
addresses = ["10.1.0.1/24", "fd01::1/64"]
"""

    def test_each_by_its_port(self):
        """Two tunnels with listen ports of their own, over two ports, one IPv4 and one IPv6, and a third inside"""
        one, two, host = (self.lab.machine(name) for name in ("one", "two", "host"))
        self.lab.cable(self.machine, "first0", one, "eth0")
        self.lab.cable(self.machine, "second0", two, "eth0")
        self.lab.cable(self.machine, "lan0", host, "eth0")
        rig.kernel_end(one, "eth0", "192.0.2.2/24")
        rig.kernel_end(two, "eth0", "2001:db8:2::2/64")
        rig.kernel_end(host, "eth0", "10.1.0.2/24", "fd01::2/64")
        self.default_route(host, "10.1.0.1", "fd01::1")
        self.start(self.PORTS, (0, one, "192.0.2.2"), (1, two, "2001:db8:2::2"))
        for inner in ("10.60.0.2", "fd60::2", "10.61.0.2", "fd61::2"):
            host.reaches(inner)
            self.assertEqual(host.ping(inner, count=3), 3)
        one.reaches("10.61.0.2", source="10.60.0.2")
        self.assertEqual(one.ping("10.61.0.2", count=3, source="10.60.0.2"), 3, "out of one tunnel, into the other")
        self.assertEqual(two.ping("10.60.0.2", count=3, source="10.61.0.2"), 3)
        ports = {tunnel["name"]: tunnel["listen_port"] for tunnel in self.gateway.ask("show")["tunnels"]}
        self.assertEqual(ports, {"wg0": PORT, "wg1": PORT + 1})
