"""Each gateway can be replaced by another vendor's: sluice and Debian's wireguard-go, hosts behind both."""
import os
import re
import unittest

import rig

CONFIG = """
[gateway]
name = "interop"

[[port]]
name = "wan"
device = "af_packet:wan0"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]

[[port]]
name = "lan"
device = "af_packet:lan0"
addresses = ["10.1.0.1/24", "fd01::1/64"]

[[tunnel]]
name = "wg0"
private-key-file = "ours.key"
listen-port = 51820
addresses = ["10.255.0.1/24", "fdff::1/64"]
mss-clamp = true

[[tunnel.peer]]
name = "theirs"
public-key = "%(public)s"
allowed-ips = ["10.255.0.2/32", "fdff::2/128", "10.2.0.0/24", "fd02::/64"]
"""


class WireguardGo(unittest.TestCase):
    """Both roles, with and without a preshared key, IPv4 and IPv6 outside. Whoever has an endpoint begins."""

    time_limit = 60

    def connect(self, initiator, psk, outer):
        lab = rig.Lab()
        self.addCleanup(lab.close)
        ours, theirs = lab.machine("ours"), lab.machine("theirs")
        host_a, host_b = lab.machine("host-a"), lab.machine("host-b")
        lab.cable(ours, "wan0", theirs, "wan0")
        lab.cable(ours, "lan0", host_a, "eth0")
        lab.cable(theirs, "lan0", host_b, "eth0")
        rig.kernel_end(theirs, "wan0", "192.0.2.2/24", "2001:db8::2/64")
        rig.kernel_end(theirs, "lan0", "10.2.0.1/24", "fd02::1/64")
        rig.kernel_end(host_a, "eth0", "10.1.0.2/24", "fd01::2/64")
        rig.kernel_end(host_b, "eth0", "10.2.0.2/24", "fd02::2/64")
        for host, four, six in ((host_a, "10.1.0.1", "fd01::1"), (host_b, "10.2.0.1", "fd02::1")):
            host.add_route("0.0.0.0/0", four)
            host.add_route("::/0", six)
        theirs.sysctl("net.ipv4.ip_forward", 1)
        theirs.sysctl("net.ipv6.conf.all.forwarding", 1)
        our_key, their_key, secret = rig.Key(), rig.Key(), rig.preshared_key() if psk else None
        our_outer, their_outer = (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"))[outer == 6]

        lab.write("ours.key", our_key.private + "\n")
        text = CONFIG % {"public": their_key.public}
        if psk:
            lab.write("theirs.psk", secret + "\n")
            text += 'preshared-key-file = "theirs.psk"\n'
        if initiator == "ours":
            text += 'endpoint = "%s"\n' % rig.endpoint(their_outer, 51821)
        self.gateway = rig.Gateway(ours, lab.write("ours.toml", text), os.environ["SLUICE_BUILD"],
                                   name="interop").start()
        other = rig.WireguardGo(theirs).start(their_key, 51821, "10.255.0.2/24", "fdff::2/64")
        other.add_peer(our_key.public, ["10.255.0.1/32", "fdff::1/128", "10.1.0.0/24", "fd01::/64"],
                       endpoint=rig.endpoint(our_outer, 51820) if initiator == "theirs" else None, psk=secret)
        return ours, theirs, host_a, host_b

    def diagnosis(self):
        return self.gateway.process.output()[-3000:] if hasattr(self, "gateway") else ""

    def check(self, initiator, psk, outer):
        ours, theirs, host_a, host_b = self.connect(initiator, psk, outer)
        first, target = (host_a, "10.2.0.2") if initiator == "ours" else (host_b, "10.1.0.2")
        first.reaches(target)
        for source, four, six in ((host_a, "10.2.0.2", "fd02::2"), (host_b, "10.1.0.2", "fd01::2"),
                                  (ours, "10.255.0.2", "fdff::2"), (theirs, "10.255.0.1", "fdff::1")):
            source.reaches(four)
            source.reaches(six)
            self.assertEqual(source.ping(four, count=5), 5)
            self.assertEqual(source.ping(six, count=5, size=1200), 5)
        before = self.gateway.drops()
        for client, server, address in ((host_a, host_b, "10.2.0.2"), (host_b, host_a, "fd01::2")):
            serving = server.serve_iperf()
            self.assertGreater(client.iperf(address, seconds=1)["end"]["sum_received"]["bytes"], 1 << 20)
            serving.stop()
        # A queue of the rig may overflow under TCP, and Linux announces itself to multicast groups that no peer has;
        # anything else would be ours.
        self.assertLessEqual(set(self.gateway.drops_since(before)), {"transmit_full", "no_peer"})
        # What both sides say about the bytes agrees, for nothing was lost or counted twice.
        shown = ours.text("wg", "show", "wg0", "transfer").split("\t")
        self.assertGreater(int(shown[1]), 1 << 20)

    def test_we_initiate_ipv4(self):
        self.check("ours", False, 4)

    def test_we_initiate_ipv4_psk(self):
        self.check("ours", True, 4)

    def test_we_initiate_ipv6(self):
        self.check("ours", False, 6)

    def test_we_initiate_ipv6_psk(self):
        self.check("ours", True, 6)

    def test_link_local_outer(self):
        """A peer behind fe80:: is where its link is: in the handshake, by `wg set` and `wg show`, and when it roams."""
        ours, theirs, host_a, host_b = self.connect("nobody", False, 6)
        our_address, their_address = link_local(ours, "wan"), link_local(theirs, "wan0")
        peer = {machine: machine.text("wg", "show", "wg0", "peers").strip() for machine in (ours, theirs)}
        expected = "[%s%%wan]:51821" % their_address

        def we_send_to():
            return ours.text("wg", "show", "wg0", "endpoints").split("\t")[1].strip()

        def they_send_to(endpoint):
            theirs.run("wg", "set", "wg0", "peer", peer[theirs], "endpoint", endpoint)
            host_b.reaches("10.1.0.2")

        they_send_to("[%s%%wan0]:51820" % our_address)  # a handshake from there
        self.assertEqual(we_send_to(), expected)
        host_a.reaches("fd02::2")  # the first finds neighbours
        self.assertEqual(host_a.ping("fd02::2", count=5), 5)
        they_send_to("192.0.2.1:51820")  # data from elsewhere, and back
        rig.wait_until(lambda: we_send_to() == "192.0.2.2:51821", "us to follow to IPv4")
        they_send_to("[%s%%wan0]:51820" % our_address)
        rig.wait_until(lambda: we_send_to() == expected, "us to follow to the link-local address")
        self.assertEqual(host_a.ping("10.2.0.2", count=5), 5)
        # By hand, with a new session that we begin.
        ours.run("wg", "set", "wg0", "peer", peer[ours], "endpoint", "192.0.2.99:51821")
        ours.run("wg", "set", "wg0", "peer", peer[ours], "endpoint", expected)
        self.assertEqual(we_send_to(), expected)
        self.assertEqual(host_a.ping("10.2.0.2", count=5), 5)

    def test_they_initiate_ipv4(self):
        self.check("theirs", False, 4)

    def test_they_initiate_ipv4_psk(self):
        self.check("theirs", True, 4)

    def test_they_initiate_ipv6(self):
        self.check("theirs", False, 6)

    def test_they_initiate_ipv6_psk(self):
        self.check("theirs", True, 6)


def link_local(machine, interface):
    """The interface's fe80:: address, once Linux has made sure that nobody else has it."""
    def found():
        shown = machine.text("ip", "-6", "-oneline", "address", "show", "dev", interface, "scope", "link")
        return "tentative" not in shown and re.search(r"fe80:[0-9a-f:]+", shown)
    return rig.wait_until(found, "a link-local address of %s" % interface)[0]
