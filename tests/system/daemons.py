"""Debian's routing and address daemons on a machine of a lab: each in the foreground, with its files in the machine's /run."""
import json
import os

import rig


class Frr:
    """FRR's zebra and bgpd. `bgp` is what bgpd's configuration says."""

    DIRECTORY = "/usr/lib/frr"

    def __init__(self, machine, bgp):
        self.machine = machine
        machine.run("install", "-d", "-o", "frr", "-g", "frr", "/run/frr")
        self.daemons = [self.start("zebra", ""), self.start("bgpd", bgp)]

    def start(self, name, text):
        path, config = os.path.join(self.DIRECTORY, name), "/run/frr/%s.conf" % name
        if not os.path.exists(path):
            raise rig.RigError("%s is not installed" % path)
        self.machine.run("install", "-o", "frr", "-g", "frr", "/dev/stdin", config, stdin=text)
        daemon = self.machine.start(path, "--config_file", config, "--log", "stdout")
        daemon.ready(lambda: self.vtysh("show version", daemon=name, check=False).returncode == 0, "its terminal")
        return daemon

    def vtysh(self, *commands, daemon=None, check=True):
        options = [option for command in commands for option in ("-c", command)]
        return self.machine.run("vtysh", *(["-d", daemon] if daemon else []), *options, check=check)

    def established(self, neighbour):
        done = self.vtysh("show bgp neighbors %s json" % neighbour, daemon="bgpd", check=False)
        try:
            return json.loads(done.stdout)[neighbour]["bgpState"] == "Established"
        except (ValueError, KeyError):
            return False

    def output(self):
        return "\n".join(daemon.output()[-2000:] for daemon in self.daemons)

    def stop(self):
        for daemon in reversed(self.daemons):
            daemon.stop()


class Keepalived:
    """VRRP only. kill() is the host's crash: nothing is said to the others, and what it had set stays as it was."""

    def __init__(self, machine, text):
        self.machine = machine
        machine.run("install", "-m", "600", "/dev/stdin", "/run/keepalived.conf", stdin=text)
        self.process = machine.start(
            rig.program("keepalived"), "--dont-fork", "--vrrp", "--log-console", "--log-detail", "--use-file",
            "/run/keepalived.conf", "--pid", "/run/keepalived.pid", "--vrrp_pid", "/run/vrrp.pid")

    def output(self):
        return self.process.output()

    def kill(self):
        for name in ("keepalived", "vrrp"):
            self.machine.run("sh", "-c", "kill -KILL $(cat /run/%s.pid)" % name)
        self.process.wait()
        # As a host's crash leaves them; a dead child that nobody has waited for yet would count as running.
        self.machine.run("rm", "/run/keepalived.pid", "/run/vrrp.pid")

    def stop(self):
        return self.process.stop()


class Dnsmasq:
    """A DHCP server, and nothing else, on one interface."""

    def __init__(self, machine, interface, *options):
        self.process = machine.start(rig.program("dnsmasq"), "--no-daemon", "--conf-file=/dev/null", "--port=0",
                                     "--bind-interfaces", "--interface=" + interface, "--dhcp-authoritative",
                                     "--dhcp-leasefile=/run/dnsmasq.leases", "--user=root", "--log-dhcp", *options)
        self.process.ready(lambda: "DHCP, IP range" in self.process.output(), "its range")

    def output(self):
        return self.process.output()

    def stop(self):
        return self.process.stop()


class Dhclient:
    """ISC's DHCP client with Debian's script, on a machine whose resolv.conf is its own."""

    def __init__(self, machine, interface):
        self.machine, self.interface = machine, interface
        machine.run("sh", "-c", "touch /run/resolv.conf && mount --bind /run/resolv.conf /etc/resolv.conf")
        self.process = machine.start(rig.program("dhclient"), "-4", "-d", "-v", "-lf", "/run/dhclient.leases", "-pf",
                                     "/run/dhclient.pid", interface)

    def output(self):
        return self.process.output()

    def stop(self):
        return self.process.stop()
