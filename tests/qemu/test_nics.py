"""sluiced in a guest, on NICs that QEMU emulates, bound to vfio-pci behind an emulated IOMMU; installed as README.md says.

    lan host 10.1.0.2 --- [lan  guest: sluiced as a service  wan] --- berlin 198.51.100.1: wireguard-go
    10.20.0.2, VLAN 20 --- [office, on the same cable]

The configuration is config/examples/bare-metal.toml, but for the names of things that differ, and a VLAN on the lan's NIC.
One guest for each model.
"""
import os
import re
import socket
import statistics
import struct
import time
import unittest

import guest
import pywg
import rig
import trunk

WORKERS = [1, 2]
HUGE_PAGES = 256
OUTSIDE = {4: "198.51.100.10", 6: "2001:db8:ffff::10"}
BERLIN = {4: "198.51.100.1", 6: "2001:db8:ffff::1"}
HOST = {4: "10.1.0.2", 6: "2001:db8:1::2"}
BEHIND_BERLIN = {4: "10.2.0.2", 6: "2001:db8:2::2"}
OFFICE = {4: "10.20.0.2", 6: "2001:db8:20::2"}
VLAN = """
[[port]]
name      = "office"
parent    = "lan"
vlan      = 20
addresses = ["10.20.0.1/24", "2001:db8:20::1/64"]
"""


class Service(rig.Gateway):
    """sluiced as the packaged unit runs it in the guest."""

    def __init__(self, machine, build):
        super().__init__(machine, "/etc/sluice/sluice.toml", build, name="paris")
        machine.bring("/usr/local/sbin/sluiced", self.daemon, 0o755)
        machine.bring("/usr/local/bin/sluice", self.cli, 0o755)
        machine.bring("/etc/systemd/system/sluiced.service", os.path.join(rig.ROOT, "deploy", "sluiced.service"))
        self.cli = "/usr/local/bin/sluice"
        # The unit gives it a minute; an emulated IOMMU on a busy machine needs longer.
        machine.bring("/etc/systemd/system/sluiced.service.d/emulated.conf",
                      machine.lab.write("emulated.conf", "[Service]\nTimeoutStartSec=300\nTimeoutStopSec=60\n"))

    def start(self):  # pylint: disable=arguments-differ
        done = self.machine.run("systemctl", "start", "sluiced", check=False, timeout=300)
        if done.returncode:
            raise rig.RigError("sluiced.service does not start: %s" % self.log())
        return self

    def stop(self):
        self.machine.run("systemctl", "stop", "sluiced")

    def restart(self):
        self.stop()
        return self.start()

    def log(self):
        return self.machine.text("journalctl", "-u", "sluiced", "-o", "cat", "-n", 60, "--no-pager")

    def cpu_seconds(self):
        nanoseconds = self.machine.text("systemctl", "show", "-P", "CPUUsageNSec", "sluiced")
        return int(nanoseconds) / 1e9

    def port(self, name):
        return next(port for port in self.ask("show")["ports"] if port["name"] == name)

    def received_by_worker(self):
        """Packets that each worker took from its queues."""
        return [sum(stage["packets"] for stage in worker["stages"] if stage["name"] == "receive")
                for worker in self.ask("stats")["workers"]]


class Nics:
    """What every model must do. Subclasses say which it is, and what it can."""

    time_limit = 400  # unplugging takes 75 s, and three times that on a busy machine
    model, queues, wakes = "", 1, True

    @classmethod
    def setUpClass(cls):
        reason = guest.missing_for_guest()
        if not reason and not guest.knows_device(cls.model):
            reason = "this QEMU has no %s" % cls.model
        if reason:
            raise unittest.SkipTest(reason)
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.host, cls.berlin = cls.lab.machine("host"), cls.lab.machine("berlin")
        cls.guest = guest.Guest(cls.lab, "guest", cpus=1 + len(WORKERS), memory=2048, iommu=True)
        cls.wan = cls.guest.add_nic(cls.model, cls.berlin, "wan0", cls.queues)
        cls.lan = cls.guest.add_nic(cls.model, cls.host, "eth0", cls.queues)
        cls.gateway = Service(cls.guest, os.environ["SLUICE_BUILD"])
        cls.install_configuration()
        cls.guest.start()
        cls.prepare()
        cls.gateway.start()
        cls.connect()

    @classmethod
    def install_configuration(cls):
        """The example's file with this guest's NICs and cores; of its peers, one is real."""
        with open(os.path.join(rig.ROOT, "config", "examples", "bare-metal.toml"), encoding="utf-8") as file:
            text = file.read()
        cls.our_key, cls.their_key, cls.psk = rig.Key(), rig.Key(), rig.preshared_key()
        for old, new in (("pci:0000:3b:00.0", "pci:" + cls.wan.pci), ("pci:0000:3b:00.1", "pci:" + cls.lan.pci),
                         ("memory    = 1024", ""),  # what is needed: the emulated IOMMU maps slowly
                         ("[2, 3]", str(WORKERS)), ('idle      = "poll"', 'idle      = "adaptive"'),
                         ("/vyxyagLuS3cAfDMQ9DRfehKcwe3B+ZbDHHGz3xBPmY=", cls.their_key.public),
                         ("vpn.berlin.example:51820", "%s:51820" % BERLIN[4])):
            if old not in text:
                raise rig.RigError("bare-metal.toml has no %s any more" % old)
            text = text.replace(old, new)
        cls.guest.bring("/etc/sluice/sluice.toml", cls.lab.write("sluice.toml", text + VLAN), 0o600)
        cls.guest.bring("/etc/sluice/wg0.key", cls.lab.write("wg0.key", cls.our_key.private), 0o600)
        cls.guest.bring("/etc/sluice/berlin.psk", cls.lab.write("berlin.psk", cls.psk), 0o600)

    @classmethod
    def prepare(cls):
        """As README.md prepares a host for NICs."""
        cls.guest.run("chmod", "700", "/etc/sluice")
        cls.guest.run("sysctl", "-qw", "vm.nr_hugepages=%d" % HUGE_PAGES)
        cls.guest.run("modprobe", "vfio-pci")
        cls.bind(cls.wan, cls.lan)

    @classmethod
    def bind(cls, *nics):
        cls.guest.run("dpdk-devbind.py", "-b", "vfio-pci", *[nic.pci for nic in nics])
        for nic in nics:
            driver = cls.guest.text("readlink", "/sys/bus/pci/devices/%s/driver" % nic.pci)
            if not driver.strip().endswith("vfio-pci"):
                raise rig.RigError("%s is bound to %s" % (nic.pci, driver))

    @classmethod
    def connect(cls):
        cls.host.run("ip", "link", "set", "eth0", "mtu", 9000)
        rig.kernel_end(cls.host, "eth0", HOST[4] + "/16", HOST[6] + "/64")
        cls.host.add_route("0.0.0.0/0", "10.1.0.1")
        cls.host.add_route("::/0", "2001:db8:1::1")
        rig.kernel_end(cls.berlin, "wan0", BERLIN[4] + "/24", BERLIN[6] + "/64")
        other = rig.WireguardGo(cls.berlin).start(cls.their_key, 51820, "10.255.0.2/24", BEHIND_BERLIN[4] + "/16",
                                                  BEHIND_BERLIN[6] + "/48")
        behind_us = ["10.1.0.0/16", "10.20.0.0/24", "2001:db8:1::/64", "2001:db8:20::/64"]
        other.add_peer(cls.our_key.public, ["10.255.0.1/32", *behind_us],
                       endpoint=rig.endpoint(OUTSIDE[4], 51820), psk=cls.psk)
        cls.host.serve_iperf()
        cls.berlin.serve_iperf()

    def diagnosis(self):
        asked = (("sluice", "show"), ("sluice", "drops"), ("wg", "show"), ("ip", "neighbour"))
        return "\n".join([self.gateway.log(), *(self.guest.run(*words, check=False).stdout for words in asked)])

    def until(self, condition, what, timeout=20.0):
        try:
            return rig.wait_until(condition, what, timeout)
        except rig.RigError as error:
            self.fail(str(error))

    def test_started_as_packaged(self):
        """As a service, in huge pages, with both NICs as they are"""
        self.assertEqual(self.guest.text("systemctl", "is-active", "sluiced").strip(), "active")
        free = int(self.guest.text("cat", "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"))
        self.assertLess(free, HUGE_PAGES - 128, "256 MiB of huge pages are in use")
        for name, nic, mtu in (("wan", self.wan, 1500), ("lan", self.lan, 9000)):
            port = self.gateway.port(name)
            self.assertEqual((port["device"], port["mac"], port["link"], port["mtu"]),
                             ("pci:" + nic.pci, nic.mac, "up", mtu))
            self.assertIn("mtu %d" % mtu, self.guest.text("ip", "link", "show", name))
        self.assertNotIn("error", self.gateway.log())

    def test_traffic(self):
        """Both ways, IPv4 and IPv6 inside and outside, small and large, to the gateway itself as well"""
        for outer in (4, 6):
            self.until(lambda: self.talks_over(outer), "the gateway to follow berlin to IPv%d" % outer, timeout=60)
            self.berlin.reaches("10.255.0.1")
            before = self.gateway.drops()
            for source, addresses in ((self.host, BEHIND_BERLIN), (self.berlin, HOST)):
                for version in (4, 6):
                    source.reaches(addresses[version])
                    for size in (0, 56, 1372):
                        with self.subTest(outer=outer, source=source.name, inner=version, size=size):
                            self.assertEqual(source.ping(addresses[version], count=4, size=size), 4)
                    # However long an emulated CPU takes. iperf ends when all is handed over: the rest is in the windows.
                    done = source.iperf(addresses[version], "-w", "64K", amount="1M", seconds=60)
                    self.assertGreater(done["end"]["sum_received"]["bytes"], 1 << 19)
            # A queue of the rig may overflow under TCP, an emulated core may stand still with another's work; Linux's
            # greetings to multicast groups have no peer. The host's 9000 bytes are too many until it has learned.
            self.assertLessEqual(set(self.gateway.drops_since(before)),
                                 {"transmit_full", "spread_stalled", "no_peer", "too_big"})
        self.assertEqual(self.host.ping("10.1.0.1", count=3, size=8972), 3)
        self.assertEqual(self.host.ping("2001:db8:1::1", count=3, size=8952), 3)

    def talks_over(self, outer):
        """Ask until it holds: what the gateway had under way from its address before takes berlin back there."""
        key = self.berlin.text("wg", "show", "wg0", "peers").strip()
        self.berlin.run("wg", "set", "wg0", "peer", key, "endpoint", rig.endpoint(OUTSIDE[outer], 51820))
        if not self.berlin.ping(HOST[4], count=1):
            return False
        endpoint = self.guest.text("wg", "show", "wg0", "endpoints").split()[1]
        return endpoint == rig.endpoint(BERLIN[outer], 51820)

    def test_fragments(self):
        """IPv4 that the gateway has to take apart, and what arrives in pieces"""
        for size in (2000, 8900, 20000):
            for source, target in ((self.host, BEHIND_BERLIN[4]), (self.berlin, HOST[4])):
                with self.subTest(source=source.name, size=size):
                    source.reaches(target)
                    done = source.run("ping", "-n", "-q", "-M", "dont", "-c", 3, "-i", 0.3, "-W", 5, "-s", size, target,
                                      check=False)
                    self.assertIn(" 3 received", done.stdout)

    def test_bad_checksums(self):
        """Whoever checks them, NIC or software: the reason is the same"""
        raw = self.berlin.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.addCleanup(raw.close)
        raw.bind(("wan0", 0))
        self.berlin.reaches(OUTSIDE[4])
        header = bytes.fromhex(self.wan.mac.replace(":", "")) + mac_of(self.berlin, "wan0")
        datagram = struct.pack(">HHHH", 51820, 51820, 8 + 148, 0x1234) + b"\1\0\0\0" + bytes(144)
        packet4 = pywg.ipv4(BERLIN[4], OUTSIDE[4], 17, datagram)
        packet6 = pywg.ipv6(BERLIN[6], OUTSIDE[6], 17, datagram)
        bad_header = bytearray(packet4)
        bad_header[10] ^= 0x55
        for packet, kind, reason in ((packet4, b"\x08\x00", "udp_checksum"), (packet6, b"\x86\xdd", "udp_checksum"),
                                     (bytes(bad_header), b"\x08\x00", "ip_checksum")):
            with self.subTest(kind=kind.hex(), reason=reason):
                before = self.gateway.drops()
                raw.send(header + kind + packet)
                self.until(lambda: self.gateway.drops_since(before).get(reason) == 1,
                           lambda: "one %s, not %s" % (reason, self.gateway.drops_since(before)))
                self.assertLessEqual(set(self.gateway.drops_since(before)), {reason, "no_peer"})

    def test_vlan(self):
        """Beside the port's own frames those of a VLAN: the NIC lets them pass and takes the tags off"""
        cable = trunk.Trunk(self.host, "eth0", 20)
        self.addCleanup(cable.close)
        office = self.lab.machine("office")
        self.host.run("ip", "link", "set", "v20", "netns", office.pid)
        office.run("ip", "link", "set", "v20", "up")
        rig.kernel_end(office, "v20", OFFICE[4] + "/24", OFFICE[6] + "/64")
        office.add_route("0.0.0.0/0", "10.20.0.1")
        office.add_route("::/0", "2001:db8:20::1")
        before, passed = self.gateway.drops(), self.gateway.port("office")["rx_packets"]
        for targets in ({4: "10.20.0.1", 6: "2001:db8:20::1"}, HOST, BEHIND_BERLIN):
            for target in targets.values():
                office.reaches(target, timeout=30)
                for size in (0, 1372):
                    with self.subTest(target=target, size=size):
                        self.assertEqual(office.ping(target, count=4, size=size), 4)
        self.assertGreaterEqual(self.gateway.port("office")["rx_packets"], passed + 3 * 2 * 2 * 4)
        self.assertLessEqual(set(self.gateway.drops_since(before)), {"no_peer"})

    def links(self, *ports):
        """Of each port what `sluice show` says, and whether its interface has a carrier."""
        flags = {name: self.guest.text("ip", "link", "show", name) for name in ports}
        return [(self.gateway.port(name)["link"], "NO-CARRIER" not in flags[name] and "LOWER_UP" in flags[name])
                for name in ports]

    def test_link(self):
        """A cable that is pulled: `sluice show` and Linux say so, routing daemons act on it; and plugged in again"""
        def become(state):
            self.until(lambda: self.links("lan", "office") == 2 * [state],
                       lambda: "%s, not %s" % (state, self.links("lan", "office")))

        become(("up", True))
        self.addCleanup(self.guest.set_link, self.lan, True)
        self.guest.set_link(self.lan, False)
        become(("down", False))
        self.assertEqual(self.links("wan"), [("up", True)])
        self.guest.set_link(self.lan, True)
        become(("up", True))
        self.host.reaches(BEHIND_BERLIN[4])

    def test_idle_workers_sleep(self):
        """Next to no CPU when nothing comes; and the NIC wakes them"""
        self.host.reaches(BEHIND_BERLIN[4])
        share = 1.0
        for _ in range(6):  # what was under way passes
            before, start = self.gateway.cpu_seconds(), time.monotonic()
            time.sleep(5)
            share = (self.gateway.cpu_seconds() - before) / (time.monotonic() - start)
            if share < 0.1:
                break
        done = self.host.run("ping", "-n", "-c", 20, "-i", 0.3, BEHIND_BERLIN[4]).stdout
        times = [float(value) for value in re.findall(r"time=([0-9.]+) ms", done)]
        print("%s: idle %.1f %% of a core, median %.1f ms of sparse pings" % (self.model, 100 * share,
                                                                               statistics.median(times)))
        self.assertLess(share, 0.4)  # of the 2 that polling takes; the guest takes it for work if its own CPU is held up
        self.assertEqual(len(times), 20, done)
        if self.wakes:
            self.assertLess(statistics.median(times), 60)  # two sleeps of 100 ms at most, were it not for the NIC

    def test_queues(self):
        """Flows spread over the queues, where the NIC has several; else one worker receives for both"""
        before = self.gateway.received_by_worker()
        sockets = [self.host.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(32)]
        for _ in range(20):
            for each in sockets:
                each.sendto(b"spread", (BEHIND_BERLIN[4], 9))
            time.sleep(0.02)
        for each in sockets:
            each.close()
        self.until(lambda: sum(self.gateway.received_by_worker()) >= sum(before) + 500, "the packets")
        received = [now - old for now, old in zip(self.gateway.received_by_worker(), before)]
        print("%s: received by worker %s" % (self.model, received))
        if self.queues > 1:
            self.assertGreater(min(received), 50)

    def test_unplug(self):
        """A NIC is unplugged while it carries traffic: its VLAN goes with it, the rest goes on; plugged in again, it serves
        after a restart"""
        self.addCleanup(self.plug_in_again)
        self.host.reaches(BEHIND_BERLIN[4])
        flow = self.host.start("ping", "-n", "-q", "-i", 0.02, BEHIND_BERLIN[4])
        self.guest.press_attention_button(self.lan)
        self.guest.wait_until_unplugged(self.lan)
        flow.stop()
        self.assertEqual(self.guest.text("systemctl", "is-active", "sluiced").strip(), "active")
        self.until(lambda: self.links("lan", "office") == 2 * [("down", False)],
                   lambda: "links that are down, not %s" % self.links("lan", "office"))
        self.assertRegex(self.gateway.log(), r"port lan: .*%s.* unplugged" % self.lan.pci)
        self.berlin.reaches("10.255.0.1")
        self.assertEqual(self.berlin.ping("10.255.0.1", count=5), 5)

    def plug_in_again(self):
        self.guest.plug_in(self.lan)
        self.until(lambda: self.guest.run("test", "-e", "/sys/bus/pci/devices/%s/driver" % self.lan.pci,
                                          check=False).returncode == 0, "Linux to find the NIC")
        self.bind(self.lan)
        self.gateway.restart()
        self.host.reaches(BEHIND_BERLIN[4], timeout=30)


def mac_of(machine, interface):
    return bytes.fromhex(machine.text("cat", "/sys/class/net/%s/address" % interface).strip().replace(":", ""))


class VirtioNet(Nics, unittest.TestCase):
    model, queues = "virtio-net-pci", 2


class E1000e(Nics, unittest.TestCase):
    model, wakes = "e1000e", False  # QEMU's raises no interrupt for received packets under vfio


class Vmxnet3(Nics, unittest.TestCase):
    model = "vmxnet3"  # QEMU's has several queues and puts everything into the first


class Igb(Nics, unittest.TestCase):
    model, queues = "igb", 2  # taps of one queue do: it spreads by itself
