"""Every datagram of tests/vectors/malformed*.json: the answer or the silence it states, and exactly one named reason moves.

The files give each datagram with the stage that must drop it; REASONS says which counter that stage moves. Initiations are
sent as they stand. Responses and data depend on values a running gateway draws itself, so they are made anew for its
handshake, by the recipe that the vector's id names.
"""
import json
import os
import socket
import struct

import pywg
import rig
from peering import AGAINST_WIREGUARD_GO, X_OUTER, X_PORT, PeeringCase, b64
from pywg import Endpoint, KeyPair

VECTORS = os.path.join(rig.ROOT, "tests", "vectors")


def load(name):
    with open(os.path.join(VECTORS, name), encoding="utf-8") as file:
        return json.load(file)


class MalformedInitiation(PeeringCase):
    """M-01, M-05 to M-07, M-09, H-05, H-06, H-14, H-15"""

    REASONS = {"format": "message_invalid", "mac1": "handshake_mac1", "low-order": "initiation_low_order",
               "unknown-peer": "initiation_unknown_peer", "index": "data_unknown_index"}
    # What fails to authenticate says which part of the initiation it was.
    AUTHENTICATION = {"flip-ephemeral": "initiation_static", "flip-static": "initiation_static",
                      "flip-static-tag": "initiation_static", "ephemeral-top-bit": "initiation_static",
                      "flip-timestamp": "initiation_timestamp", "flip-timestamp-tag": "initiation_timestamp"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = load("malformed.json")
        cls.peer = b64(bytes.fromhex(cls.file["configured_peer_public"]))
        cls.gateway_machine.run("wg", "set", "wg0", "private-key", "/dev/stdin",
                                stdin=b64(bytes.fromhex(cls.file["responder_static_private"])))

    def reason(self, vector):
        if vector["dropped_at"] == "auth":
            return self.AUTHENTICATION[vector["id"]]
        return self.REASONS[vector["dropped_at"]]

    def test_every_datagram(self):
        udp = self.udp()
        for vector in self.file["vectors"]:
            with self.subTest(vector["id"]):
                # A peer that was removed and added has forgotten the timestamp: a fresh responder.
                self.wg_set("peer", self.peer, "remove")
                self.wg_set("peer", self.peer, "preshared-key", "/dev/stdin",
                            stdin=b64(bytes.fromhex(self.file["preshared_key"])))
                message = bytes.fromhex(vector["message"])
                if vector["dropped_at"]:
                    self.assert_silent(udp, message, vector["checks"], reason=self.reason(vector))
                else:
                    with self.drops():
                        udp.send(message)
                        answer = udp.receive(2.0)
                    self.assertIsNotNone(answer, vector["checks"])
                    self.assertEqual(pywg.message_type(answer), pywg.RESPONSE)
                    self.assertEqual(answer[8:12], message[4:8], "receiver index")


class MalformedResponse(PeeringCase):
    """M-01, M-03, M-05, M-07, M-09, I-07, I-11, I-12"""

    REASONS = {"format": "message_invalid", "mac1": "handshake_mac1", "low-order": "response_low_order",
               "auth": "response_authentication", "index": None}
    time_limit = 120

    def waiting(self, udp):
        """The gateway has just sent an initiation to a new peer; the peer, with its good response."""
        self.wg_remove_peers()
        udp.drain()
        peer = self.add_peer(endpoint="%s:%d" % (X_OUTER[socket.AF_INET], X_PORT), keepalive=25, psk=os.urandom(32))
        initiation = udp.receive(3.0, want=pywg.INITIATION)
        self.assertIsNotNone(initiation, "no initiation")
        peer.consume_initiation(initiation)
        handshake, ephemeral, index = peer._hs, peer._remote_eph, peer.remote_index
        good = peer.make_response()

        def again(psk=None, **options):
            """Another response to the same initiation, wrong as the options say."""
            other = Endpoint(peer.static, self.key.public, peer.psk if psk is None else psk)
            other._hs, other._remote_eph, other.remote_index = handshake, ephemeral, index
            return other.make_response(**options)
        return peer, good, again

    def recipe(self, identifier, good, again):
        """The datagram that the vector of this id describes, for the handshake under way."""
        name, _, detail = identifier.rpartition("-")
        if name == "truncated":
            return good[:int(detail)]
        if name == "reserved":
            return again(reserved=bytes(1 if k + 1 == int(detail) else 0 for k in range(3)))
        if name == "low-order":
            return low_order_response(again, pywg.LOW_ORDER_POINTS[int(detail)], self.key.public)
        if name == "type":
            return bytes([int(detail)]) + good[1:]

        def flipped(position):
            changed = bytearray(good[:60])
            changed[position] ^= 1
            return pywg.finish_macs(bytes(changed), self.key.public)
        index = struct.unpack_from("<I", good, 8)[0]
        return {
            "control-good": lambda: good,
            "wrong-psk": lambda: again(psk=os.urandom(32)),
            "wrong-receiver-index": lambda: again(receiver_index=index ^ 0x5A5A5A5A),
            "mac1-for-other-key": lambda: again(mac1_for=KeyPair.generate().public),
            "flip-ephemeral": lambda: flipped(12),
            "flip-tag": lambda: flipped(44),
            "flip-tag-last": lambda: flipped(59),
            "sender-index-changed": lambda: pywg.finish_macs(good[:4] + bytes(4) + good[8:60], self.key.public),
            "one-too-long": lambda: good + b"\0",
        }[identifier]()

    def reason(self, vector):
        if vector["id"] == "type-4":
            return "data_unknown_index"
        return self.REASONS[vector["dropped_at"]] or "response_unknown_index"

    def test_every_datagram(self):
        udp = self.udp()
        for vector in load("malformed_response.json")["vectors"]:
            if AGAINST_WIREGUARD_GO and vector["dropped_at"] == "low-order":
                continue  # Debian's version does not look at the secrets of a response
            with self.subTest(vector["id"]):
                peer, good, again = self.waiting(udp)
                message = self.recipe(vector["id"], good, again)
                self.assertEqual(len(message), len(bytes.fromhex(vector["message"])),
                                 "recipe and vector differ in length")
                if vector["dropped_at"]:
                    self.assert_silent(udp, message, vector["checks"], reason=self.reason(vector))
                    udp.send(good)
                else:
                    with self.drops():
                        udp.send(message)
                        self.assert_confirmed(udp, peer, struct.unpack_from("<I", message, 4)[0])
                    continue
                self.assert_confirmed(udp, peer, peer.session.local_index)

    def assert_confirmed(self, udp, peer, index):
        """The genuine response is accepted after anything: an empty first data message."""
        data = udp.receive(2.0, want=pywg.DATA)
        self.assertIsNotNone(data, "the response was not accepted")
        self.assertEqual(struct.unpack_from("<I", data, 4)[0], index)
        self.assertEqual(data[8:16], bytes(8), "the first counter is 0")
        peer.session.local_index = index
        self.assertEqual(peer.session.decrypt(data), b"")

    def test_a_duplicate_is_silent(self):
        """I-08"""
        udp = self.udp()
        peer, good, _ = self.waiting(udp)
        udp.send(good)
        self.assert_confirmed(udp, peer, peer.session.local_index)
        before = self.shown("latest-handshakes", peer)
        self.assert_silent(udp, good, "a duplicate response", reason="response_unknown_index")
        self.assertEqual(self.shown("latest-handshakes", peer), before)
        self.assert_alive(udp, peer, 1)


def low_order_response(again, point, gateway_public):
    """A response whose ephemeral is a point of low order and whose tag is right for the all-zero secrets it leads to."""
    class LowOrder(KeyPair):
        def __init__(self):
            self.private, self.public = bytes(32), point
    original = pywg.dh
    pywg.dh = lambda private, public, check=True: pywg.ZERO32
    try:
        return again(ephemeral=LowOrder())
    finally:
        pywg.dh = original


class MalformedData(PeeringCase):
    """M-01, M-04, M-05, M-13, M-15, M-16, D-06, W-04"""

    REASONS = {"format": "message_invalid", "index": "data_unknown_index", "auth": "data_authentication",
               "replay": "data_replay", "inner-type": "inner_malformed", "inner-length": "inner_malformed",
               "source": "inner_source"}
    time_limit = 120

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = load("malformed_data.json")
        # The inner packets go to these addresses and this port, where somebody listens: no ICMP comes back.
        cls.gateway_machine.add_addresses("wg0", "10.0.0.1/24", "fd00::1/64")
        listener = cls.gateway_machine.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        listener.bind(("::", 2000))
        cls.addClassCleanup(listener.close)
        cls.wait_for_quiet()

    def recipe(self, vector, session):
        """The vector's datagram under the keys of a running session, with a counter that was not used yet."""
        original = bytes.fromhex(vector["message"])
        file_key, index = bytes.fromhex(self.file["key"]), struct.pack("<I", session.remote_index)
        counter = session.send_counter
        session.send_counter += 1
        good = session.encrypt(self.control_plaintext(file_key), counter=counter, pad=False)
        name, _, detail = vector["id"].rpartition("-")
        if name == "truncated":
            return good[:int(detail)]
        if vector["id"] == "extended":
            return good + b"\0"
        if vector["id"] == "index":
            return good[:4] + struct.pack("<I", session.remote_index ^ 0x5A5A5A5A) + good[8:]
        if vector["id"] == "other-direction":
            return session.encrypt(self.control_plaintext(file_key), counter=counter, pad=False, key=session.recv_key)
        if name.startswith("flip") or vector["id"].startswith("flip"):
            position = {"flip-counter": 8, "flip-counter-top": 15, "flip-ciphertext": 20,
                        "flip-tag": len(good) - 1}[vector["id"]]
            return good[:position] + bytes([good[position] ^ (0x80 if position == 15 else 1)]) + good[position + 1:]
        if name == "counter":
            return session.encrypt(self.control_plaintext(file_key), counter=int(detail), pad=False)
        if name == "reserved":
            return original[:4] + index + good[8:]
        # Everything else is authentic: the same plaintext under our key.
        plain = pywg.aead_open(file_key, struct.unpack_from("<Q", original, 8)[0], original[16:])
        return session.encrypt(plain, counter=counter, pad=False)

    def control_plaintext(self, file_key):
        original = bytes.fromhex(self.file["vectors"][0]["message"])
        return pywg.aead_open(file_key, struct.unpack_from("<Q", original, 8)[0], original[16:])

    def test_every_datagram(self):
        udp, sniffer = self.udp(), self.sniffer()
        peer = self.add_peer(allowed=self.file["allowed_ips"] + [])
        self.handshake(udp, peer)
        for vector in self.file["vectors"]:
            if AGAINST_WIREGUARD_GO and vector["id"] in ("inner-v6-payload-65496", "inner-v6-payload-65535"):
                continue  # Debian's version dies of the first and delivers a runt for the second
            with self.subTest(vector["id"]):
                sniffer.drain()
                message = self.recipe(vector, peer.session)
                self.assertEqual(len(message), len(bytes.fromhex(vector["message"])),
                                 "recipe and vector differ in length")
                if vector["dropped_at"]:
                    self.assert_silent(udp, message, vector["checks"], reason=self.reason(vector))
                    delivered = sniffer.receive(0.1 if AGAINST_WIREGUARD_GO else 0.01)
                    self.assertIsNone(delivered, "was delivered: %s" % (delivered or b"").hex())
                else:
                    with self.drops():
                        udp.send(message)
                        delivered = sniffer.receive(1.0 if vector["inner"] else 0.1)
                    self.assertEqual((delivered or b"").hex(), vector["inner"])
                udp.drain()
        self.assertIsNotNone(self.ping(udp, peer, 1, source="10.0.0.2", destination="10.0.0.1"),
                             "the session must have survived")

    def reason(self, vector):
        return self.REASONS[vector["dropped_at"]]

    def test_every_truncation_of_an_initiation(self):
        """M-02: lengths 0 to 147, and 149"""
        udp, peer = self.udp(), self.add_peer()
        good = peer.make_initiation()
        with self.drops(message_invalid=149):
            for length in list(range(148)):
                udp.send(good[:length])
            udp.send(good + b"\0")
        self.assertIsNone(udp.receive(0.1), "was answered")
        self.handshake(udp, peer)

    def test_every_truncation_of_a_response_and_a_cookie_reply(self):
        """M-03"""
        udp = self.udp()
        response, cookie_reply = b"\2\0\0\0" + os.urandom(89), b"\3\0\0\0" + os.urandom(61)
        with self.drops(message_invalid=92 + 1 + 64 + 1):
            for length in [*range(92), 93]:
                udp.send(response[:length])
            for length in [*range(64), 65]:
                udp.send(cookie_reply[:length])
        self.assertIsNone(udp.receive(0.1), "was answered")

    def test_every_truncation_of_data(self):
        """M-04"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        message = peer.session.encrypt(b"\x45" + bytes(83))
        with self.drops(message_invalid=32, data_authentication=len(message) - 32 + 1):
            for length in range(len(message)):
                udp.send(message[:length])
            udp.send(message + b"\0")
        self.assert_alive(udp, peer, 2)

    def test_types(self):
        """M-06: types 0 and 5 to 255, and a type in the wrong byte order"""
        udp = self.udp()
        types = [bytes([number, 0, 0, 0]) for number in (0, *range(5, 256))] + [bytes([0, 0, 0,
                number]) for number in (1, 2, 3, 4)]
        with self.drops(message_invalid=len(types)):
            for kind in types:
                udp.send(kind + os.urandom(144))
        self.assertIsNone(udp.receive(0.1), "was answered")

    def test_flipped_bits_of_an_initiation(self):
        """M-08: one bit of each byte, as it is and under a correct mac1"""
        udp, peer = self.udp(), self.add_peer()
        good = peer.make_initiation()
        for position in range(148):
            changed = bytearray(good)
            changed[position] ^= 1 << position % 8
            if position < 4:
                reason = "message_invalid"
            elif position < 132:
                reason = "handshake_mac1"
            else:
                continue  # mac2 is not looked at unless under load
            self.assert_silent(udp, bytes(changed), "byte %d" % position, reason=reason)
            if 8 <= position < 116:
                reason = "initiation_static" if position < 88 else "initiation_timestamp"
                self.assert_silent(udp, pywg.finish_macs(bytes(changed[:116]), self.key.public),
                                   "byte %d under mac1" % position, reason=reason)
        udp.send(good)
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE), "the good one is answered after all that")

    def test_data_for_the_index_of_another_peer(self):
        """M-10"""
        udp, other_udp = self.udp(), self.udp(port=X_PORT + 1)
        peer, other = self.add_peer(), self.add_peer(allowed=("10.77.0.9/32",))
        self.handshake(udp, peer)
        self.handshake(other_udp, other)
        self.assert_alive(udp, peer, 1)
        self.assert_silent(udp, peer.session.encrypt(b"", index=other.session.remote_index), "a foreign index",
                           reason="data_authentication")
        self.assert_alive(udp, peer, 2)

    def test_data_for_the_index_of_a_handshake(self):
        """M-11"""
        udp = self.udp()
        self.add_peer(endpoint="%s:%d" % (X_OUTER[socket.AF_INET], X_PORT), keepalive=25)
        initiation = udp.receive(3.0, want=pywg.INITIATION)
        self.assertIsNotNone(initiation, "no initiation")
        self.assert_silent(udp, b"\4\0\0\0" + initiation[4:8] + bytes(8) + os.urandom(16),
                           "data for a handshake's index",
                           reason="data_unknown_index")

    def test_response_for_the_index_of_a_session(self):
        """M-12"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        forged = pywg.finish_macs(b"\2\0\0\0" + os.urandom(4) + struct.pack("<I",
                peer.session.remote_index) + os.urandom(48), self.key.public)
        self.assert_silent(udp, forged, "a response for a session's index", reason="response_unknown_index")
        self.assert_alive(udp, peer, 2)

    def test_own_initiation_reflected(self):
        """M-14"""
        udp = self.udp()
        peer = self.add_peer(endpoint="%s:%d" % (X_OUTER[socket.AF_INET], X_PORT), keepalive=25)
        initiation = udp.receive(3.0, want=pywg.INITIATION)
        self.assertIsNotNone(initiation, "no initiation")
        self.assert_silent(udp, initiation, "its own initiation", reason="handshake_mac1")
        # The same with a mac1 that fits the gateway: the static key inside cannot be opened with its own.
        self.assert_silent(udp, pywg.finish_macs(initiation[:116], self.key.public), "its own initiation, mac1 mended",
                           reason="initiation_static")
        peer.consume_initiation(initiation)
        udp.send(peer.make_response())
        self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "the handshake goes on")

    def test_encrypted_static_for_another_responder(self):
        """H-07"""
        udp, peer = self.udp(), self.add_peer()
        elsewhere = Endpoint(peer.static, KeyPair.generate().public)
        self.assert_silent(udp, elsewhere.make_initiation(mac1_for=self.key.public), "made for another responder",
                           reason="initiation_static")

    def test_bytes_of_no_meaning(self):
        """M-18: random datagrams of every size, in number what a test's time allows"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        for batch in range(40):
            for size in range(batch, 1472, 40):
                udp.send(bytes([batch % 6]) + os.urandom(size))
            self.assertIsNone(udp.receive(0.001), "was answered")
        self.assert_alive(udp, peer, 1)
        self.assertEqual(self.endpoint_of(peer), "%s:%d" % (X_OUTER[socket.AF_INET], X_PORT))


class GatewayWithoutKey(PeeringCase):
    def test_no_private_key(self):
        """H-22: no key is as good as nobody there"""
        udp, peer = self.udp(), self.add_peer()
        self.wg_set("private-key", "/dev/null")
        self.assertEqual(self.wg("show", "wg0", "private-key").strip(), "(none)")
        self.assert_silent(udp, peer.make_initiation(), "without a private key", reason="handshake_no_identity")
        self.wg_set("private-key", "/dev/stdin", stdin=b64(self.key.private))
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
