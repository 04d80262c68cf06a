#!/usr/bin/python3
"""What deploy/quickstart shows once everything is built: two sites, their traffic, and what gateway A says about it.

Uses the machines and cables of tests/system: the demonstration and the tests run the same way.
"""
import argparse
import os
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import rig
from sites import TwoSites

LAB = "quickstart"
EXAMPLES = os.path.join(ROOT, "config", "examples")
SECONDS_OF_IPERF = 3


def say(text):
    print("\n== %s" % text, flush=True)


def pings(sites):
    for version in (4, 6):
        for near, far in ((sites.a, sites.b), (sites.b, sites.a)):
            address = str(far.host_address(version).ip)
            near.host.reaches(address)
            answered = near.host.ping(address, count=5)
            print("host %s -> host %s  %-16s %d of 5 answered" % (near.label.upper(), far.label.upper(), address,
                                                                  answered), flush=True)
            if answered != 5:
                raise rig.RigError("pings were lost; see `sluice drops` on the gateways")


def throughput(sites):
    """iperf3 in both directions over both families; the best TCP figure in Gbit/s."""
    best = 0.0
    for site in (sites.a, sites.b):
        site.host.serve_iperf()
    for near, far in ((sites.a, sites.b), (sites.b, sites.a)):
        for version in (4, 6):
            address = str(far.host_address(version).ip)
            where = "host %s -> host %s  IPv%d" % (near.label.upper(), far.label.upper(), version)
            tcp = near.host.iperf(address, seconds=SECONDS_OF_IPERF)["end"]
            rate = tcp["sum_received"]["bits_per_second"] / 1e9
            print("%s  TCP %6.3f Gbit/s  %d retransmitted" % (where, rate, tcp["sum_sent"].get("retransmits", 0)),
                  flush=True)
            before = far.host.full_udp_sockets()
            udp = near.host.iperf(address, "-u", "-b", "100M", "-l", 1200, seconds=SECONDS_OF_IPERF)["end"]["sum"]
            # What arrived while iperf3 waited for the processor and its socket was full is no loss on the way.
            unread = far.host.full_udp_sockets() - before
            print("%s  UDP %6.3f Gbit/s  %d of %d packets lost, %d too many for iperf3" % (
                where, udp["bits_per_second"] / 1e9 * (1 - udp["lost_percent"] / 100),
                max(udp["lost_packets"] - unread, 0), udp["packets"], unread), flush=True)
            best = max(best, rate)
    return best


def report(gateway):
    for title, output in (("sluice show", gateway.sluice("show").stdout), ("sluice stats",
            gateway.sluice("stats").stdout),
                          ("wg show", gateway.wg("show").stdout)):
        say("%s, on gateway A" % title)
        print(output.rstrip(), flush=True)


def how_to_enter(sites):
    say("still running; enter a machine in a shell of its own with")
    for what, machine in (("gateway A", sites.a.machine), ("gateway B", sites.b.machine), ("host A", sites.a.host),
                          ("host B", sites.b.host)):
        print("  %-10s nsenter --target %d --net --mount bash" % (what, machine.pid))
    print("\nOn a gateway: %s show, wg show, ip address, ip route, tcpdump -i wg0." % sites.a.gateway.cli)
    print("On host A: ping %s, iperf3 -c %s (host B listens)." % ((str(sites.b.host_address(4).ip),) * 2))
    print("The configuration is in %s. End it with: deploy/quickstart --stop" % sites.lab.directory)


def run(build, keep):
    if rig.processes_of(LAB):
        raise rig.RigError("it is running already; end it with: deploy/quickstart --stop")
    reason = rig.missing_for_rig()
    if reason:
        raise rig.RigError(reason)
    lab = rig.Lab(LAB, keep=keep)
    try:
        say("two gateways and two hosts in namespaces")
        sites = TwoSites(lab, os.path.join(EXAMPLES, "paris.toml"), os.path.join(EXAMPLES, "berlin.toml"), build)
        sites.start()
        print("gateway A runs %s, gateway B %s; only the public keys were put in" % (sites.a.copy, sites.b.copy),
              flush=True)
        say("ping")
        pings(sites)
        say("iperf3, %d s each" % SECONDS_OF_IPERF)
        best = throughput(sites)
        report(sites.a.gateway)
        say("throughput: %.2f Gbit/s of TCP through both gateways, AF_PACKET on veth, %d cores for everything" % (best,
                os.cpu_count()))
        if keep:
            how_to_enter(sites)
            return
    except BaseException:
        lab.close()
        raise
    lab.close()
    left = rig.processes_of(LAB)
    if left:
        raise rig.RigError("processes are left: %s" % left)
    print("everything is cleaned up")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--keep", action="store_true")
    choice.add_argument("--stop", action="store_true")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if arguments.stop:
            rig.stop_lab(LAB)
        else:
            run(arguments.build, arguments.keep)
    except rig.RigError as error:
        print("quickstart: %s" % error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nquickstart: interrupted; everything is cleaned up", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
