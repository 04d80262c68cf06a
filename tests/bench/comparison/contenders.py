"""Who takes part: each brings two hosts up, and says at which address one reaches the other.

    client [eth0 198.51.100.1] --- [eth0 198.51.100.2] server

The server's programs are at the ports below of `Path.address`, as the client sees them.
"""
import os
import shutil
import subprocess

import rig
from sites import TwoSites

IPERF, ECHO, DATAGRAMS = 5201, 5202, 5203
EXAMPLES = os.path.join(rig.ROOT, "config", "examples")
OUTER = ("198.51.100.1", "198.51.100.2")
INNER = ("10.10.0.1", "10.10.0.2")
LOOPBACK = "127.0.0.1"


class Path:
    """Two hosts that can talk: `address` is the server's, as the client calls it; `bind` where the server's programs listen."""

    def __init__(self, client, server, address, bind=None):
        self.client, self.server, self.address, self.bind = client, server, address, bind or address


class Contender:
    """One way between two hosts. `label` is for people, `name` for command lines."""

    carries_udp = True
    programs = ()

    def __init__(self, name, label):
        self.name, self.label = name, label

    def missing(self):
        """Why it cannot take part on this machine, or None."""
        absent = [program for program in self.programs if not shutil.which(program)]
        return "%s not installed" % " and ".join(absent) if absent else None

    def hosts(self, lab):
        client, server = lab.machine("client"), lab.machine("server")
        lab.cable(client, "eth0", server, "eth0", offload=True)
        for machine, address in zip((client, server), OUTER):
            rig.kernel_end(machine, "eth0", address + "/24")
        return client, server

    def bring_up(self, lab):
        """A Path in the lab; whatever runs ends with the lab."""
        raise NotImplementedError


class PlainIp(Contender):
    def bring_up(self, lab):
        client, server = self.hosts(lab)
        return Path(client, server, OUTER[1])


def certificate(lab, name):
    """A self-signed certificate and its key: two paths."""
    key, crt = lab.write(name + ".key", ""), lab.write(name + ".crt", "")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    key, "-out", crt, "-days", "2", "-subj", "/CN=" + name], check=True, capture_output=True)
    return key, crt


def read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


class TlsProxy(Contender):
    """A proxy at each end: TCP from the client's programs, TLS between the hosts, TCP to the server's programs."""

    carries_udp = False
    PROXIED = 10000  # added to a port's number between the hosts

    def bring_up(self, lab):
        client, server = self.hosts(lab)
        key, crt = certificate(lab, "server")
        self.start(server, self.server_file(lab, key, crt))
        self.start(client, self.client_file(lab, crt))
        return self.wait_for_listeners(client, server)

    def wait_for_listeners(self, client, server):
        for machine, address, port in ((server, OUTER[1], self.PROXIED), (client, LOOPBACK, 0)):
            listening = "%s:%d" % (address, port + ECHO)
            rig.wait_until(lambda m=machine, l=listening: l in m.text("ss", "-Hltn"), "%s at %s" % (self.label, listening))
        return Path(client, server, LOOPBACK, LOOPBACK)

    def start(self, machine, file):
        raise NotImplementedError

    def server_file(self, lab, key, crt):
        raise NotImplementedError

    def client_file(self, lab, crt):
        raise NotImplementedError


class Haproxy(TlsProxy):
    """With the cipher that OpenSSL prefers (AES-256-GCM), or another one."""

    programs = ("haproxy", "openssl")
    DEFAULTS = "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"

    def __init__(self, name, label, cipher=None):
        super().__init__(name, label)
        self.cipher = "ciphersuites " + cipher if cipher else ""

    def start(self, machine, file):
        machine.start("haproxy", "-db", "-f", file)

    def server_file(self, lab, key, crt):
        both = lab.write("both.pem", read(crt) + read(key))
        return lab.write("haproxy-server.cfg", self.DEFAULTS + "".join(
            "listen p%d\n bind %s:%d ssl crt %s %s\n server near %s:%d\n"
            % (port, OUTER[1], self.PROXIED + port, both, self.cipher, LOOPBACK, port) for port in (IPERF, ECHO)))

    def client_file(self, lab, crt):
        return lab.write("haproxy-client.cfg", self.DEFAULTS + "".join(
            "listen p%d\n bind %s:%d\n server far %s:%d ssl verify required ca-file %s\n"
            % (port, LOOPBACK, port, OUTER[1], self.PROXIED + port, crt) for port in (IPERF, ECHO)))


class Stunnel(TlsProxy):
    programs = ("stunnel", "openssl")
    GLOBAL = "foreground = yes\npid =\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"

    def start(self, machine, file):
        machine.start("stunnel", file)

    def server_file(self, lab, key, crt):
        return lab.write("stunnel-server.conf", self.GLOBAL + "".join(
            "[p%d]\naccept = %s:%d\nconnect = %s:%d\ncert = %s\nkey = %s\n"
            % (port, OUTER[1], self.PROXIED + port, LOOPBACK, port, crt, key) for port in (IPERF, ECHO)))

    def client_file(self, lab, crt):
        return lab.write("stunnel-client.conf", self.GLOBAL + "".join(
            "[p%d]\nclient = yes\naccept = %s:%d\nconnect = %s:%d\nverifyChain = yes\nCAfile = %s\n"
            % (port, LOOPBACK, port, OUTER[1], self.PROXIED + port, crt) for port in (IPERF, ECHO)))


class Socat(TlsProxy):
    """A process for each connection."""

    programs = ("socat", "openssl")

    def bring_up(self, lab):
        client, server = self.hosts(lab)
        key, crt = certificate(lab, "server")
        for port in (IPERF, ECHO):
            server.start("socat", "OPENSSL-LISTEN:%d,bind=%s,reuseaddr,fork,nodelay,verify=0,cert=%s,key=%s"
                         % (self.PROXIED + port, OUTER[1], crt, key), "TCP:%s:%d,nodelay" % (LOOPBACK, port))
            client.start("socat", "TCP-LISTEN:%d,bind=%s,reuseaddr,fork,nodelay" % (port, LOOPBACK),
                         "OPENSSL:%s:%d,nodelay,cafile=%s,commonname=server" % (OUTER[1], self.PROXIED + port, crt))
        return self.wait_for_listeners(client, server)


class OpenVpn(Contender):
    """As its packages set it up: UDP, the cipher both agree on (AES-256-GCM), the kernel's help where there is a module."""

    programs = ("openvpn", "openssl")

    def bring_up(self, lab):
        client, server = self.hosts(lab)
        pairs = [certificate(lab, "client"), certificate(lab, "server")]
        marks = [subprocess.run(["openssl", "x509", "-in", crt, "-noout", "-fingerprint", "-sha256"], check=True,
                                capture_output=True, text=True).stdout.strip().split("=")[1] for _, crt in pairs]
        ends = []
        for number, machine in enumerate((client, server)):
            role = ("--tls-server", "--dh", "none") if number else ("--tls-client", "--remote", OUTER[1], "1194")
            key, crt = pairs[number]
            end = machine.start("openvpn", "--dev", "ovpn0", "--dev-type", "tun", "--proto", "udp", "--port", "1194",
                                "--verb", "1", "--ifconfig", INNER[number], INNER[1 - number], "--key", key, "--cert", crt,
                                "--peer-fingerprint", marks[1 - number], *role)
            ends.append(end)
        for end in ends:
            end.ready(lambda e=end: "Initialization Sequence Completed" in e.output(), "its peer", 30.0)
        client.reaches(INNER[1])
        return Path(client, server, INNER[1])


class WireGuard(Contender):
    """Two ends of one kind, one made by make_end(machine), configured with `wg` and `ip`."""

    programs = ("wg",)

    def make_end(self, machine, key, address):
        raise NotImplementedError

    def bring_up(self, lab):
        machines, keys = self.hosts(lab), [rig.Key(), rig.Key()]
        ends = [self.make_end(machine, key, address) for machine, key, address in zip(machines, keys, INNER)]
        for number, end in enumerate(ends):
            end.add_peer(keys[1 - number].public, [INNER[1 - number] + "/32"], rig.endpoint(OUTER[1 - number], 51820))
        machines[0].reaches(INNER[1])
        return Path(*machines, INNER[1])


class UserspaceWireGuard(WireGuard):
    """A program that is started as wireguard-go is. `build`: the directory in which to look for it."""

    def __init__(self, name, label, daemon, build=None):
        super().__init__(name, label)
        self.daemon, self.build = daemon, build

    def missing(self):
        try:
            rig.program(self.daemon, self.build)
        except rig.RigError as error:
            return str(error)
        return super().missing()

    def make_end(self, machine, key, address):
        return rig.WireguardGo(machine, daemon=self.daemon, build=self.build).start(key, 51820, address + "/24")


class KernelEnd(rig.WireguardGo):
    """An interface instead of a program."""

    def __init__(self, machine):
        self.machine, self.interface = machine, "wg0"
        machine.run("ip", "link", "add", "wg0", "type", "wireguard")


class KernelWireGuard(WireGuard):
    def missing(self):
        probe = subprocess.run(["unshare", "--net", "ip", "link", "add", "wg0", "type", "wireguard"], capture_output=True,
                               check=False)
        return "this kernel has none" if probe.returncode else super().missing()

    def make_end(self, machine, key, address):
        return KernelEnd(machine).configure(key, 51820, address + "/24")


class Gateways(Contender):
    """A sluice in front of each host, as config/examples and deploy/quickstart have it; so there are three cables."""

    programs = ("wg",)

    def __init__(self, name, label, build):
        super().__init__(name, label)
        self.build = build

    def missing(self):
        try:
            for name in ("sluiced", "sluice"):
                rig.program(name, self.build)
        except rig.RigError as error:
            return str(error)
        return super().missing()

    def bring_up(self, lab):
        sites = TwoSites(lab, os.path.join(EXAMPLES, "paris.toml"), os.path.join(EXAMPLES, "berlin.toml"), self.build).start()
        sites.wait_until_connected()
        return Path(sites.a.host, sites.b.host, str(sites.b.host_address(4).ip))


def contenders(build, binaries):
    """All of them, in the order of the charts; `binaries` are programs that work as wireguard-go does."""
    return [
        PlainIp("ip", "plain IP"),
        Haproxy("haproxy", "TLS, haproxy"),
        Haproxy("haproxy-chacha20", "TLS, haproxy, ChaCha20", "TLS_CHACHA20_POLY1305_SHA256"),
        Stunnel("stunnel", "TLS, stunnel"),
        Socat("socat", "TLS, socat"),
        OpenVpn("openvpn", "OpenVPN"),
        KernelWireGuard("kernel", "kernel WireGuard"),
        UserspaceWireGuard("wireguard-go", "wireguard-go", "wireguard-go"),
        *(UserspaceWireGuard(binary, os.path.basename(binary), binary) for binary in binaries),
        UserspaceWireGuard("drop-in", "sluice, drop-in", "sluiced", build),
        Gateways("gateways", "sluice, gateways", build),
    ]
