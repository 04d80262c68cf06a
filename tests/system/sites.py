"""host A - gateway A - gateway B - host B, wired as two configuration files say.

    host A --- [lan  gateway A  wan] --- [wan  gateway B  lan] --- host B

The files stay as they are but for the keys: copies beside freshly made key files name each other's public key. Every port
must be `af_packet:INTERFACE`; the cable's end gets that name. Hosts take the address after their gateway's.
"""
import ipaddress
import os
import re
import tomllib

import rig


class Site:
    """One configuration file and what it says about wiring."""

    def __init__(self, lab, path, label):
        self.path, self.label = path, label
        with open(path, "rb") as file:
            self.config = tomllib.load(file)
        self.name = self.config.get("gateway", {}).get("name", "sluice")
        self.tunnel = self.config["tunnel"][0]
        self.directory = os.path.join(lab.directory, label)
        os.mkdir(self.directory, 0o700)
        self.copy = os.path.join(self.directory, os.path.basename(path))
        self.key = rig.Key()
        self.machine = self.host = self.gateway = None

    def write_copy(self, remote_public, psk):
        with open(self.path, encoding="utf-8") as file:
            text = file.read()
        text = re.sub(r'^(\s*public-key\s*=\s*)"[^"]*"', lambda match: '%s"%s"' % (match[1], remote_public), text,
                      flags=re.M)
        with open(self.copy, "w", encoding="utf-8") as file:
            file.write(text)
        self.write_secret(self.tunnel["private-key-file"], self.key.private)
        for peer in self.tunnel["peer"]:
            if "preshared-key-file" in peer:
                self.write_secret(peer["preshared-key-file"], psk)

    def write_secret(self, name, secret):
        descriptor = os.open(os.path.join(self.directory, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")

    def port(self, name):
        return next(port for port in self.config["port"] if port["name"] == name)

    def interface(self, name):
        kind, _, interface = self.port(name)["device"].partition(":")
        if kind != "af_packet":
            raise rig.RigError("%s: port %s is not an af_packet port" % (self.path, name))
        return interface

    def addresses(self, name, version=None):
        found = [ipaddress.ip_interface(address) for address in self.port(name)["addresses"]]
        return [address for address in found if version in (None, address.version)]

    def host_address(self, version):
        gateway = self.addresses("lan", version)[0]
        return ipaddress.ip_interface("%s/%d" % (gateway.ip + 1, gateway.network.prefixlen))

    def tunnel_address(self, version):
        return next((str(a.ip) for a in map(ipaddress.ip_interface, self.tunnel["addresses"]) if a.version == version),
                    None)

    def wan_address(self, version):
        return str(self.addresses("wan", version)[0].ip)


class TwoSites:
    """Both sites, wired; start() runs sluiced on each gateway."""

    def __init__(self, lab, path_a, path_b, build, daemon="sluiced"):
        self.lab, self.build, self.daemon = lab, build, daemon
        self.a, self.b = Site(lab, path_a, "a"), Site(lab, path_b, "b")
        psk = rig.preshared_key()
        self.a.write_copy(self.b.key.public, psk)
        self.b.write_copy(self.a.key.public, psk)
        for site in (self.a, self.b):
            site.machine, site.host = lab.machine("gateway-%s" % site.label), lab.machine("host-%s" % site.label)
            lab.cable(site.machine, site.interface("lan"), site.host, "eth0")
            self.configure_host(site)
        lab.cable(self.a.machine, self.a.interface("wan"), self.b.machine, self.b.interface("wan"))

    def configure_host(self, site):
        versions = [version for version in (4, 6) if site.addresses("lan", version)]
        rig.kernel_end(site.host, "eth0", *[str(site.host_address(version)) for version in versions])
        for version in versions:
            site.host.add_route("::/0" if version == 6 else "0.0.0.0/0", str(site.addresses("lan", version)[0].ip))

    def start(self, environment=None):
        for site in (self.a, self.b):
            site.gateway = rig.Gateway(site.machine, site.copy, self.build, name=site.name, tunnel=site.tunnel["name"],
                                       daemon=self.daemon).start(environment=environment)
        return self

    def stop(self):
        for site in (self.a, self.b):
            site.gateway.stop()

    def wait_until_connected(self):
        for version in (4, 6):
            self.a.host.reaches(str(self.b.host_address(version).ip))


def shipped_sites(lab, daemon="sluiced"):
    """The two sites of the shipped examples, with the programs of the build under test."""
    examples = os.path.join(rig.ROOT, "config", "examples")
    return TwoSites(lab, os.path.join(examples, "paris.toml"), os.path.join(examples, "berlin.toml"),
                    os.environ["SLUICE_BUILD"], daemon=daemon)
