"""Keys of an age: sluiced-fast-clock (see test_rekey.py) makes minutes of the protocol seconds of ours."""
import socket
import time
import unittest

import pywg
from peering import AGAINST_WIREGUARD_GO, X_OUTER, X_PORT, PeeringCase, b64, echo

SCALE = 20
HOME = "%s:%d" % (X_OUTER[socket.AF_INET], X_PORT)


@unittest.skipIf(AGAINST_WIREGUARD_GO, "wireguard-go has no fast clock")
class Ages(PeeringCase):
    daemon, environment = "sluiced-fast-clock", {"SLUICE_CLOCK_SCALE": str(SCALE)}

    def at_age(self, start, seconds):
        """Waits until the session is so many protocol seconds old."""
        time.sleep(max(0.0, start + seconds / SCALE - time.monotonic()))

    def initiator(self):
        """A session that the gateway began; when."""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME)
        self.provoke()
        self.answer_initiation(udp, peer)
        start = time.monotonic()
        self.assertIsNotNone(udp.receive(2.0, want=pywg.DATA))
        return udp, peer, start

    def types(self, udp, seconds):
        """Kinds of all messages that arrive within so many protocol seconds."""
        end, found = time.monotonic() + seconds / SCALE, []
        while (message := udp.receive(end - time.monotonic())) is not None:
            found.append(pywg.message_type(message))
        return found

    def keep_alive(self, udp, peer, start, until):
        """X answers now and then, so that silence is no reason for a handshake."""
        for age in range(8, until, 8):
            self.at_age(start, age)
            udp.send(peer.session.keepalive())

    def test_initiator_rekeys_on_send(self):
        """T-07, T-08: not at 117 s, at 122 s, and the old key carries the data"""
        udp, peer, start = self.initiator()
        self.keep_alive(udp, peer, start, 117)
        self.at_age(start, 117)
        udp.drain()
        self.provoke()
        self.assertEqual(self.types(udp, 2), [pywg.DATA])
        udp.send(peer.session.keepalive())
        self.at_age(start, 122)
        self.provoke()
        self.assertEqual(sorted(self.types(udp, 2)), [pywg.INITIATION, pywg.DATA])

    def test_responder_does_not_rekey(self):
        """T-09"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME)
        self.handshake(udp, peer)
        start, kinds = time.monotonic(), []
        self.keep_alive(udp, peer, start, 124)
        for age in range(124, 164, 8):
            self.at_age(start, age)
            self.provoke()
            udp.send(peer.session.encrypt(echo(age)))
            kinds += self.types(udp, 2)
        self.assertNotIn(pywg.INITIATION, kinds)
        self.assertIn(pywg.DATA, kinds)

    def test_last_minute_rekey_on_receive(self):
        """T-10: once, though two packets ask for it"""
        udp, peer, start = self.initiator()
        self.at_age(start, 150)
        udp.drain()
        udp.send(peer.session.keepalive())
        self.assertNotIn(pywg.INITIATION, self.types(udp, 4))
        self.at_age(start, 168)
        udp.send(peer.session.keepalive())
        udp.send(peer.session.keepalive())
        self.assertEqual(self.types(udp, 4).count(pywg.INITIATION), 1)

    def test_keys_end_at_180_seconds(self):
        """T-11"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME)
        self.handshake(udp, peer)
        start = time.monotonic()
        self.assert_alive(udp, peer, 1)
        self.keep_alive(udp, peer, start, 172)
        self.at_age(start, 174)
        udp.drain()
        udp.send(peer.session.encrypt(echo(2)))
        self.assertIsNotNone(udp.receive(0.1, want=pywg.DATA), "174 s old")
        self.at_age(start, 183)
        self.assert_silent(udp, peer.session.encrypt(echo(3)), "183 s old", reason="data_key_expired")
        self.provoke()
        self.assertEqual(pywg.message_type(udp.receive(1.0) or b""), pywg.INITIATION)

    def test_keys_are_forgotten_after_540_seconds(self):
        """T-12: and the peer stays configured"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        start = time.monotonic()
        self.assert_alive(udp, peer, 1)
        self.at_age(start, 550)
        self.assert_silent(udp, peer.session.encrypt(echo(2)), "long gone", reason="data_unknown_index")
        self.assertIn(b64(peer.static.public), self.wg("show", "wg0", "peers"))
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 3)

    def test_gives_up(self):
        """I-04: 20 initiations, and no more"""
        udp = self.udp()
        self.add_peer(endpoint=HOME)
        self.provoke()
        self.assertEqual(self.types(udp, 125), [pywg.INITIATION] * 20)
