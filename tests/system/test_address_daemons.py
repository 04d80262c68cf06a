"""Daemons that give a gateway's ports their addresses: VRRP by keepalived, DHCP by dhclient. Both see ordinary Linux
interfaces; packets follow the addresses."""
import os
import re
import time
import unittest

import rig
from daemons import Dhclient, Dnsmasq, Keepalived
from layer2 import L2Case
from trunk import Trunk

PORTS = """
[gateway]
name = "%(name)s"

[[port]]
name = "wan"
device = "af_packet:wan0"
addresses = [%(wan)s]
[[port]]
name = "lan"
device = "af_packet:lan0"
addresses = [%(lan)s]

[[tunnel]]
name = "wg0"
private-key-file = "gateway.key"
listen-port = 51820
addresses = ["10.255.0.1/24"]
[[tunnel.peer]]
public-key = "%(peer)s"
endpoint = "203.0.113.9:51820"
allowed-ips = ["10.255.0.9/32"]
persistent-keepalive = 25
"""


class Network:
    """host - [lan] gateways [wan] - router - remote peer, which is wireguard-go. Gateways share the key."""

    REMOTE, HOST = "10.255.0.9", "10.1.0.9"

    def __init__(self, lab, gateways):
        self.lab, self.build = lab, os.environ["SLUICE_BUILD"]
        self.key, self.remote_key = rig.Key(), rig.Key()
        lab.write("gateway.key", self.key.private + "\n")
        self.host, self.router, self.remote = (lab.machine(name) for name in ("host", "router", "remote"))
        self.machines = [lab.machine("gateway-%d" % number) for number in range(1, gateways + 1)]
        lab.cable(self.remote, "eth0", self.router, "far")
        rig.kernel_end(self.remote, "eth0", "203.0.113.9/24")
        rig.kernel_end(self.router, "far", "203.0.113.1/24")
        self.remote.add_route("0.0.0.0/0", "203.0.113.1")
        self.router.sysctl("net.ipv4.ip_forward", 1)
        for number, machine in enumerate(self.machines):
            lab.cable(machine, "wan0", self.router, "edge%d" % number)
            lab.cable(machine, "lan0", self.host, "eth%d" % number)
        for machine, ends in ((self.router, "edge"), (self.host, "eth")):
            machine.run("ip", "link", "add", "lan", "type", "bridge")
            for number in range(gateways):
                machine.run("ip", "link", "set", "%s%d" % (ends, number), "master", "lan")
            machine.run("ip", "link", "set", "lan", "up")
        rig.kernel_end(self.router, "lan", "192.0.2.254/24")
        rig.kernel_end(self.host, "lan", self.HOST + "/16")
        self.gateways, self.wireguard = [], None

    def start_gateway(self, wan, lan):
        machine = self.machines[len(self.gateways)]
        values = {"name": machine.name, "wan": wan, "lan": lan, "peer": self.remote_key.public}
        self.gateways.append(rig.Gateway(machine, self.lab.write(machine.name + ".toml", PORTS % values), self.build,
                                         name=machine.name).start())
        return self.gateways[-1]

    def start_remote(self, endpoint=None):
        self.wireguard = rig.WireguardGo(self.remote).start(self.remote_key, 51820, self.REMOTE + "/24")
        self.wireguard.add_peer(self.key.public, ["10.255.0.1/32", "10.1.0.0/16"], endpoint)

    def endpoint_of_gateway(self):
        """Where the remote peer sends what is for the gateways."""
        return self.remote.text("wg", "show", "wg0", "endpoints").split()[1]

    def output(self):
        return "\n".join(gateway.process.output()[-2000:] for gateway in self.gateways)


VRRP = """
global_defs {
    router_id %(name)s
    vrrp_garp_master_refresh 1
}
vrrp_sync_group both {
    group { wan lan }
}
vrrp_instance wan {
    state BACKUP
    interface wan
    virtual_router_id 51
    priority %(priority)d
    advert_int 0.3
    virtual_ipaddress { 192.0.2.10/24 dev wan }
    virtual_routes { 0.0.0.0/0 via 192.0.2.254 dev wan src 192.0.2.10 }
}
vrrp_instance lan {
    state BACKUP
    interface lan
    virtual_router_id 52
    priority %(priority)d
    advert_int 0.3
    virtual_ipaddress { 10.1.0.1/16 dev lan }
}
"""
LONGEST_SILENCE = 3.0  # seconds from the move of the address


class Stream:
    """Ten echo requests a second, and when each answer came."""

    def __init__(self, machine, address, count=600):
        self.process = machine.start("ping", "-n", "-D", "-i", "0.1", "-c", count, address)

    def answers(self):
        return [float(stamp) for stamp in re.findall(r"^\[([\d.]+)\] \d+ bytes from", self.process.output(), re.M)]

    def resumes_after(self, when):
        """Seconds from `when` to the first answer after it, once there are three."""
        rig.wait_until(lambda: sum(stamp > when for stamp in self.answers()) >= 3, "answers", 20)
        return min(stamp for stamp in self.answers() if stamp > when) - when


class Vrrp(unittest.TestCase):
    """Two gateways with one identity, one of them at the addresses the world knows. The route out, with the virtual
    address as its source, is VRRP's as well: the standby says nothing, so the peer does not follow it."""

    time_limit = 90

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.network = Network(cls.lab, 2)
        cls.host, cls.remote = cls.network.host, cls.network.remote
        cls.keepalived = []
        for number in (1, 2):
            cls.network.start_gateway('"192.0.2.%d/24"' % number, '"10.1.0.1%d/16"' % number)
            cls.start_keepalived(number)
        cls.host.add_route("0.0.0.0/0", "10.1.0.1")
        cls.network.start_remote("192.0.2.10:51820")
        cls.first, cls.second = cls.network.machines

    @classmethod
    def start_keepalived(cls, number):
        machine = cls.network.machines[number - 1]
        cls.keepalived[number - 1:number] = [Keepalived(machine, VRRP % {"name": machine.name,
                                                                        "priority": 200 - 50 * number})]

    def diagnosis(self):
        return "\n".join([self.network.output()] + [daemon.output()[-3000:] for daemon in self.keepalived])

    def is_master(self, machine):
        return all(address in machine.text("ip", "-4", "address", "show", "dev", port)
                   for port, address in (("wan", "192.0.2.10/24"), ("lan", "10.1.0.1/16")))

    def when_master(self, machine):
        rig.wait_until(lambda: self.is_master(machine), "%s to be master" % machine.name, 30)
        return time.time()

    def check_resumed(self, moved, streams):
        for name, stream in streams.items():
            self.assertLess(stream.resumes_after(moved), LONGEST_SILENCE, name)
        self.assertEqual(self.network.endpoint_of_gateway(), "192.0.2.10:51820")

    def test_the_standby_takes_over(self):
        """The master fails without a word; comes back, and takes over again; and hands over in good order"""
        self.when_master(self.first)
        self.host.reaches(self.network.REMOTE)
        self.assertFalse(self.is_master(self.second))
        streams = {"from the site": Stream(self.host, self.network.REMOTE),
                   "to the site": Stream(self.remote, self.network.HOST)}
        for stream in streams.values():
            stream.resumes_after(0)

        with self.subTest("the master is dead"):
            self.keepalived[0].kill()
            self.network.gateways[0].process.child.kill()
            self.check_resumed(self.when_master(self.second), streams)
        with self.subTest("the master is back"):
            self.network.gateways[0].start()
            self.start_keepalived(1)
            self.check_resumed(self.when_master(self.first), streams)
        with self.subTest("the master hands over"):
            self.keepalived[0].stop()
            self.check_resumed(self.when_master(self.second), streams)
        with self.subTest("the master, which has run on, takes over with sessions of old"):
            self.start_keepalived(1)
            self.check_resumed(self.when_master(self.first), streams)
        for stream in streams.values():
            stream.process.child.kill()


class Dhcp(unittest.TestCase):
    """A port without an address gets one on its mirror; the tunnel comes up over it."""

    time_limit = 60

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.network = Network(cls.lab, 1)
        cls.network.start_remote()
        cls.gateway = cls.network.start_gateway("", '"10.1.0.1/16"')
        cls.machine = cls.gateway.machine
        cls.network.host.add_route("0.0.0.0/0", "10.1.0.1")

    def diagnosis(self):
        return "\n".join([self.network.output(), self.server.output()[-3000:], self.client.output()[-3000:]])

    def test_the_tunnel_comes_up_over_a_lease(self):
        self.server = Dnsmasq(self.network.router, "lan", "--dhcp-range=192.0.2.100,192.0.2.120,2m",
                              "--dhcp-option=option:router,192.0.2.254")
        self.client = Dhclient(self.machine, "wan")
        rig.wait_until(lambda: "bound to" in self.client.output(), "a lease", 20)
        address = re.search(r"bound to ([\d.]+)", self.client.output())[1]
        self.assertIn(address + "/24", self.machine.text("ip", "-4", "address", "show", "dev", "wan"))
        # Its keepalive wants a session: it starts as soon as there is a way, not with the next retry.
        begin = time.monotonic()
        rig.wait_until(lambda: address in self.network.remote.text("wg", "show", "wg0", "endpoints"), "a handshake")
        self.assertLess(time.monotonic() - begin, 3)
        self.network.host.reaches(self.network.REMOTE, timeout=5)
        self.assertEqual(self.network.host.ping(self.network.REMOTE, count=10, interval=0.05), 10)


class DhcpOnAVlan(L2Case):
    """The same on a VLAN of a cable, where the provider is: its mirror sends what dhclient sends tagged."""

    PORTS = """
[[port]]
name = "trunk"
device = "af_packet:trunk0"
[[port]]
name = "wan"
parent = "trunk"
vlan = 10
"""

    def diagnosis(self):
        return "\n".join([super().diagnosis(), self.server.output()[-3000:], self.client.output()[-3000:]])

    def test_the_tunnel_comes_up_over_a_lease(self):
        wire, provider = self.lab.machine("wire"), self.lab.machine("provider")
        self.lab.cable(self.machine, "trunk0", wire, "eth0")
        trunk = Trunk(wire, "eth0", 10, 20)
        self.addCleanup(trunk.close)
        self.give(wire, "v10", provider)
        rig.kernel_end(provider, "v10", "192.0.2.254/24")
        self.start(self.PORTS, (0, provider, "192.0.2.254"))
        self.assertEqual(self.machine.text("ip", "-4", "address", "show", "dev", "wan"), "")
        self.server = Dnsmasq(provider, "v10", "--dhcp-range=192.0.2.100,192.0.2.120,2m",
                              "--dhcp-option=option:router,192.0.2.254")
        self.client = Dhclient(self.machine, "wan")
        rig.wait_until(lambda: "bound to" in self.client.output(), "a lease", 20)
        address = re.search(r"bound to ([\d.]+)", self.client.output())[1]
        self.assertIn(address + "/24", self.machine.text("ip", "-4", "address", "show", "dev", "wan"))
        self.assertIn("default via 192.0.2.254 dev wan", self.machine.text("ip", "route"))
        self.machine.reaches("10.60.0.2")
        self.assertEqual(self.machine.ping("10.60.0.2", count=10, interval=0.05), 10)
        self.assertEqual(provider.text("wg", "show", "peer0", "endpoints").split()[1], address + ":51820")
