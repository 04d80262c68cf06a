"""The Python peer against a running gateway over a cable: handshakes, data, roaming, cookies, timers of a few seconds."""
import json
import os
import socket
import struct
import time

import pywg
import rig
from peering import (AGAINST_WIREGUARD_GO, NO_GATEWAY, GATEWAY_INNER4, GATEWAY_INNER6, GATEWAY_OUTER, PORT, STRANGER4, X_INNER4,
                     X_INNER6, X_OTHER, X_OUTER, X_PORT,
                     PeeringCase, b64, diverges, echo)
from pywg import KeyPair, WgError

V4, V6 = socket.AF_INET, socket.AF_INET6
HOME = "%s:%d" % (X_OUTER[V4], X_PORT)


class Responder(PeeringCase):
    """The gateway answers X's handshakes."""

    def test_handshake_over_ipv4(self):
        """H-01, D-01, D-05"""
        udp, peer = self.udp(), self.add_peer()
        response = self.handshake(udp, peer)
        self.assertEqual(len(response), 92)
        self.assertEqual(struct.unpack_from("<I", response, 8)[0], peer.session.local_index)
        self.assertEqual(response[-16:], bytes(16), "mac2 is zero")
        for size in (0, 1, 15, 16, 17, 56, 64, 1000, 1380, 1381, 1391, 1392):
            plain = self.ping(udp, peer, size + 1, size=size)
            self.assertIsNotNone(plain, "no reply to %d bytes" % size)
            self.assertEqual(len(plain), pywg.padded_length(28 + size, 1420), "padding of %d bytes" % size)
            self.assertEqual(pywg.inner_packet(plain)[28:], bytes(k & 0xFF for k in range(size)))

    def test_handshake_over_ipv6(self):
        """H-02, D-02"""
        udp, peer = self.udp(V6), self.add_peer()
        self.handshake(udp, peer)
        udp.send(peer.session.encrypt(pywg.ipv6(X_INNER6, GATEWAY_INNER6, 58, pywg.icmp6_echo(X_INNER6, GATEWAY_INNER6,
                7, 9, b"abc"))))
        for _ in range(5):
            message = udp.receive(2.0, want=pywg.DATA)
            self.assertIsNotNone(message, "no ICMPv6 reply")
            inner = pywg.inner_packet(peer.session.decrypt(message))
            if len(inner) > 40 and inner[0] >> 4 == 6 and inner[40] == 129:
                return
        self.fail("no echo reply among the answers")

    def test_ipv4_inside_ipv6(self):
        """D-02"""
        udp, peer = self.udp(V6), self.add_peer()
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)

    def test_preshared_key(self):
        """H-03"""
        udp, peer = self.udp(), self.add_peer(psk=os.urandom(32))
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)

    def test_wrong_preshared_key(self):
        """H-04: the gateway answers, for the first message does not involve the key"""
        udp, peer = self.udp(), self.add_peer(psk=os.urandom(32))
        peer.psk = os.urandom(32)
        udp.send(peer.make_initiation())
        response = udp.receive(2.0, want=pywg.RESPONSE)
        self.assertIsNotNone(response)
        with self.assertRaises(WgError) as raised:
            peer.consume_response(response)
        self.assertEqual(raised.exception.reason, "auth")
        self.provoke()
        self.assertIsNone(udp.receive(0.5, want=pywg.DATA), "data under a key nobody confirmed")

    def test_replayed_initiation(self):
        """H-08, H-09"""
        udp, peer = self.udp(), self.add_peer()
        message = peer.make_initiation()
        udp.send(message)
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE))
        self.pause(0.05)
        self.assert_silent(udp, message, "the same initiation", reason="initiation_replay")
        self.assert_silent(udp, peer.make_initiation(timestamp=pywg.tai64n(1)), "an older one",
                           reason="initiation_replay")
        now = int(time.time()) + 5
        udp.send(peer.make_initiation(timestamp=pywg.tai64n(now)))
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE))
        self.pause(0.05)
        self.assert_silent(udp, peer.make_initiation(timestamp=pywg.tai64n(now)), "an equal timestamp",
                           reason="initiation_replay")
        udp.send(peer.make_initiation(timestamp=pywg.tai64n(now, 1, whiten=False)))
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE), "one nanosecond newer")

    def pause(self, seconds):
        """Protocol time: the gateway's 20 ms between two initiations of a peer, and the like."""
        time.sleep(seconds)

    def test_initiations_within_20_ms(self):
        """H-10"""
        udp, peer = self.udp(), self.add_peer()
        now = int(time.time())
        first, second, third = (peer.make_initiation(timestamp=pywg.tai64n(now + k)) for k in range(3))
        with self.drops(initiation_flood=1):
            udp.send(first)
            udp.send(second)
        self.assertIsNotNone(udp.receive(3.0, want=pywg.RESPONSE))
        self.assertIsNone(udp.receive(0.2, want=pywg.RESPONSE), "two answers within 20 ms")
        self.pause(0.05)
        udp.send(third)
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE))

    def test_the_20_ms_are_per_peer(self):
        """H-11"""
        udp, one, two = self.udp(), self.add_peer(), self.add_peer(allowed=("10.77.0.9/32",))
        first, second = one.make_initiation(), two.make_initiation()
        udp.send(first)
        udp.send(second)
        answers = {udp.receive(2.0, want=pywg.RESPONSE)[8:12] for _ in range(2)}
        self.assertEqual(answers, {first[4:8], second[4:8]})

    def test_replay_from_elsewhere(self):
        """H-12, R-05"""
        udp, elsewhere, peer = self.udp(), self.udp(port=X_PORT + 1), self.add_peer()
        message = peer.make_initiation()
        udp.send(message)
        peer.consume_response(udp.receive(2.0, want=pywg.RESPONSE))
        udp.send(peer.session.keepalive())
        self.assert_alive(udp, peer, 1)
        self.assert_silent(elsewhere, message, "a replay from elsewhere", reason="initiation_replay")
        self.assertEqual(self.endpoint_of(peer), HOME)

    def test_peer_removed_and_added(self):
        """H-13: it has forgotten the timestamp, and the replay leads to nothing"""
        udp, peer, other_udp = self.udp(), self.add_peer(), self.udp(port=X_PORT + 1)
        other = self.add_peer(allowed=("10.77.0.9/32",))
        self.handshake(other_udp, other)
        message = peer.make_initiation()
        udp.send(message)
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE))
        self.remove_peer(peer)
        self.add_peer(static=peer.static)
        udp.send(message)
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE))
        self.provoke()
        self.assertIsNone(udp.receive(0.5, want=pywg.DATA), "data without a confirmation")
        other_udp.send(other.session.encrypt(echo(1, source="10.77.0.9")))
        self.assertIsNotNone(other_udp.receive(3.0, want=pywg.DATA))

    def test_mac2_without_load(self):
        """H-14"""
        udp, peer = self.udp(), self.add_peer()
        udp.send(peer.make_initiation(cookie=os.urandom(16)))
        self.assertIsNotNone(udp.receive(2.0, want=pywg.RESPONSE))

    def test_sender_index_edges(self):
        """H-15"""
        udp = self.udp()
        for index in (0, 0xFFFFFFFF):
            peer = self.add_peer()
            response = self.handshake(udp, peer, sender_index=index)
            self.assertEqual(struct.unpack_from("<I", response, 8)[0], index)
            self.assert_alive(udp, peer, 1)
            udp.drain()

    def test_nothing_before_confirmation(self):
        """H-16"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer, confirm=False)
        self.provoke()
        self.assertIsNone(udp.receive(0.5, want=pywg.DATA), "data under an unconfirmed key")
        udp.send(peer.session.keepalive())
        self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "what was staged")

    def test_old_key_until_confirmation(self):
        """H-17, H-18, H-20"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        old = peer.session
        self.pause(0.05)
        self.handshake(udp, peer, confirm=False)
        unconfirmed = peer.session
        self.provoke()
        message = udp.receive(3.0, want=pywg.DATA)
        self.assertEqual(struct.unpack_from("<I", message, 4)[0], old.local_index, "sends under the old key")
        self.pause(0.05)
        self.handshake(udp, peer, confirm=False)
        udp.drain()
        self.assert_silent(udp, unconfirmed.keepalive(), "data under a `next` that was replaced",
                           reason="data_unknown_index")
        udp.send(peer.session.keepalive())
        self.assert_alive(udp, peer, 2)

    def test_latest_handshake_is_set_by_confirmation(self):
        """H-18, U-21"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer, confirm=False)
        self.assertEqual(self.shown("latest-handshakes", peer), "0")
        udp.send(peer.session.keepalive())
        self.until(lambda: self.shown("latest-handshakes", peer) != "0", "a handshake to be shown")
        self.assertLess(abs(int(self.shown("latest-handshakes", peer)) - time.time()), 5)

    def test_confirmed_by_a_forbidden_source(self):
        """H-19"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer, confirm=False)
        with self.drops(inner_source=1):
            udp.send(peer.session.encrypt(echo(1, source=STRANGER4)))
        self.provoke()
        self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "the key is confirmed")

    def test_previous_key_is_received(self):
        """H-21, W-07"""
        udp, peer = self.udp(), self.add_peer()
        sessions = []
        for number in range(3):
            self.handshake(udp, peer)
            self.assert_alive(udp, peer, number + 1)
            sessions.append(peer.session)
            self.pause(0.05)
        udp.drain()
        self.assert_silent(udp, sessions[0].encrypt(echo(5)), "the key before the previous",
                           reason="data_unknown_index")
        udp.send(sessions[1].encrypt(echo(6)))
        message = udp.receive(3.0, want=pywg.DATA)
        self.assertIsNotNone(message, "the previous key")
        self.assertEqual(struct.unpack_from("<I", message, 4)[0], sessions[2].local_index, "replies under the newest")

    def test_new_private_key(self):
        """H-23, U-20"""
        udp, peer = self.udp(), self.add_peer()
        old, new = self.key, KeyPair.generate()
        self.wg_set("private-key", "/dev/stdin", stdin=b64(new.private))
        try:
            self.assert_silent(udp, peer.make_initiation(), "for the old key", reason="handshake_mac1")
            moved = pywg.Endpoint(peer.static, new.public)
            self.handshake(udp, moved)
            self.assert_alive(udp, moved, 1)
        finally:
            self.wg_set("private-key", "/dev/stdin", stdin=b64(old.private))

    def test_many_peers(self):
        """H-25"""
        peers = []
        for number in range(50):
            udp = self.udp(port=X_PORT + number)
            peer = self.add_peer(allowed=("10.77.0.%d/32" % (100 + number),))
            self.handshake(udp, peer)
            peers.append((udp, peer, "10.77.0.%d" % (100 + number)))
        for number, (udp, peer, address) in enumerate(peers):
            self.assertIsNotNone(self.ping(udp, peer, number + 1, source=address), "peer %d" % number)
        for udp, _, _ in peers:
            self.assertEqual(udp.drain(), 0, "somebody else's packet")

    @diverges("does not mark handshakes")
    def test_dscp_of_messages(self):
        """H-26, D-12: handshakes are AF41, data is not marked"""
        udp, peer = self.udp(), self.add_peer()
        udp.socket.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        udp.send(peer.make_initiation())
        response, tos = udp.receive_with_tos()
        self.assertEqual(tos, 0x88)
        peer.consume_response(response)
        udp.send(peer.session.keepalive())
        self.provoke(tos=0xB8)  # EF inside
        _, tos = udp.receive_with_tos()
        self.assertEqual(tos, 0)

    def test_timestamps_at_the_edges(self):
        """M-23"""
        udp, peer, other = self.udp(), self.add_peer(), self.add_peer(allowed=("10.77.0.9/32",))
        self.assert_silent(udp, peer.make_initiation(timestamp=bytes(12)), "timestamp 0", reason="initiation_replay")
        self.handshake(udp, peer, timestamp=b"\xff" * 12)
        self.pause(0.05)
        self.assert_silent(udp, peer.make_initiation(), "the peer has locked itself out", reason="initiation_replay")
        self.handshake(udp, other)


class Data(PeeringCase):
    def test_replayed_data(self):
        """W-02"""
        udp, elsewhere, peer = self.udp(), self.udp(port=X_PORT + 1), self.add_peer()
        self.handshake(udp, peer)
        message = peer.session.encrypt(echo(1))
        udp.send(message)
        self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA))
        self.assert_silent(elsewhere, message, "replayed data", reason="data_replay")
        self.assertEqual(self.endpoint_of(peer), HOME)

    def test_counter_window(self):
        """W-03 to W-05, D-08"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer, confirm=False)
        window, limit = pywg.WINDOW, pywg.REJECT_AFTER_MESSAGES_PAPER
        for counter, accepted in ((0, True), (0, False), (window + 100, True), (100, True), (100, False), (99, False),
                                  (window + 99, True), ((1 << 64) - 1, False), (pywg.REJECT_AFTER_MESSAGES_KERNEL64,
                                          False),
                                  (window + 101, True), (limit - 1, True), (limit - 1 - window, True),
                                  (limit - 2 - window, False),
                                  (limit - 1, False)):
            message = peer.session.encrypt(echo(counter & 0x7FFF), counter=counter)
            if accepted:
                udp.drain()
                udp.send(message)
                self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA), "counter %d" % counter)
            else:
                self.assert_silent(udp, message, "counter %d" % counter, reason="data_replay")

    def test_forged_counter(self):
        """W-06"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        forged = peer.session.encrypt(echo(2), counter=1 << 40)
        self.assert_silent(udp, forged[:-1] + bytes([forged[-1] ^ 1]), "bad tag", reason="data_authentication")
        self.assert_alive(udp, peer, 3)

    def test_padding_of_any_size(self):
        """D-06, D-07"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        for seq, padding in enumerate((False, 1, 7, 500), 1):
            udp.drain()
            udp.send(peer.session.encrypt(echo(seq), pad=padding))
            message = udp.receive(3.0, want=pywg.DATA)
            self.assertIsNotNone(message, "padding %r" % padding)
            self.assertEqual(len(pywg.inner_packet(peer.session.decrypt(message))), len(echo(seq)))

    def test_forbidden_inner_sources(self):
        """M-16, A-05"""
        udp, peer = self.udp(), self.add_peer(allowed=("10.77.0.0/24",))
        self.handshake(udp, peer)
        self.assertIsNotNone(self.ping(udp, peer, 1, source=STRANGER4), "its own prefix")
        self.add_peer(allowed=(STRANGER4 + "/32",))  # a more specific prefix of somebody else
        self.assert_silent(udp, peer.session.encrypt(echo(2, source=STRANGER4)), "another peer's address",
                           reason="inner_source")
        self.assertIsNotNone(self.ping(udp, peer, 3), "the rest of the prefix")

    def test_strange_inner_sources_with_everything_allowed(self):
        """M-17: Linux has its own opinion about them, and nothing breaks"""
        udp, peer = self.udp(), self.add_peer(allowed=("0.0.0.0/0", "::/0"))
        self.handshake(udp, peer)
        for source in (GATEWAY_INNER4, "0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1"):
            udp.send(peer.session.encrypt(echo(1, source=source)))
        self.assert_alive(udp, peer, 2)

    @diverges("ignores ECN")
    def test_ecn(self):
        """D-11: all of small.json"""
        bits = {"Not-ECT": 0, "ECT(1)": 1, "ECT(0)": 2, "CE": 3}
        with open(os.path.join(rig.ROOT, "tests", "vectors", "small.json"), encoding="utf-8") as file:
            table = json.load(file)["ecn"]
        udp, peer, sniffer = self.udp(), self.add_peer(), self.sniffer()
        self.handshake(udp, peer)
        for row in table["decapsulate"]:
            udp.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, bits[row["outer"]])
            sniffer.drain()
            udp.send(peer.session.encrypt(echo(1, tos=bits[row["inner"]])))
            delivered = sniffer.receive(1.0)
            self.assertIsNotNone(delivered, row)
            self.assertEqual(delivered[1] & 3, bits[row["inner_after"]], row)
            self.assertEqual(pywg.checksum(delivered[:20]), 0, "inner header checksum")
            self.assertIsNotNone(udp.receive_with_tos(), "Linux answers the echo")
        for row in table["encapsulate"]:
            self.provoke(tos=bits[row["inner"]])
            _, tos = udp.receive_with_tos()
            self.assertEqual(tos, bits[row["outer"]], row)

    def test_inner_fragments(self):
        """D-14"""
        udp, peer, sniffer = self.udp(), self.add_peer(), self.sniffer()
        self.handshake(udp, peer)
        for fragment in (0x2000, 0x2000 | 3, 3):
            packet = pywg.ipv4(X_INNER4, GATEWAY_INNER4, 17, os.urandom(24), frag=fragment)
            udp.send(peer.session.encrypt(packet))
            self.assertEqual(sniffer.receive(1.0), packet)
            forbidden = pywg.ipv4(STRANGER4, GATEWAY_INNER4, 17, os.urandom(24), frag=fragment)
            self.assert_silent(udp, peer.session.encrypt(forbidden), "a fragment of somebody else",
                               reason="inner_source")

    def test_keepalive_amid_data(self):
        """D-24, T-03"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        sniffer = self.sniffer()
        before = int(self.shown("transfer", peer).split()[0])
        udp.send(peer.session.keepalive())
        self.until(lambda: int(self.shown("transfer", peer).split()[0]) == before + 32, "32 bytes more to be counted")
        self.assertIsNone(sniffer.receive(0.05), "a keepalive was delivered")
        self.assert_alive(udp, peer, 2)

    def test_transfer_counters(self):
        """D-10, U-21: ten pings of 84 bytes"""
        udp, peer = self.udp(), self.add_peer()
        self.assertEqual(self.shown("transfer", peer), "0\t0")
        self.handshake(udp, peer)
        for seq in range(1, 11):
            self.assert_alive(udp, peer, seq)
        # 148 of the initiation, 32 of the keepalive, ten of 128; 92 of the response and ten of 128.
        self.assertEqual(self.shown("transfer", peer), "%d\t%d" % (148 + 32 + 1280, 92 + 1280))


class Configuration(PeeringCase):
    """What happens to running sessions when the configuration changes under them."""

    def test_syncconf_keeps_sessions(self):
        """U-12"""
        udp, peer, other = self.udp(), self.add_peer(), self.add_peer(allowed=("10.77.0.9/32",))
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        session, transfer = peer.session, self.shown("transfer", peer)
        config = self.wg("showconf", "wg0")
        head, *peers = config.split("[Peer]")
        kept = next(block for block in peers if b64(peer.static.public) in block)
        self.wg("syncconf", "wg0", self.lab.write("sync.conf", head + "[Peer]" + kept))
        self.assertEqual(self.wg("show", "wg0", "peers").split(), [b64(peer.static.public)])
        self.assertEqual((self.shown("transfer", peer), self.endpoint_of(peer)), (transfer, HOME))
        self.assert_alive(udp, peer, 2)
        self.assertIs(peer.session, session)
        self.assertIsNone(self.shown("transfer", other))

    def test_allowed_ips_move_under_traffic(self):
        """A-05, A-07: a packet sent after a move was confirmed goes to the new owner, or, if it is late, to one after it"""
        moves, each = 10, 20
        udps = [self.udp(port=X_PORT + 10 + k) for k in range(moves)]
        peers = [self.add_peer(allowed=("10.77.0.%d/32" % (10 + k),)) for k in range(moves)]
        for udp, peer in zip(udps, peers):
            self.handshake(udp, peer)
        for move, peer in enumerate(peers):
            self.wg_set("peer", b64(peer.static.public), "allowed-ips", "10.77.0.%d/32,10.77.0.50/32" % (10 + move))
            for _ in range(each):
                self.provoke("10.77.0.50", payload=bytes([move]))
            owner = self.wg("show", "wg0", "allowed-ips")
            self.assertEqual(owner.count("10.77.0.50/32"), 1, owner)
        arrived = []
        for owner, (udp, peer) in enumerate(zip(udps, peers)):
            while (message := udp.receive(0.1, want=pywg.DATA)) is not None:
                if plain := peer.session.decrypt(message):
                    arrived.append((pywg.inner_packet(plain)[-1], owner))
        self.assertEqual([(sent, owner) for sent, owner in arrived if owner < sent], [], "went to an owner of before")
        self.assertEqual(sorted(sent for sent, _ in arrived), sorted(list(range(moves)) * each))

    @diverges("sends into the loop")
    def test_endpoint_inside_its_own_allowed_ips(self):
        """D-22: no storm"""
        peer = self.add_peer(endpoint="10.77.0.50:9", allowed=("10.77.0.0/24",))
        for _ in range(20):
            self.provoke("10.77.0.60")
        time.sleep(1.0)
        self.assertLess(int(self.shown("transfer", peer).split()[1]), 70000)
        udp, alive = self.udp(), self.add_peer()
        self.handshake(udp, alive)
        self.assert_alive(udp, alive, 1)

    def test_next_hop_changes_its_address(self):
        """R-13: the neighbour has another MAC address from now on"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        old = self.x.text("cat", "/sys/class/net/eth0/address").strip()
        for number, address in enumerate(("02:00:00:00:77:01", old)):
            self.x.sysctl("net.ipv4.conf.eth0.arp_notify", 1)
            self.x.run("ip", "link", "set", "eth0", "address", address)
            self.x.reaches(GATEWAY_OUTER[V4])
            # The ping was Linux's to answer; what Linux learned by it reaches the workers a batch of messages later.
            self.until(lambda: self.provoke() or udp.receive(0.3, want=pywg.DATA), "traffic to follow")
            udp.drain()
            self.assert_alive(udp, peer, 2 + number)


class Initiator(PeeringCase):
    """The gateway begins."""

    def test_first_packet_brings_an_initiation(self):
        """I-01"""
        for family, psk in ((V4, pywg.ZERO32), (V6, os.urandom(32))):
            with self.subTest(family=family.name):
                self.wg_remove_peers()
                udp = self.udp(family)
                peer = self.add_peer(psk=psk, endpoint=("[%s]:%d" if family == V6 else "%s:%d") % (X_OUTER[family],
                        X_PORT))
                self.provoke(payload=b"first")
                initiation = udp.receive(3.0, want=pywg.INITIATION)
                self.assertIsNotNone(initiation, "no initiation")
                seconds, nanoseconds = struct.unpack(">QI", peer.consume_initiation(initiation))
                self.assertLess(abs(seconds - pywg.TAI64_EPOCH - time.time()), 2)
                self.assertEqual(nanoseconds % pywg.TIMESTAMP_WHITEN_NS, 0)
                self.assertEqual(initiation[-16:], bytes(16), "mac2 without a cookie")
                udp.send(peer.make_response())
                data = udp.receive(2.0, want=pywg.DATA)
                self.assertIsNotNone(data, "no data after the response")
                self.assertEqual(data[8:16], bytes(8), "first counter")
                self.assertEqual(pywg.inner_packet(peer.session.decrypt(data))[28:], b"first")
                udp.close()

    def test_keepalive_switched_on(self):
        """I-02"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME, keepalive=25)
        self.answer_initiation(udp, peer)
        data = udp.receive(2.0, want=pywg.DATA)
        self.assertEqual((len(data), data[8:16]), (32, bytes(8)))
        self.assertEqual(peer.session.decrypt(data), b"")

    def test_staged_packets(self):
        """I-06"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME)
        with self.drops(staged_overflow=72):
            sender = self.gateway_machine.socket(V4, socket.SOCK_DGRAM)
            for number in range(200):
                sender.sendto(struct.pack(">I", number), (X_INNER4, 9))
                if number % 16 == 15:
                    time.sleep(0.002)  # paced, so that the interface's own queue is not what overflows
            sender.close()
        self.answer_initiation(udp, peer)
        got = []
        while (message := udp.receive(0.5, want=pywg.DATA)) is not None:
            inner = pywg.inner_packet(peer.session.decrypt(message))
            if len(inner) == 32 and inner[9] == 17:
                got.append(struct.unpack(">I", inner[28:])[0])
        self.assertEqual(got, list(range(72, 200)))

    def test_wrong_responses_do_not_cancel(self):
        """I-07, I-11, M-09"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME, keepalive=25)
        peer.consume_initiation(udp.receive(3.0, want=pywg.INITIATION))
        good = peer.make_response()
        for position in (8, 12, 44):
            bad = bytearray(good)
            bad[position] ^= 1
            udp.send(pywg.finish_macs(bytes(bad[:60]), self.key.public))
        udp.send(good[:60] + bytes([good[60] ^ 1]) + good[61:])
        self.assertIsNone(udp.receive(0.3), "a wrong response was answered")
        udp.send(good)
        data = udp.receive(2.0, want=pywg.DATA)
        self.assertEqual(peer.session.decrypt(data), b"")

    def test_response_out_of_nowhere(self):
        """I-12"""
        udp = self.udp()
        self.add_peer(endpoint=HOME)
        forged = pywg.finish_macs(b"\2\0\0\0" + os.urandom(56), self.key.public)
        self.assert_silent(udp, forged, "nobody waits for it", reason="response_unknown_index")

    def test_response_from_elsewhere(self):
        """I-10, R-04"""
        udp, elsewhere = self.udp(), self.udp(port=X_PORT + 1)
        peer = self.add_peer(endpoint=HOME, keepalive=25)
        peer.consume_initiation(udp.receive(3.0, want=pywg.INITIATION))
        elsewhere.send(peer.make_response())
        self.assertIsNotNone(elsewhere.receive(2.0, want=pywg.DATA), "the endpoint follows")
        self.assertEqual(self.endpoint_of(peer), "%s:%d" % (X_OUTER[V4], X_PORT + 1))

    def test_crossed_initiations(self):
        """I-13"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME, keepalive=25)
        initiation = udp.receive(3.0, want=pywg.INITIATION)
        late = pywg.Endpoint(peer.static, self.key.public)
        late.consume_initiation(initiation)
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        udp.send(late.make_response())
        self.assert_alive(udp, peer, 2)

    @diverges("is silent")
    def test_no_endpoint(self):
        """I-14"""
        udp = self.udp()
        self.add_peer()
        with self.drops(no_endpoint=1):
            done = self.gateway_machine.run("ping", "-n", "-c", 1, "-W", 5, X_INNER4, check=False)
        self.assertIn("Unreachable", done.stdout)
        self.assertIsNone(udp.receive(0.1), "sent to whom?")

    @diverges("is silent")
    def test_no_peer_for_the_destination(self):
        """D-19"""
        self.add_peer()
        for address, reason in (("10.77.0.200", "no_peer"), ("fd77::200", "no_peer")):
            with self.subTest(address):
                with self.drops(**{reason: 1}):
                    done = self.gateway_machine.run("ping", "-n", "-c", 1, "-W", 5, address, check=False)
                self.assertRegex(done.stdout, "Unreachable|unreachable")

    def test_low_order_public_key(self):
        """I-17"""
        udp = self.udp()
        for number, point in enumerate(pywg.LOW_ORDER_POINTS[1:]):
            self.wg_set("peer", b64(point), "endpoint", HOME, "persistent-keepalive", 1, "allowed-ips",
                        "10.77.0.%d/32" % (20 + number))
        self.provoke("10.77.0.20")
        self.assertIsNone(udp.receive(2.5), "something was sent to a key of low order")

    def test_peer_removed_while_waiting(self):
        """I-18"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME, keepalive=25)
        peer.consume_initiation(udp.receive(3.0, want=pywg.INITIATION))
        self.remove_peer(peer)
        self.assert_silent(udp, peer.make_response(), "the peer is gone", reason="response_unknown_index")
        self.assertIsNone(udp.receive(5.6), "a timer of a removed peer fired")

    @diverges("keeps sending")
    def test_interface_down_and_up(self):
        """I-15, I-16"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME)
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        self.gateway_machine.run("ip", "link", "set", "wg0", "down")
        try:
            udp.send(peer.session.encrypt(echo(2)))
            self.assertIsNone(udp.receive(0.3, want=pywg.DATA), "answered although the interface is down")
            self.wg_set("peer", b64(peer.static.public), "persistent-keepalive", 1)
            self.assertIsNone(udp.receive(1.5), "sent although the interface is down")
        finally:
            self.gateway_machine.run("ip", "link", "set", "wg0", "up")
            self.gateway_machine.add_addresses("wg0", GATEWAY_INNER6 + "/64")
        self.assertIsNotNone(udp.receive(2.5, want=pywg.INITIATION), "up again: the keepalive needs a session")
        udp.send(peer.session.encrypt(echo(3)))
        self.assertIsNone(udp.receive(0.3, want=pywg.DATA), "the old key should be gone")


class Roaming(PeeringCase):
    def test_by_data_and_keepalive(self):
        """R-01, R-02, R-05, R-06"""
        home, away, peer = self.udp(), self.udp(port=X_PORT + 1), self.add_peer()
        there = "%s:%d" % (X_OUTER[V4], X_PORT + 1)
        self.handshake(home, peer)
        self.assert_alive(home, peer, 1)
        old = peer.session.encrypt(echo(2))
        home.send(old)
        self.assertIsNotNone(home.receive(3.0, want=pywg.DATA))
        bad = bytearray(peer.session.encrypt(echo(3)))
        bad[20] ^= 1
        self.assert_silent(away, bytes(bad), "a bad tag", reason="data_authentication")
        self.assert_silent(away, old, "a replay", reason="data_replay")
        self.assert_silent(away, pywg.finish_macs(b"\1\0\0\0" + os.urandom(112), os.urandom(32)), "a bad mac1",
                           reason="handshake_mac1")
        self.assertEqual(self.endpoint_of(peer), HOME)
        self.assert_silent(away, peer.session.encrypt(echo(4, source=STRANGER4)), "a forbidden source",
                           reason="inner_source")
        self.until_endpoint(peer, there)
        self.assert_alive(home, peer, 5)
        self.until_endpoint(peer, HOME)
        away.send(peer.session.keepalive())
        self.until_endpoint(peer, there)
        self.provoke()
        self.assertIsNotNone(away.receive(3.0, want=pywg.DATA))

    def until_endpoint(self, peer, wanted):
        self.until(lambda: self.endpoint_of(peer) == wanted, lambda: "endpoint %s instead of %s" % (wanted,
                self.endpoint_of(peer)))

    def test_by_initiation(self):
        """R-03"""
        for configured in (None, HOME):
            away, peer = self.udp(port=X_PORT + 2), self.add_peer(endpoint=configured)
            self.handshake(away, peer)
            self.until_endpoint(peer, "%s:%d" % (X_OUTER[V4], X_PORT + 2))
            away.close()

    def test_between_families(self):
        """R-07"""
        four, six, peer = self.udp(), self.udp(V6), self.add_peer()
        self.handshake(four, peer)
        for seq, udp in enumerate((four, six, four), 1):
            self.assert_alive(udp, peer, seq)
        self.until_endpoint(peer, HOME)

    def test_to_another_address(self):
        """R-01"""
        home, away, peer = self.udp(), self.udp(host=X_OTHER[V4]), self.add_peer()
        self.handshake(home, peer)
        self.assert_alive(home, peer, 1)
        self.assert_alive(away, peer, 2)
        self.until_endpoint(peer, "%s:%d" % (X_OTHER[V4], X_PORT))

    def test_spoofed_copy_arrives_first(self):
        """R-08"""
        home, attacker, peer = self.udp(), self.udp(host=X_OTHER[V4]), self.add_peer()
        self.handshake(home, peer)
        self.assert_alive(home, peer, 1)
        message = peer.session.encrypt(echo(2))
        attacker.send(message)
        self.assertIsNotNone(attacker.receive(3.0, want=pywg.DATA))
        self.assert_silent(home, message, "the original, now a replay", reason="data_replay")
        self.assert_alive(home, peer, 3)
        self.until_endpoint(peer, HOME)

    @diverges("keeps the address that is gone")
    def test_replies_leave_from_the_address_that_was_asked(self):
        """R-09, R-10"""
        self.gateway_machine.run("ip", "address", "add", "192.0.2.77/24", "dev", self.outer_interface())
        udp, peer = self.udp(), self.add_peer()
        udp.gateway = ("192.0.2.77", PORT)
        try:
            # Whoever binds or connects sees only what comes from there.
            udp.socket.connect(udp.gateway)
            self.x.reaches("192.0.2.77")
            self.handshake_connected(udp, peer)
        finally:
            self.gateway_machine.run("ip", "address", "del", "192.0.2.77/24", "dev", self.outer_interface())
        udp.close()
        again = self.udp()
        self.provoke()
        self.assertIsNotNone(again.receive(2.0, want=pywg.DATA),
                             "the address is gone: the other one, without a new handshake")

    def handshake_connected(self, udp, peer):
        udp.socket.send(peer.make_initiation())
        response = udp.receive(2.0, want=pywg.RESPONSE)
        self.assertIsNotNone(response, "no response from the address that was asked")
        peer.consume_response(response)
        udp.socket.send(peer.session.keepalive())
        udp.socket.send(peer.session.encrypt(echo(1)))
        self.assertIsNotNone(udp.receive(2.0, want=pywg.DATA), "no data from the address that was asked")

    def outer_interface(self):
        return "wan" if self.gateway_machine.has_interface("wan") else "wan0"

    def test_endpoint_by_configuration(self):
        """R-12"""
        home, away, peer = self.udp(), self.udp(port=X_PORT + 1), self.add_peer()
        self.handshake(home, peer)
        self.assert_alive(home, peer, 1)
        self.wg_set("peer", b64(peer.static.public), "endpoint", "%s:%d" % (X_OUTER[V4], X_PORT + 1))
        self.provoke()
        message = away.receive(2.0)
        self.assertIsNotNone(message)
        self.assertEqual(pywg.message_type(message), pywg.DATA, "no new handshake")


class TwoWays(PeeringCase):
    """The gateway has a second port, and X an address that can be reached through either."""

    FAR = "203.0.113.9"
    more_config = """
[[port]]
name = "second"
device = "af_packet:second0"
addresses = ["198.51.100.1/24"]
"""

    @classmethod
    def lay_cables(cls):
        super().lay_cables()
        cls.lab.cable(cls.gateway_machine, "second0", cls.x, "eth1")
        rig.kernel_end(cls.x, "eth1", "198.51.100.2/24")
        cls.x.add_addresses("lo", cls.FAR + "/32")
        if NO_GATEWAY:
            rig.kernel_end(cls.gateway_machine, "second0", "198.51.100.1/24")

    def test_source_address_follows_the_route(self):
        """R-11, R-13"""
        udp, peer = self.udp(host=self.FAR), self.add_peer()
        self.gateway_machine.run("ip", "route", "replace", self.FAR, "via", X_OUTER[V4])
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        self.gateway_machine.run("ip", "route", "replace", self.FAR, "via", "198.51.100.2")

        def source():
            udp.drain()
            self.provoke()
            udp.socket.settimeout(2.0)
            return udp.socket.recvfrom(2048)[1][0]
        self.until(lambda: source() == "198.51.100.1", "packets from the other port's address")


class Cookies(PeeringCase):
    time_limit = 90

    def flood(self, size=2000):
        flooder = self.udp(port=X_PORT + 2)
        junk = [pywg.finish_macs(b"\1\0\0\0" + struct.pack("<I", k) + os.urandom(108),
                                 self.key.public) for k in range(size)]

        def burst():
            for message in junk:
                flooder.send(message)
        return flooder, burst

    def cookie_reply(self, udp, peer, burst):
        """Floods until the gateway is under load and answers an initiation with a cookie; (initiation, reply)."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            burst()
            message = peer.make_initiation()
            udp.send(message)
            if (reply := udp.receive(0.2, want=pywg.COOKIE_REPLY)) is not None:
                return message, reply
        self.fail("no cookie reply under a flood")

    def test_under_load(self):
        """C-01, C-03 to C-06"""
        udp, elsewhere, peer = self.udp(), self.udp(port=X_PORT + 1), self.add_peer()
        flooder, burst = self.flood()
        message, reply = self.cookie_reply(udp, peer, burst)
        self.assertEqual((len(reply), reply[4:8]), (64, message[4:8]))
        peer.consume_cookie_reply(reply)
        for _ in range(10):
            burst()
            udp.drain()
            message = peer.make_initiation()
            self.assertNotEqual(message[-16:], bytes(16))
            elsewhere.send(message)
            answer = elsewhere.receive(1.0)
            if answer is None:  # lost in the flood
                continue
            self.assertEqual(pywg.message_type(answer or b""), pywg.COOKIE_REPLY, "that cookie is for another port")
            udp.send(message)
            answer = udp.receive(1.0)
            if answer and pywg.message_type(answer) == pywg.RESPONSE:
                break
        self.assertEqual(pywg.message_type(answer or b""), pywg.RESPONSE, "an initiation with a right mac2")
        peer.consume_response(answer)
        udp.send(peer.session.keepalive())
        self.assert_alive(udp, peer, 1)
        self.assertGreater(flooder.drain(), 0, "the flooder gets cookie replies")
        burst()
        wrong = bytearray(peer.make_initiation())
        wrong[120] ^= 1
        elsewhere.drain()
        elsewhere.send(bytes(wrong))
        self.assertIsNone(elsewhere.receive(0.3), "a wrong mac1 is silent under load too")
        time.sleep(1.5)  # the load ends one second after the flood
        fresh = self.add_peer(allowed=("10.77.0.9/32",))
        self.handshake(udp, fresh)

    def test_data_is_no_load(self):
        """C-18"""
        udp, peer = self.udp(), self.add_peer()
        for _ in range(10000):
            udp.send(b"\4\0\0\0" + os.urandom(60))
        udp.send(peer.make_initiation())
        self.assertEqual(pywg.message_type(udp.receive(2.0) or b""), pywg.RESPONSE)

    @diverges("does not keep up here")
    def test_flood_and_a_session(self):
        """C-17: data of a session goes on, and answers are smaller than questions"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        flooder, burst = self.flood(500)
        answered = 0
        for seq in range(1, 41):
            burst()
            answered += self.ping(udp, peer, seq) is not None
        self.assertGreaterEqual(answered, 36)
        largest = 0
        while (message := flooder.receive(0.05)) is not None:
            largest = max(largest, len(message))
        self.assertLess(largest, 148)

    @diverges("takes any number of cookie replies")
    def test_consumes_a_cookie_reply(self):
        """C-12, C-16"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME, keepalive=25)
        first = udp.receive(3.0, want=pywg.INITIATION)
        start = time.monotonic()
        gateway = socket.inet_aton(GATEWAY_OUTER[V4])
        udp.send(peer.checker.make_reply(first, gateway, PORT))
        udp.send(peer.checker.make_reply(first, gateway, PORT, secret=os.urandom(32)))
        retry = udp.receive(7.0, want=pywg.INITIATION)
        self.assertIsNotNone(retry, "no retry")
        self.assertGreater(time.monotonic() - start, 4.9, "a cookie brings no immediate retry")
        self.assertTrue(peer.checker.mac2_ok(retry, gateway, PORT), "mac2 of the first cookie")
        self.assertNotEqual(retry[8:40], first[8:40])
        self.assertNotEqual(retry[4:8], first[4:8])
        peer.consume_initiation(retry)
        udp.send(peer.make_response())
        self.assertIsNotNone(udp.receive(2.0, want=pywg.DATA))

    def test_cookie_for_a_response(self):
        """C-13"""
        udp, peer = self.udp(), self.add_peer()
        response = self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        gateway = socket.inet_aton(GATEWAY_OUTER[V4])
        udp.send(peer.checker.make_reply(response, gateway, PORT))
        time.sleep(0.05)
        udp.send(peer.make_initiation())
        again = udp.receive(2.0, want=pywg.RESPONSE)
        self.assertTrue(peer.checker.mac2_ok(again, gateway, PORT))

    def test_wrong_cookie_replies(self):
        """C-14"""
        udp, peer = self.udp(), self.add_peer(endpoint=HOME, keepalive=25)
        first = udp.receive(3.0, want=pywg.INITIATION)
        gateway = socket.inet_aton(GATEWAY_OUTER[V4])
        good = peer.checker.make_reply(first, gateway, PORT)
        for position, reason in ((4, "cookie_unknown_index"), (8, "cookie_authentication"),
                                 (40, "cookie_authentication"),
                                 (63, "cookie_authentication")):
            bad = bytearray(good)
            bad[position] ^= 1
            self.assert_silent(udp, bytes(bad), "byte %d" % position, reason=reason)
        other = bytearray(first)
        other[120] ^= 1
        self.assert_silent(udp, peer.checker.make_reply(bytes(other), gateway, PORT), "another mac1",
                           reason="cookie_authentication")
        retry = udp.receive(7.0, want=pywg.INITIATION)
        self.assertEqual(retry[-16:], bytes(16), "mac2 without a cookie")


class Timers(PeeringCase):
    """Seconds of real time; the long ones are unit tests with a manual clock."""

    def test_passive_keepalive(self):
        """T-01, T-03"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        self.assertIsNone(udp.receive(0.5, want=pywg.DATA), "a keepalive is not answered")
        # Nobody answers UDP to the broadcast address.
        udp.send(peer.session.encrypt(pywg.ipv4(X_INNER4, "10.77.0.255", 17, pywg.udp(1, 2, b"quiet"))))
        start = time.monotonic()
        message = udp.receive(13.0, want=pywg.DATA)
        self.assertEqual(len(message or b""), 32, "no passive keepalive")
        self.assertTrue(9.8 < time.monotonic() - start < 10.6, time.monotonic() - start)

    def test_silence_brings_a_handshake(self):
        """T-04"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        udp.receive(0.2)
        self.provoke()
        start = time.monotonic()
        self.assertIsNotNone(udp.receive(3.0, want=pywg.DATA))
        self.assertIsNotNone(udp.receive(18.0, want=pywg.INITIATION), "no initiation")
        self.assertTrue(14.9 < time.monotonic() - start < 15.6, time.monotonic() - start)

    def test_retries(self):
        """I-03"""
        udp = self.udp()
        self.add_peer(endpoint=HOME, keepalive=1)
        times, seen = [], set()
        for _ in range(3):
            message = udp.receive(7.0, want=pywg.INITIATION)
            self.assertIsNotNone(message)
            times.append(time.monotonic())
            seen.add((message[4:8], message[8:40]))
        self.assertEqual(len(seen), 3, "index and ephemeral are fresh")
        for earlier, later in zip(times, times[1:]):
            self.assertTrue(4.95 < later - earlier < 5.6, later - earlier)

    def test_persistent_keepalive(self):
        """T-13, T-14"""
        udp, peer = self.udp(), self.add_peer()
        self.handshake(udp, peer)
        self.assert_alive(udp, peer, 1)
        public = b64(peer.static.public)
        self.wg_set("peer", public, "persistent-keepalive", 1)
        self.assertEqual(len(udp.receive(0.5, want=pywg.DATA) or b""), 32, "0 to n: one at once")
        start = time.monotonic()
        for number in range(1, 3):
            self.assertEqual(len(udp.receive(2.0, want=pywg.DATA) or b""), 32)
            self.assertLess(abs(time.monotonic() - start - number), 0.4)
        self.wg_set("peer", public, "persistent-keepalive", 0)
        udp.receive(1.1)
        self.assertIsNone(udp.receive(2.2), "switched off")
