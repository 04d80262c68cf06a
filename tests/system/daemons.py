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
