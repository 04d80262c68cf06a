"""`sluiced IF`: the process, its interface and its socket, as wg-quick and the like expect them of any implementation."""
import json
import os
import socket
import unittest

import rig

QUICK = """
[Interface]
PrivateKey = %(private)s
Address = %(address)s
ListenPort = 51820
%(more)s
[Peer]
PublicKey = %(public)s
PresharedKey = %(psk)s
AllowedIPs = %(allowed)s
Endpoint = %(endpoint)s
PersistentKeepalive = 5
"""


class DropInCase(unittest.TestCase):
    time_limit = 60

    def setUp(self):
        self.daemon = rig.program("sluiced", os.environ["SLUICE_BUILD"])
        self.lab = rig.Lab()
        self.addCleanup(self.lab.close)
        self.machine = self.lab.machine("host")

    def daemonise(self, interface="wg0", machine=None):
        machine = machine or self.machine
        done = machine.run(self.daemon, interface, timeout=20)
        self.addCleanup(self.end, machine, interface)
        return done

    def pids(self, machine, interface="wg0"):
        """Daemons of this machine; they are children of nobody here."""
        found = []
        for pid in rig.processes_of(self.lab.name):
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as file:
                    words = file.read().split(b"\0")
                same = os.stat("/proc/%d/ns/net" % pid).st_ino == os.stat("/proc/%d/ns/net" % machine.pid).st_ino
            except OSError:
                continue
            if words[0] == self.daemon.encode() and interface.encode() in words and same:
                found.append(pid)
        return found

    def end(self, machine, interface):
        for pid in self.pids(machine, interface):
            os.kill(pid, 15)
        rig.wait_until(lambda: not self.pids(machine, interface), "the daemon to end")

    def sockets(self, machine=None):
        return (machine or self.machine).text("sh", "-c", "cd /run; find wireguard sluice -type s 2>/dev/null || true").split()


class Process(DropInCase):
    def test_daemon(self):
        """U-13: parent ends when interface and socket are there; SIGTERM leaves nothing behind."""
        done = self.daemonise()
        self.assertEqual((done.stdout, done.stderr), ("", ""))
        self.assertIn("interface: wg0", self.machine.text("wg", "show", "wg0"))
        self.assertIn("mtu 1420", self.machine.text("ip", "link", "show", "wg0"))
        self.assertEqual(self.machine.text("stat", "-c", "%a %F", "/run/wireguard/wg0.sock").strip(), "600 socket")
        pid, = self.pids(self.machine)
        for fd in range(3):
            self.assertEqual(os.readlink("/proc/%d/fd/%d" % (pid, fd)), "/dev/null")
        self.assertEqual(os.getsid(pid), pid)
        self.end(self.machine, "wg0")
        self.assertFalse(self.machine.has_interface("wg0"))
        self.assertEqual(self.sockets(), [])

    def test_log_level_keeps_the_output(self):
        self.machine.run("sh", "-c", "LOG_LEVEL=debug %s wg0 > /run/log 2>&1" % self.daemon)
        self.addCleanup(self.end, self.machine, "wg0")
        pid, = self.pids(self.machine)
        self.assertEqual(os.readlink("/proc/%d/fd/0" % pid), "/dev/null")
        self.assertEqual(os.readlink("/proc/%d/fd/2" % pid), "/run/log")

    def test_foreground_by_option_and_by_environment(self):
        for words, environment in (((self.daemon, "-f", "wg0"), {}), ((self.daemon, "--foreground", "wg0"), {}),
                                   ((self.daemon, "wg0"), {"WG_PROCESS_FOREGROUND": "1"})):
            process = self.machine.start(*words, environment=environment)
            process.ready(lambda: self.machine.run("wg", "show", "wg0", check=False).returncode == 0, "its socket")
            self.assertTrue(process.running())
            process.child.send_signal(2)  # SIGINT
            self.assertEqual(process.wait(), 0)
            self.assertEqual(self.sockets(), [])

    def test_dies_with_its_interface(self):
        """U-13"""
        process = self.machine.start(self.daemon, "-f", "wg0")
        process.ready(lambda: self.machine.run("wg", "show", "wg0", check=False).returncode == 0, "its socket")
        self.machine.run("ip", "link", "del", "wg0")
        self.assertEqual(process.wait(5), 0)
        self.assertEqual(self.sockets(), [])

    def test_dies_with_its_socket(self):
        process = self.machine.start(self.daemon, "-f", "wg0")
        process.ready(lambda: self.machine.run("wg", "show", "wg0", check=False).returncode == 0, "its socket")
        self.machine.run("rm", "/run/wireguard/wg0.sock")
        self.assertEqual(process.wait(5), 0)
        self.assertFalse(self.machine.has_interface("wg0"))

    def test_inherited_descriptors(self):
        """WG_TUN_FD and WG_UAPI_FD, opened by another program; one queue, whatever the number of workers"""
        opener = self.lab.write("opener.py", OPENER)
        for workers in ("1", "2"):
            process = self.machine.start("/usr/bin/python3", opener, self.daemon, "wg0",
                                         environment={"SLUICE_WORKERS": workers})
            process.ready(lambda: self.machine.run("wg", "show", "wg0", check=False).returncode == 0, "its socket")
            self.assertEqual(process.stop(), 0)

    def test_follows_the_interface(self):
        """Admin state opens and closes the sockets"""
        self.daemonise()
        self.machine.run("wg", "set", "wg0", "listen-port", 51999)

        def listening():
            return len([line for line in self.machine.text("ss", "-Hlun").splitlines() if ":51999 " in line])
        self.assertEqual(listening(), 0)
        self.machine.run("ip", "link", "set", "wg0", "up")
        rig.wait_until(lambda: listening() == 2, "both families to listen")
        self.machine.run("wg", "set", "wg0", "listen-port", 51998)
        rig.wait_until(lambda: listening() == 0, "the old sockets to close")
        self.machine.run("wg", "set", "wg0", "listen-port", 51999)
        self.machine.run("ip", "link", "set", "wg0", "down")
        rig.wait_until(lambda: listening() == 0, "the sockets to close")
        self.assertEqual(self.machine.text("wg", "show", "wg0", "listen-port").strip(), "51999")

    def test_up_again_at_once(self):
        """Workers may still sleep on the sockets of a moment ago"""
        process = self.machine.start(self.daemon, "-f", "--workers", "3", "wg0")
        process.ready(lambda: self.machine.run("wg", "show", "wg0", check=False).returncode == 0, "its socket")
        self.machine.run("wg", "set", "wg0", "listen-port", 51999)
        self.machine.run("sh", "-c", "ip link set wg0 up; for n in $(seq 20); do ip link set wg0 down; ip link set wg0 up; done")
        rig.wait_until(lambda: self.machine.text("ss", "-Hlun").count(":51999 ") == 6, "three sockets of each family")
        self.assertEqual(process.output(), "")
        self.assertEqual(process.stop(), 0)

    def test_is_asleep_when_idle(self):
        process = self.machine.start(self.daemon, "-f", "--workers", "4", "wg0")
        process.ready(lambda: self.machine.run("wg", "show", "wg0", check=False).returncode == 0, "its socket")
        self.machine.run("ip", "link", "set", "wg0", "up")

        def cpu():
            with open("/proc/%d/stat" % process.pid, encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        before = cpu()
        self.machine.run("sleep", 2)
        self.assertLessEqual(cpu() - before, 4, "hundredths of a second of processor time in two")


OPENER = """
import fcntl, os, socket, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
# TUNSETIFF; IFF_TUN, IFF_NO_PI, IFF_VNET_HDR
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", sys.argv[2].encode(), 0x0001 | 0x1000 | 0x4000))
os.makedirs("/run/wireguard", exist_ok=True)
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.bind("/run/wireguard/%s.sock" % sys.argv[2])
server.listen()
for fd in (tun, server.fileno()):
    os.set_inheritable(fd, True)
os.environ.update(WG_TUN_FD=str(tun), WG_UAPI_FD=str(server.fileno()), WG_PROCESS_FOREGROUND="1")
os.execv(sys.argv[1], sys.argv[1:])
"""


class BadInput(DropInCase):
    """One clear line, exit status 1, nothing left."""

    def refused(self, *expected, words=None, prefix=()):
        before = self.machine.text("ip", "-br", "link"), self.sockets()
        for options in ([], ["-f"]):
            done = self.machine.run(*prefix, *(words or [self.daemon, *options, "wg0"]), check=False, timeout=20)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            for text in expected:
                self.assertRegex(done.stderr, text)
            self.assertEqual((self.machine.text("ip", "-br", "link"), self.sockets()), before)

    def test_interface_exists(self):
        self.machine.run("ip", "link", "add", "wg0", "type", "veth", "peer", "name", "other")
        self.refused("wg0 exists already")

    def test_second_instance(self):
        """U-11"""
        self.daemonise()
        self.refused("wg0 exists already")

    def test_socket_taken(self):
        self.machine.run("mkdir", "-p", "/run/wireguard")
        holder = self.machine.start("/usr/bin/python3", "-c", "import socket, time\n"
                                    "s = socket.socket(socket.AF_UNIX)\ns.bind('/run/wireguard/wg0.sock')\ns.listen()\n"
                                    "print('ready', flush=True)\ntime.sleep(60)")
        holder.ready(lambda: "ready" in holder.output(), "the socket")
        self.refused("wg0.sock", "in use")

    def test_stale_socket(self):
        self.machine.run("mkdir", "-p", "/run/wireguard")
        self.machine.run("/usr/bin/python3", "-c",
                         "import socket; socket.socket(socket.AF_UNIX).bind('/run/wireguard/wg0.sock')")
        self.daemonise()
        self.assertIn("interface: wg0", self.machine.text("wg", "show", "wg0"))

    def test_no_permission(self):
        self.refused("permission", "CAP_NET_ADMIN", prefix=["setpriv", "--bounding-set=-net_admin"])

    def test_no_tun(self):
        self.refused("/dev/net/tun", prefix=["unshare", "--mount", "sh", "-c",
                                             'mount -t tmpfs tmpfs /dev/net && exec "$@"', "sh"])

    def test_no_directory_for_the_socket(self):
        self.machine.run("touch", "/run/wireguard")
        self.refused("/wireguard")

    def test_ordinary_user(self):
        self.refused("permission", prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])

    def test_bad_names(self):
        for name in ("a/b", "a" * 16, "%d"):
            self.refused("interface", words=[self.daemon, "-f", name])

    def test_port_in_use(self):
        """U-04: up or down; the port it had stays"""
        self.daemonise()
        with self.machine.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("0.0.0.0", 51899))
            for state in ("down", "up"):
                self.machine.run("wg", "set", "wg0", "listen-port", 51820)
                self.machine.run("ip", "link", "set", "wg0", state)
                done = self.machine.run("wg", "set", "wg0", "listen-port", 51899, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("Address already in use", done.stderr)
                self.assertEqual(self.machine.text("wg", "show", "wg0", "listen-port").strip(), "51820")


    def test_port_in_use_by_another_of_us(self):
        """Sockets that share a port among workers share it with nobody else"""
        for interface in ("wg0", "wg1"):
            self.machine.run(self.daemon, "--workers", "2", interface)
            self.addCleanup(self.end, self.machine, interface)
            self.machine.run("ip", "link", "set", interface, "up")
        self.machine.run("wg", "set", "wg0", "listen-port", 51899)
        done = self.machine.run("wg", "set", "wg1", "listen-port", 51899, check=False)
        self.assertIn("Address already in use", done.stderr)

    def test_workers(self):
        done = self.machine.run("env", "SLUICE_WORKERS=many", self.daemon, "wg0", check=False)
        self.assertEqual((done.returncode, done.stderr), (1, "sluiced: SLUICE_WORKERS: a number from 1 to 16\n"))
        self.assertEqual(self.machine.run(self.daemon, "--workers", "0", "wg0", check=False).returncode, 2)

    def test_port_taken_while_down(self):
        """Says so and stays down; up again when the port is free"""
        process = self.machine.start(self.daemon, "-f", "wg0")
        process.ready(lambda: self.machine.run("wg", "show", "wg0", check=False).returncode == 0, "its socket")
        self.machine.run("wg", "set", "wg0", "listen-port", 51899)
        with self.machine.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("0.0.0.0", 51899))
            self.machine.run("ip", "link", "set", "wg0", "up")
            process.ready(lambda: "UDP port 51899 is in use" in process.output(), "its complaint")
            self.machine.run("wg", "show", "wg0")
        self.machine.run("ip", "link", "set", "wg0", "down")
        self.machine.run("ip", "link", "set", "wg0", "up")
        process.ready(lambda: ":51899 " in self.machine.text("ss", "-Hlun"), "the port to be bound")
        self.assertEqual(len(process.output().splitlines()), 1)
        self.assertEqual(process.stop(), 0)


class Insight(DropInCase):
    """`sluice` knows drop-in interfaces, too."""

    def setUp(self):
        super().setUp()
        self.cli = rig.program("sluice", os.environ["SLUICE_BUILD"])

    def sluice(self, *arguments):
        return self.machine.text(self.cli, *arguments)

    def test_show_stats_and_drops(self):
        self.daemonise()
        self.machine.add_addresses("wg0", "10.77.0.1/24")
        self.machine.run("ip", "link", "set", "wg0", "up")
        self.assertIn("tunnel wg0, public key none", self.sluice())
        key = rig.Key()
        self.machine.run("wg", "set", "wg0", "private-key", "/dev/stdin", stdin=key.private)
        self.machine.run("ping", "-c", 2, "-i", "0.2", "-W", 1, "10.77.0.9", check=False)
        show = json.loads(self.sluice("show", "--json"))
        self.assertEqual((show["gateway"], [p["device"] for p in show["ports"]]), ("wg0", ["tun", "socket"]))
        self.assertEqual((show["tunnels"][0]["public_key"], show["tunnels"][0]["mtu"]), (key.public, 1420))
        self.assertGreaterEqual(show["ports"][0]["rx_packets"], 2)
        self.assertIn("tunnel wg0, public key " + key.public, self.sluice("show", "wg0"))
        stages = {s["name"] for w in json.loads(self.sluice("stats", "--json"))["workers"] for s in w["stages"]}
        self.assertIn("encapsulate", stages)
        self.assertIn("on any core", self.sluice("stats"))
        drops = {d["reason"]: d["packets"] for d in json.loads(self.sluice("drops", "--json"))["drops"]}
        self.assertEqual(list(drops), ["no_peer"])
        self.assertGreaterEqual(drops["no_peer"], 2)
        self.assertIn("no_peer", self.sluice("drops"))
        self.assertIn("no_buffer", self.sluice("drops", "--all"))

    def test_several_interfaces(self):
        for interface in ("wg0", "wg1"):
            self.daemonise(interface)
        done = self.machine.run(self.cli, "drops", check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "sluice: several gateways are running; choose by --name: wg0, wg1\n"))
        self.assertIn("tunnel wg1", self.sluice("show", "wg1"))
        self.assertEqual(self.sluice("drops", "--name", "wg0"), "no packet was dropped\n")
        self.end(self.machine, "wg1")
        self.assertIn("tunnel wg0", self.sluice())

    def test_reload(self):
        """There is no file; the line says what does it instead"""
        self.daemonise()
        done = self.machine.run(self.cli, "reload", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^sluice: wg0 has no configuration file.*wg syncconf wg0 FILE.*\n$")

    def test_a_host_without_room_for_the_socket(self):
        """The tunnel is what counts"""
        self.machine.run("touch", "/run/sluice")
        self.daemonise()
        self.assertIn("interface: wg0", self.machine.text("wg", "show", "wg0"))


class WgQuick(DropInCase):
    def setUp(self):
        super().setUp()
        self.other = self.lab.machine("other")
        self.lab.cable(self.machine, "eth0", self.other, "eth0")
        rig.kernel_end(self.machine, "eth0", "192.0.2.1/24", "2001:db8::1/64")
        rig.kernel_end(self.other, "eth0", "192.0.2.2/24", "2001:db8::2/64")
        self.keys, self.psk = (rig.Key(), rig.Key()), rig.preshared_key()

    def quick(self, machine, *arguments):
        return machine.run("env", "WG_QUICK_USERSPACE_IMPLEMENTATION=%s" % self.daemon, "wg-quick", *arguments)

    def write(self, number, name, allowed, endpoint, more=""):
        directory = os.path.join(self.lab.directory, str(number))
        os.makedirs(directory, exist_ok=True)
        path = self.lab.write("%d/%s.conf" % (number, name), QUICK % {
            "private": self.keys[number - 1].private, "public": self.keys[2 - number].public, "psk": self.psk,
            "address": "10.77.0.%d/24, fd77::%d/64" % (number, number), "allowed": allowed, "endpoint": endpoint,
            "more": more})
        return path

    def test_up_and_down(self):
        """U-19: real files, a default route through the tunnel with its mark, all gone afterwards"""
        ours = self.write(1, "wg0", "0.0.0.0/0, ::/0", "192.0.2.2:51820")
        theirs = self.write(2, "wg0", "10.77.0.1/32, fd77::1/128", "[2001:db8::1]:51820")
        before = [m.text("sh", "-c", "ip rule; ip -6 rule; ip -br addr; ip route show table all | grep -v fe80")
                  for m in (self.machine, self.other)]
        self.quick(self.machine, "up", ours)
        self.addCleanup(self.end, self.machine, "wg0")
        self.quick(self.other, "up", theirs)
        self.addCleanup(self.end, self.other, "wg0")
        self.machine.reaches("10.77.0.2")
        self.machine.reaches("fd77::2")
        self.assertRegex(self.machine.text("wg", "show", "wg0", "fwmark"), "0xca6c")
        self.assertEqual(self.machine.ping("192.0.2.2"), 3, "what is routed into the tunnel comes out of it, too")
        self.quick(self.machine, "save", ours)
        self.quick(self.machine, "down", ours)
        self.quick(self.other, "down", theirs)
        rig.wait_until(lambda: not self.pids(self.machine) + self.pids(self.other), "the daemons to end")
        after = [m.text("sh", "-c", "ip rule; ip -6 rule; ip -br addr; ip route show table all | grep -v fe80")
                 for m in (self.machine, self.other)]
        self.assertEqual(after, before)


if __name__ == "__main__":
    unittest.main()
