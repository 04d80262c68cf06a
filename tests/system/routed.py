"""host A - gateway A - router 1 - router 2 - gateway B - host B: two sites with a network of Linux routers between them.

    10.1.0.2   10.1.0.1  192.0.2.1     .254      middle      .254  198.51.100.1  10.2.0.1   10.2.0.2
    fd01::2    fd01::1   2001:db8:1::1  ::fe                  ::fe  2001:db8:2::1  fd02::1    fd02::2

The middle link can be narrow, and the routers can keep quiet about it.
"""
import os

import rig

CONFIG = """
[gateway]
name = "%(name)s"
workers = [%(core)d]

[[port]]
name = "wan"
device = "af_packet:wan0"
addresses = ["%(wan4)s/24", "%(wan6)s/64"]
mtu = %(mtu)d
%(wan_options)s

[[port]]
name = "lan"
device = "af_packet:lan0"
addresses = ["10.%(number)d.0.1/16", "fd0%(number)d::1/64"]
mtu = %(mtu)d
%(lan_options)s

[[route]]
to = "0.0.0.0/0"
via = "%(router4)s"
[[route]]
to = "::/0"
via = "%(router6)s"

[[tunnel]]
name = "wg0"
private-key-file = "%(name)s.key"
listen-port = 51820
addresses = ["10.255.0.%(number)d/24", "fdff::%(number)d/64"]
%(tunnel_options)s

[[tunnel.peer]]
public-key = "%(public)s"
endpoint = "%(endpoint)s"
allowed-ips = [%(allowed)s]
"""

OTHER_SITE = '"10.255.0.%(other)d/32", "fdff::%(other)d/128", "10.%(other)d.0.0/16", "fd0%(other)d::/64"'
WAN = {1: ("192.0.2.1", "2001:db8:1::1"), 2: ("198.51.100.1", "2001:db8:2::1")}
ROUTER = {1: ("192.0.2.254", "2001:db8:1::fe"), 2: ("198.51.100.254", "2001:db8:2::fe")}


class Site:
    def __init__(self, lab, number, mtu):
        self.number, self.name, self.key = number, "site%d" % number, rig.Key()
        self.machine, self.host = lab.machine("gateway-%d" % number), lab.machine("host-%d" % number)
        self.router = lab.machine("router-%d" % number)
        lab.cable(self.machine, "lan0", self.host, "eth0", mtu)
        lab.cable(self.machine, "wan0", self.router, "edge", mtu)
        rig.kernel_end(self.host, "eth0", "10.%d.0.2/16" % number, "fd0%d::2/64" % number)
        rig.kernel_end(self.router, "edge", ROUTER[number][0] + "/24", ROUTER[number][1] + "/64")
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.router.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.host.add_route("0.0.0.0/0", "10.%d.0.1" % number)
        self.host.add_route("::/0", "fd0%d::1" % number)
        self.gateway = self.config = None

    def address(self, version):
        return "10.%d.0.2" % self.number if version == 4 else "fd0%d::2" % self.number

    def forget_paths(self):
        """What a host has learned of paths would be the test's answer."""
        for flag in ("-4", "-6"):
            self.host.run("ip", flag, "route", "flush", "cache")


class RoutedSites:
    """`outer`: IP version between the gateways. `middle`: MTU of the link between the routers."""

    def __init__(self, lab, build, outer=4, mtu=1500, middle=1500):
        self.lab, self.build, self.outer, self.mtu = lab, build, outer, mtu
        self.a, self.b = Site(lab, 1, mtu), Site(lab, 2, mtu)
        lab.cable(self.a.router, "middle", self.b.router, "middle", middle)
        for site, other, own in ((self.a, self.b, 1), (self.b, self.a, 2)):
            rig.kernel_end(site.router, "middle", "203.0.113.%d/24" % own, "2001:db8:3::%d/64" % own)
            next_router = ("203.0.113.%d" % (3 - own), "2001:db8:3::%d" % (3 - own))
            site.router.add_route("10.0.0.0/8", ROUTER[own][0])  # nowhere: what is inside stays inside
            site.router.add_route("%s/32" % WAN[other.number][0], next_router[0])
            site.router.add_route("%s/128" % WAN[other.number][1], next_router[1])

    def start(self, tunnel_options="", wan_options="", lan_options="", allowed=None, wait=True):
        """`allowed`: the peer's allowed IPs; by default the other site. `wait`: until the hosts reach each other."""
        cores = sorted(os.sched_getaffinity(0))
        for site, other in ((self.a, self.b), (self.b, self.a)):
            self.lab.write(site.name + ".key", site.key.private + "\n")
            site.values = {
                "name": site.name, "number": site.number, "other": other.number, "core": cores[-1], "mtu": self.mtu,
                "wan4": WAN[site.number][0], "wan6": WAN[site.number][1], "router4": ROUTER[site.number][0],
                "router6": ROUTER[site.number][1], "public": other.key.public, "tunnel_options": tunnel_options,
                "wan_options": wan_options, "lan_options": lan_options,
                "allowed": allowed or OTHER_SITE % {"other": other.number},
                "endpoint": rig.endpoint(WAN[other.number][self.outer == 6], 51820)}
            site.config = self.lab.write(site.name + ".toml", CONFIG % site.values)
            site.gateway = rig.Gateway(site.machine, site.config, self.build, name=site.name).start()
        for version in (4, 6) if wait else ():
            self.a.host.reaches(self.b.address(version), timeout=30)
        return self

    def reload(self, site, **values):
        site.values.update(values)
        self.lab.write(site.name + ".toml", CONFIG % site.values)
        return site.gateway.ask("reload")["applied"]

    def filter_icmp(self, on):
        """Routers say nothing about packets that are too large."""
        for site in (self.a, self.b):
            site.router.run("nft", "flush", "ruleset")
            if on:
                site.router.run("nft", "-f", "-", stdin="""table inet quiet {
                    chain out {
                        type filter hook output priority 0;
                        icmp type destination-unreachable drop
                        icmpv6 type packet-too-big drop
                    }
                }""")

    def path_mtu(self, site):
        return site.gateway.ask("show")["tunnels"][0]["peers"][0].get("path_mtu")

    def diagnosis(self):
        return "\n".join(site.gateway.process.output()[-2000:] for site in (self.a, self.b) if site.gateway)
