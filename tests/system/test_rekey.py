"""A minute of traffic with a new key every few seconds: nothing out of order, nothing lost without a named reason.

sluiced-fast-clock is sluiced with a protocol clock that runs SLUICE_CLOCK_SCALE times as fast; the shipped program has no
such switch. 60 times makes two minutes between handshakes two seconds.
"""
import os
import struct
import time
import unittest

import rig
from sites import shipped_sites

SCALE = 60
SECONDS = 60


class RekeyUnderLoad(unittest.TestCase):
    time_limit = SECONDS + 60

    def test_a_minute_of_iperf(self):
        """D-23"""
        with rig.Lab() as lab:
            sites = shipped_sites(lab, daemon="sluiced-fast-clock")
            sites.start(environment={"SLUICE_CLOCK_SCALE": str(SCALE)})
            sites.wait_until_connected()
            gateways = [sites.a.gateway, sites.b.gateway]
            before, ports_before = [gateway.drops() for gateway in gateways], self.lost_by_ports(gateways)
            sites.b.host.serve_iperf()
            capture = self.capture(sites.b.host)
            sender = sites.a.host.start("iperf3", "-J", "-u", "-b", "40M", "-l", 1200, "-t", SECONDS, "-c",
                                        sites.b.host_address(4).ip)
            handshakes = self.count_handshakes(gateways[0], sender)
            self.assertEqual(sender.wait(), 0, sender.output())
            capture.stop()
            out_of_order, missing, received = self.sequence(capture.file)
            dropped = [gateway.drops_since(old) for gateway, old in zip(gateways, before)]
            by_ports = self.lost_by_ports(gateways) - ports_before
            print("%d handshakes, %d packets, %d out of order, %d missing, drops %s and %d of ports" % (handshakes,
                    received, out_of_order, missing, dropped, by_ports))
            self.assertGreaterEqual(handshakes, SECONDS // 6)
            self.assertEqual(out_of_order, 0)
            self.assertLessEqual(missing, sum(sum(drops.values()) for drops in dropped) + by_ports,
                                 "lost without a named reason")

    def lost_by_ports(self, gateways):
        """Frames that found a port's queue full: a worker that waits for a busy processor does not empty it."""
        return sum(port["rx_drops"] + port["tx_drops"] for gateway in gateways for port in gateway.ask("show")["ports"])

    def capture(self, host):
        """tcpdump of what arrives from iperf3; .file is the capture."""
        path = os.path.join(host.lab.directory, "iperf.pcap")
        capture = host.start("tcpdump", "-i", "eth0", "-B", 65536, "-s", 96, "-U", "-w", path, "udp", "and", "dst",
                             "port", 5201)
        capture.ready(lambda: "listening on" in capture.output(), "tcpdump to listen")
        capture.file = path
        return capture

    def count_handshakes(self, gateway, sender):
        """How often `wg` shows another latest handshake or the session index changes while the sender runs."""
        seen = set()
        while sender.running():
            peer = gateway.ask("show")["tunnels"][0]["peers"][0]
            seen.add(peer["latest_handshake"])
            time.sleep(0.25)
        return len(seen) - 1

    def sequence(self, path):
        """(out of order, missing, received) by the packet counter that iperf3 puts into each UDP payload."""
        with open(path, "rb") as file:
            data = file.read()
        offset, last, out_of_order, numbers = 24, 0, 0, set()
        while offset + 16 <= len(data):
            length = struct.unpack_from("<I", data, offset + 8)[0]
            frame = data[offset + 16:offset + 16 + length]
            offset += 16 + length
            # Ethernet, IPv4, UDP, then seconds, microseconds and the packet's number; shorter ones only open the test.
            if len(frame) < 54:
                continue
            number = struct.unpack_from(">I", frame, 50)[0]
            out_of_order += number < last
            last = max(last, number)
            numbers.add(number)
        return out_of_order, last - len(numbers), len(numbers)
