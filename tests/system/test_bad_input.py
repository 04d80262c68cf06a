"""What an operator can get wrong: one clear line, exit status 1, and nothing left half-made."""
import os
import socket
import subprocess
import unittest

import rig

CONFIG = """
[gateway]
name = "wrong"
%(gateway)s

[[port]]
name = "wan"
device = "%(device)s"
addresses = ["192.0.2.1/24"]

[[tunnel]]
name = "wg0"
private-key-file = "%(key)s"
listen-port = 51820
addresses = ["10.77.0.1/24"]
"""


class BadInput(unittest.TestCase):
    time_limit = 40

    @classmethod
    def setUpClass(cls):
        cls.build = os.environ["SLUICE_BUILD"]
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.machine, cls.other = cls.lab.machine("gateway"), cls.lab.machine("other")
        cls.lab.cable(cls.machine, "wan0", cls.other, "eth0")
        cls.daemon, cls.cli = rig.program("sluiced", cls.build), rig.program("sluice", cls.build)
        cls.lab.write("good.key", rig.Key().private + "\n")

    def config(self, device="af_packet:wan0", key="good.key", gateway=""):
        return self.lab.write("wrong.toml", CONFIG % {"device": device, "key": key, "gateway": gateway})

    def state(self):
        return (self.machine.text("ip", "-br", "address"), self.machine.text("ip", "route", "show", "table", "all"),
                self.machine.text("find", "/run", "-type", "s"))

    def refused(self, *expected, config=None, prefix=(), count=1):
        """sluiced does not start: says all of `expected` in `count` lines, ends with 1, leaves the machine as it was."""
        before = self.state()
        done = self.machine.run(*prefix, self.daemon, "--config", config or self.config(), check=False, timeout=20)
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(len(lines), count, done.stderr)
        for text in expected:
            self.assertRegex(done.stderr, text)
        self.assertEqual(self.state(), before)
        return done.stderr

    def test_good_control(self):
        """The configuration all others spoil is good."""
        gateway = rig.Gateway(self.machine, self.config(), self.build, name="wrong")
        gateway.start()
        self.assertEqual(gateway.stop(), 0)

    def test_toml_syntax(self):
        self.refused(r"syntax\.toml:2:\d+: ", config=self.lab.write("syntax.toml", "[gateway]\nname = \n"))

    def test_unknown_key(self):
        self.refused(r"wrong\.toml:4:\d+: gateway\.", "workers", config=self.config(gateway="wokers = [0]"))

    def test_all_errors_at_once(self):
        self.refused("listen-port", "mtu", config=self.lab.write("two.toml",
                                                                 '[[tunnel]]\nname = "wg0"\nprivate-key-file = "good.key"\n'
                                                                 'listen-port = 99999\nmtu = 100\n'), count=2)

    def test_check_says_the_same(self):
        config = self.config(gateway="wokers = [0]")
        said = self.refused("wokers", config=config)
        checked = self.machine.run(self.cli, "check", config, check=False)
        self.assertEqual(checked.returncode, 1)
        self.assertIn(said.strip().split("wrong.toml:", 1)[1], checked.stdout + checked.stderr)

    def test_missing_file(self):
        self.refused("/does/not/exist.toml", config="/does/not/exist.toml")

    def test_missing_key_file(self):
        self.refused("missing.key", config=self.config(key="missing.key"))

    def test_world_readable_key_file(self):
        path = self.lab.write("open.key", rig.Key().private + "\n", mode=0o644)
        self.refused(r"open\.key", "0644", "chmod 600", config=self.config(key=path))

    def test_unknown_device(self):
        self.refused("nonsense0", config=self.config(device="af_packet:nonsense0"))

    def test_unknown_device_kind(self):
        self.refused("teleport", config=self.config(device="teleport:wan0"))

    def test_core_that_does_not_exist(self):
        self.refused("core 4000 does not exist", "allowed: 0", config=self.config(gateway="workers = [4000]"))

    def test_port_taken(self):
        """Another program of the gateway has the listen port."""
        with self.machine.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("0.0.0.0", 51820))
            self.refused("51820", "(?i)in use")

    def test_second_instance(self):
        """U-11: the first one's sockets stay"""
        gateway = rig.Gateway(self.machine, self.config(), self.build, name="wrong")
        gateway.start()
        try:
            self.refused("(?i)running|in use|taken|exists")
            self.assertTrue(gateway.answers())
        finally:
            gateway.stop()

    def test_no_tun_permission(self):
        self.refused("(?i)CAP_NET_ADMIN|permi", prefix=("setpriv", "--bounding-set", "-net_admin", "--inh-caps",
                                                        "-net_admin"))

    def test_no_tun_device(self):
        self.refused("/dev/net/tun", prefix=("unshare", "--mount", "sh", "-c",
                                             'mount -t tmpfs tmpfs /dev/net && exec "$@"', "sh"))

    def test_no_hugepages_are_no_error(self):
        """They are used when there are some; `memory` beyond what there is, is said."""
        self.refused("(?i)memory|huge", config=self.config(gateway="memory = 1048576"))

    def test_usage(self):
        done = self.machine.run(self.daemon, "--nonsense", check=False)
        self.assertEqual((done.returncode, bool(done.stderr.strip())), (2, True))
        done = self.machine.run(self.cli, "nonsense", check=False)
        self.assertEqual(done.returncode, 2)

    def test_cli_without_a_gateway(self):
        done = self.machine.run(self.cli, "show", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_reload_of_a_bad_file_changes_nothing(self):
        gateway = rig.Gateway(self.machine, self.config(), self.build, name="wrong")
        gateway.start()
        try:
            before = self.machine.text("wg", "showconf", "wg0")
            self.config(gateway="wokers = [0]")
            done = gateway.sluice("reload", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("wokers", done.stdout + done.stderr)
            self.assertEqual(self.machine.text("wg", "showconf", "wg0"), before)
        finally:
            gateway.stop()

    def test_generated_keys(self):
        """genkey, pubkey and genpsk as `wg` does them"""
        private = self.machine.text(self.cli, "genkey")
        ours = self.machine.text(self.cli, "pubkey", stdin=private)
        theirs = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout
        self.assertEqual(ours, theirs)
        self.assertEqual(len(self.machine.text(self.cli, "genpsk").strip()), 44)
