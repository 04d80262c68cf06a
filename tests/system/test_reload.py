"""The configuration changes under traffic: what the file says is applied, what it does not touch goes on, and what cannot be
done while running is refused as a whole."""
import os
import re
import signal
import unittest

import rig
from sites import shipped_sites


class Reload(unittest.TestCase):
    time_limit = 60

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.sites = shipped_sites(cls.lab).start()
        cls.a, cls.b = cls.sites.a, cls.sites.b
        cls.sites.wait_until_connected()
        with open(cls.a.copy, encoding="utf-8") as file:
            cls.original = file.read()

    def setUp(self):
        self.handshake = self.handshakes()
        self.addCleanup(self.reload, self.original)

    def diagnosis(self):
        return self.a.gateway.process.output()[-2000:]

    def handshakes(self):
        """The session with berlin must survive every one of these."""
        lines = self.a.gateway.wg("show", self.a.gateway.tunnel, "latest-handshakes").stdout.splitlines()
        return [line for line in lines if line.startswith(self.b.key.public)]

    def write(self, text):
        with open(self.a.copy, "w", encoding="utf-8") as file:
            file.write(text)

    def reload(self, text):
        self.write(text)
        return self.a.gateway.sluice("reload", check=False)

    def assert_session_lives(self):
        self.assertEqual(self.handshakes(), self.handshake)
        self.assertEqual(self.a.host.ping(str(self.b.host_address(4).ip), count=2), 2)

    def with_another_peer(self, key):
        return self.original + '\n[[tunnel.peer]]\nname = "oslo"\npublic-key = "%s"\nallowed-ips = ["10.77.0.0/16"]\n' % key

    def test_peers_come_and_go(self):
        key = rig.Key().public
        done = self.reload(self.with_another_peer(key))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("oslo", done.stdout)
        self.assertIn(key, self.a.gateway.wg("show", self.a.gateway.tunnel, "peers").stdout)
        self.assertIn("10.77.0.0/16", self.a.machine.text("ip", "route"))
        self.assert_session_lives()
        self.assertEqual(self.reload(self.original).returncode, 0)
        self.assertNotIn(key, self.a.gateway.wg("show", self.a.gateway.tunnel, "peers").stdout)
        self.assertNotIn("10.77.0.0/16", self.a.machine.text("ip", "route"))
        self.assert_session_lives()

    def test_by_signal(self):
        key = rig.Key().public
        self.write(self.with_another_peer(key))
        os.kill(self.a.gateway.process.pid, signal.SIGHUP)
        rig.wait_until(lambda: key in self.a.gateway.wg("show", self.a.gateway.tunnel, "peers").stdout, "the new peer", 5.0)
        self.assert_session_lives()

    def test_allowed_ips_move_routes(self):
        changed = re.sub(r'"10\.2\.0\.0/16"', '"10.2.0.0/17", "10.78.0.0/16"', self.original)
        self.assertNotEqual(changed, self.original)
        self.assertEqual(self.reload(changed).returncode, 0)
        routes = self.a.machine.text("ip", "route")
        self.assertIn("10.2.0.0/17", routes)
        self.assertIn("10.78.0.0/16", routes)
        self.assertNotIn("10.2.0.0/16", routes)
        self.assert_session_lives()

    def test_what_needs_a_restart_is_refused_as_a_whole(self):
        before = self.a.gateway.wg("showconf", self.a.gateway.tunnel).stdout
        changed = self.with_another_peer(rig.Key().public).replace('name      = "lan"', 'name      = "inside"')
        self.assertNotEqual(changed, self.with_another_peer(""))
        done = self.reload(changed)
        self.assertEqual(done.returncode, 1)
        self.assertIn("restart", done.stdout + done.stderr)
        self.assertEqual(self.a.gateway.wg("showconf", self.a.gateway.tunnel).stdout, before)
        self.assert_session_lives()
