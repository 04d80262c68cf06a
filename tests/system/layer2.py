"""One gateway for tests of what is under IP: its ports are given, the remote peers are wireguard-go."""
import os
import unittest

import rig

PORT = 51820

GATEWAY = """
[gateway]
name = "l2"
%(ports)s
%(tunnels)s
"""
TUNNEL = """
[[tunnel]]
name = "%(name)s"
private-key-file = "%(name)s.key"
listen-port = %(port)d
addresses = ["10.6%(number)d.0.1/24", "fd6%(number)d::1/64"]
[[tunnel.peer]]
public-key = "%(public)s"
endpoint = "%(endpoint)s"
allowed-ips = ["10.6%(number)d.0.2/32", "fd6%(number)d::2/128"]
"""


class L2Case(unittest.TestCase):
    time_limit = 60

    def setUp(self):
        self.lab = rig.Lab()
        self.addCleanup(self.lab.close)
        self.machine = self.lab.machine("gateway")
        self.gateway = None

    def diagnosis(self):
        return self.gateway.process.output()[-3000:] if self.gateway else "not started"

    def give(self, machine, interface, to):
        machine.run("ip", "link", "set", interface, "netns", to.pid)
        to.run("ip", "link", "set", interface, "up")

    def peer(self, machine, number, gateway_key):
        """wireguard-go as the remote end of tunnel wg<number>; its public key."""
        key = rig.Key()
        daemon = rig.WireguardGo(machine, "peer%d" % number).start(key, PORT, "10.6%d.0.2/24" % number,
                                                                   "fd6%d::2/64" % number)
        daemon.add_peer(gateway_key.public, ["0.0.0.0/0", "::/0"])
        return key.public

    def start(self, ports, *tunnels):
        """tunnels: (number, machine that runs the remote peer, its outer address)"""
        text = ""
        for number, machine, address in tunnels:
            key = rig.Key()
            self.lab.write("wg%d.key" % number, key.private + "\n")
            text += TUNNEL % {"name": "wg%d" % number, "number": number, "port": PORT + number,
                              "public": self.peer(machine, number, key), "endpoint": rig.endpoint(address, PORT)}
        config = self.lab.write("l2.toml", GATEWAY % {"ports": ports, "tunnels": text})
        self.gateway = rig.Gateway(self.machine, config, os.environ["SLUICE_BUILD"], name="l2",
                                   tunnel="wg%d" % tunnels[0][0]).start()

    def ports(self):
        return {port["name"]: port for port in self.gateway.ask("show")["ports"]}

    def default_route(self, machine, *gateways):
        for address in gateways:
            machine.add_route("::/0" if ":" in address else "0.0.0.0/0", address)
