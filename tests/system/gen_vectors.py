#!/usr/bin/python3
"""Generates and checks the JSON vectors in tests/vectors.

    gen_vectors.py gen    [DIR]     write them (deterministic: no randomness)
    gen_vectors.py check  [DIR]     re-derive every vector with OTHER primitives
                                    (libsodium through PyNaCl, hand-made HMAC) and
                                    run Wycheproof and the public Noise vector
    gen_vectors.py pcap   FILE      write the messages of handshake 'psk', the data
                                    messages and a cookie reply as FILE (pcap, raw IP) and
                                    the secrets as FILE.keys for Wireshark:
                                    tshark -r FILE -o wg.keylog_file:FILE.keys -o wg.dissect_packet:TRUE -V

All binary values are lower-case hex.  Integers that may exceed 2^53 are decimal
strings.  Every vector has "id" and "checks" (what it is good for).
"""
import ipaddress
import json
import os
import struct
import sys

import pywg as w
from pywg import Endpoint, KeyPair

VECTORS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "vectors")


def det(label, n=32):
    """Deterministic test secret: BLAKE2s of a label (n <= 32)."""
    return w.blake2s(b"wg-vectors/" + label.encode(), size=n)


def hx(b):
    return b.hex()


INIT, RESP, PSK = KeyPair(det("initiator static")), KeyPair(det("responder static")), det("psk")
E_I, E_R = KeyPair(det("initiator ephemeral")), KeyPair(det("responder ephemeral"))
IDX_I, IDX_R = 0x01020304, 0xA1B2C3D4
TIME = (1700000000, 123456789)


# ------------------------------------------------------------------ handshake

def one_handshake(vid, checks, psk, cookie_i=None, cookie_r=None, idx=(IDX_I, IDX_R)):
    ti, tr = [], []
    i, r = Endpoint(INIT, RESP.public, psk, trace=ti), Endpoint(RESP, INIT.public, psk, trace=tr)
    ts = w.tai64n(*TIME)
    m1 = i.make_initiation(E_I, idx[0], ts, cookie=cookie_i or False)
    assert r.consume_initiation(m1) == ts
    m2 = r.make_response(E_R, idx[1], cookie=cookie_r or False)
    i.consume_response(m2)
    strip = [[{k: v for k, v in s.items()} for s in t] for t in (ti, tr)]
    assert strip[0] == strip[1], "both sides must walk the same transcript"
    s = i.session
    assert (s.send_key, s.recv_key) == (r.session.recv_key, r.session.send_key)
    return {
        "id": vid, "checks": checks,
        "initiator_static_private": hx(INIT.private), "initiator_static_public": hx(INIT.public),
        "responder_static_private": hx(RESP.private), "responder_static_public": hx(RESP.public),
        "initiator_ephemeral_private": hx(E_I.private), "initiator_ephemeral_public": hx(E_I.public),
        "responder_ephemeral_private": hx(E_R.private), "responder_ephemeral_public": hx(E_R.public),
        "preshared_key": hx(psk), "initiator_index": idx[0], "responder_index": idx[1],
        "initiator_index_wire": hx(struct.pack("<I", idx[0])), "responder_index_wire": hx(struct.pack("<I", idx[1])),
        "timestamp": hx(ts),
        "mac1_key_to_responder": hx(w.mac1_key(RESP.public)), "mac1_key_to_initiator": hx(w.mac1_key(INIT.public)),
        "cookie_in_initiation": hx(cookie_i or b""), "cookie_in_response": hx(cookie_r or b""),
        "transcript": ti,
        "initiation": hx(m1), "initiation_mac1": hx(m1[-32:-16]), "initiation_mac2": hx(m1[-16:]),
        "response": hx(m2), "response_mac1": hx(m2[-32:-16]), "response_mac2": hx(m2[-16:]),
        "initiator_sending_key": hx(s.send_key), "initiator_receiving_key": hx(s.recv_key),
    }


def gen_handshake():
    ck = det("cookie", 16)
    return {
        "about": "Full handshakes. transcript: after each step the chaining key ck, the hash h, and where it applies "
                 "the message key k, the DH result dh, the ephemeral e, tau, or the ciphertext produced.",
        "labels": {"construction": w.CONSTRUCTION.decode(), "identifier": w.IDENTIFIER.decode(),
                   "initial_chaining_key": hx(w.blake2s(w.CONSTRUCTION)),
                   "initial_hash": hx(w.blake2s(w.blake2s(w.CONSTRUCTION), w.IDENTIFIER))},
        "vectors": [
            one_handshake("no-psk", "complete handshake, all-zero preshared key (the default), no cookies", w.ZERO32),
            one_handshake("psk", "complete handshake with a preshared key: only values from 'msg2: psk' on differ from no-psk", PSK),
            one_handshake("psk-cookies", "as psk, but both messages carry a mac2 made from a known cookie; the Noise part is identical", PSK, ck, ck),
            one_handshake("index-edges", "indices 0 and 0xffffffff are legal", w.ZERO32, idx=(0, 0xFFFFFFFF)),
        ],
    }


def gen_mac1_known():
    return {
        "about": "An initiation that a Linux kernel produced, as published in the VPP test-suite (Apache-2.0); "
                 "only its mac1 can be checked (the responder's private key is not public).",
        "vectors": [{
            "id": "linux-made-initiation", "checks": "mac1 key derivation and mac1 over the first 116 bytes; mac2 zero",
            "responder_static_public": "691b871534f120221035e7e9d39a0a5a526fdf380ac5bf3e596ec924c8748f23",
            "initiation": "0100000098b9032b55cc4b39e73c3d24a2a1ab884b524a811808bb86640fb70de93154fec1879125"
                          "ab012624a27f0b75c0a2582f438ddb5f8e768af40b4ab44402f9ff473e1b797e80d39d93c5480c82"
                          "a3d4510f70396976586fb67300a5167bae6ca3ff3dfd00eb59be198810f5aa036abc243d2155ee4f"
                          "2336483900aef80108752cd70000000000000000000000000000" "0000",
        }],
    }


# --------------------------------------------------------------------- cookie

def gen_cookie():
    out = []
    hs = gen_handshake()["vectors"][1]
    m1, m2 = bytes.fromhex(hs["initiation"]), bytes.fromhex(hs["response"])
    for vid, issuer, msg, ip, port in (
            ("initiation-v4", RESP, m1, "192.0.2.33", 51820), ("initiation-v6", RESP, m1, "2001:db8::33", 51820),
            ("initiation-v4-other-port", RESP, m1, "192.0.2.33", 51821), ("response-v4", INIT, m2, "198.51.100.7", 1)):
        ipb = ipaddress.ip_address(ip).packed
        secret, nonce = det("cookie secret"), det("cookie nonce " + vid, 24)
        reply = w.CookieChecker(issuer.public).make_reply(msg, ipb, port, nonce, secret)
        cookie = w.cookie_value(secret, ipb, port)
        retry = msg[:-16] + w.mac2(cookie, msg)
        out.append({
            "id": vid, "checks": "cookie value, cookie reply message, and the mac2 that the cookie yields",
            "issuer_static_public": hx(issuer.public), "issuer_secret": hx(secret),
            "source_ip": ip, "source_port": port, "cookie_input": hx(ipb + struct.pack(">H", port)),
            "message": hx(msg), "message_mac1": hx(msg[-32:-16]),
            "cookie": hx(cookie), "cookie_key": hx(w.cookie_key(issuer.public)), "nonce": hx(nonce),
            "hchacha20_subkey": hx(w.hchacha20(w.cookie_key(issuer.public), nonce[:16])),
            "cookie_reply": hx(reply), "same_message_with_mac2": hx(retry), "mac2": hx(retry[-16:]),
        })
    return {"about": "Cookie replies. The cookie value itself is the issuer's private business (input here: address bytes "
                     "followed by the big-endian source port, as Linux does); everything else is wire format.",
            "vectors": out}


# ----------------------------------------------------------------------- data

def inner_of(n):
    """A valid IPv4/UDP packet of exactly n bytes, or filler when n < 28."""
    if n < 28:
        return bytes((0x45 + 7 * k) & 0xFF for k in range(n))
    return w.ipv4("10.0.0.2", "10.0.0.1", 17, w.udp(1000, 2000, bytes(k & 0xFF for k in range(n - 28))))


def gen_data():
    hs = gen_handshake()["vectors"][1]
    key = bytes.fromhex(hs["initiator_sending_key"])
    s = w.Session(True, IDX_I, IDX_R, key, bytes.fromhex(hs["initiator_receiving_key"]))
    out = []
    for n in (0, 1, 15, 16, 17, 64, 1420):
        for c in (0, 1, 1 << 32, (1 << 64) - (1 << 13) - 2):
            p = inner_of(n)
            m = s.encrypt(p, counter=c, mtu=1420)
            out.append({"id": "len%d-ctr%d" % (n, c),
                        "checks": "padding, header, nonce, ciphertext" if n else "keepalive",
                        "counter": str(c), "nonce": hx(w.nonce96(c)), "plaintext": hx(p),
                        "padded_length": len(m) - 32, "message": hx(m)})
    p = inner_of(1420)
    m = s.encrypt(p, counter=7, mtu=None)
    out.append({"id": "len1420-padded-to-1424", "checks": "same packet padded without an MTU cap; a receiver must accept both",
                "counter": "7", "nonce": hx(w.nonce96(7)), "plaintext": hx(p), "padded_length": len(m) - 32,
                "message": hx(m)})
    p = inner_of(61)
    m = s.encrypt(p, counter=8, pad=False)
    out.append({"id": "len61-unpadded", "checks": "sent without padding, as boringtun and VPP do; a receiver must accept it",
                "counter": "8", "nonce": hx(w.nonce96(8)), "plaintext": hx(p), "padded_length": len(m) - 32,
                "message": hx(m)})
    v6 = w.ipv6("fd00::2", "fd00::1", 17, w.udp(1, 2, b"0123456789a"))
    m = s.encrypt(v6, counter=9, mtu=1420)
    out.append({"id": "ipv6-59", "checks": "IPv6 inner packet, trimmed by payload length + 40", "counter": "9",
                "nonce": hx(w.nonce96(9)), "plaintext": hx(v6), "padded_length": len(m) - 32, "message": hx(m)})
    return {"about": "Data messages under the initiator's sending key of handshake 'psk'. plaintext is before padding; "
                     "sender MTU 1420. Lengths below 20 are not IP packets: they test the AEAD layer only and a full "
                     "receiver drops them after decryption.",
            "key": hx(key), "receiver_index": IDX_R, "vectors": out}


# ------------------------------------------------------- malformed initiations

def gen_malformed():
    """One datagram each, sent to the responder of handshake 'psk'."""
    ts = w.tai64n(*TIME)
    out = []

    def ep(static=INIT):
        return Endpoint(static, RESP.public, PSK)

    def add(vid, msg, stage, why):
        out.append({"id": vid, "checks": why, "message": hx(msg), "dropped_at": stage})

    good = ep().make_initiation(E_I, IDX_I, ts, cookie=False)
    add("control-good", good, "", "must be ANSWERED by a response (positive control)")
    stranger = KeyPair(det("stranger"))
    add("unknown-static", ep(stranger).make_initiation(E_I, IDX_I, ts, cookie=False), "unknown-peer",
        "well-formed, but the static key is not configured")
    add("mac1-for-other-key", ep().make_initiation(E_I, IDX_I, ts, mac1_for=stranger.public, cookie=False), "mac1",
        "mac1 keyed for another responder")
    add("mac1-zero", good[:-32] + bytes(32), "mac1", "mac1 all zero")
    add("mac1-last-bit", good[:-17] + bytes([good[-17] ^ 1]) + good[-16:], "mac1", "one bit of mac1 flipped")
    for k in (1, 2, 3):
        r = bytearray(3)
        r[k - 1] = 1
        add("reserved-%d" % k, ep().make_initiation(E_I, IDX_I, ts, reserved=bytes(r), cookie=False), "format",
            "reserved byte %d set; mac1 is correct for these bytes" % k)
    for k, p in enumerate(w.LOW_ORDER_POINTS):
        add("low-order-%d" % k, ep().make_initiation(E_I, IDX_I, ts, ephemeral_public=p, cookie=False), "low-order",
            "ephemeral of low order; everything else computed with an all-zero es, as an attacker can")
        add("low-order-%d-high-bit" % k, ep().make_initiation(E_I, IDX_I, ts,
                                                              ephemeral_public=p[:31] + bytes([p[31] | 0x80]),
                                                              cookie=False),
            "low-order", "the same point with the ignored top bit set")
    for name, pos in (("ephemeral", 8), ("static", 40), ("static-tag", 87), ("timestamp", 88), ("timestamp-tag", 115)):
        x = bytearray(good)
        x[pos] ^= 1
        add("flip-" + name, w.finish_macs(bytes(x[:116]), RESP.public), "auth",
            "one bit flipped in %s, mac1 recomputed" % name)
    x = bytearray(good)
    x[39] ^= 0x80
    add("ephemeral-top-bit", w.finish_macs(bytes(x[:116]), RESP.public), "auth",
        "top bit of the ephemeral set: same DH result, but the transcript differs")
    add("index-changed", w.finish_macs(good[:4] + b"\xff\xff\xff\xff" + good[8:116], RESP.public), "",
        "sender index is not covered by Noise, only by mac1: must be ANSWERED, to index 0xffffffff")
    for n in (0, 1, 3, 4, 31, 32, 63, 64, 91, 92, 115, 116, 131, 132, 147):
        add("truncated-%d" % n, good[:n], "format", "first %d bytes of a good initiation" % n)
    add("one-too-long", good + b"\0", "format", "149 bytes")
    for t in (0, 2, 3, 5, 255):
        add("type-%d" % t, bytes([t]) + good[1:], "format", "148 bytes with type %d" % t)
    add("type-4", b"\4" + good[1:], "index", "148 bytes with type 4: a data message for an unknown index, silently dropped")
    add("type-bigendian", b"\0\0\0\1" + good[4:], "format", "type in the wrong byte order")
    add("garbage-mac2", good[:-16] + b"\xAA" * 16, "", "garbage mac2 while NOT under load: must be ANSWERED")
    return {"about": "Single datagrams to the responder of handshake 'psk' (fresh state for each, not under load). dropped_at: "
                     "format, mac1, low-order, auth, unknown-peer or index; empty: the message is accepted. A drop is silent.",
            "responder_static_private": hx(RESP.private), "configured_peer_public": hx(INIT.public),
            "preshared_key": hx(PSK), "vectors": out}


def waiting_initiator():
    """The initiator of handshake 'psk' right after sending its initiation."""
    i = Endpoint(INIT, RESP.public, PSK)
    return i, i.make_initiation(E_I, IDX_I, w.tai64n(*TIME), cookie=False)


def gen_malformed_response():
    out = []

    def add(vid, msg, stage, why):
        out.append({"id": vid, "checks": why, "message": hx(msg), "dropped_at": stage})

    _, m1 = waiting_initiator()

    def responder(psk=PSK):
        r = Endpoint(RESP, INIT.public, psk)
        r.consume_initiation(m1)
        return r

    good = responder().make_response(E_R, IDX_R, cookie=False)
    add("control-good", good, "", "must be ACCEPTED and followed by an (empty or staged) data message with counter 0")
    add("wrong-psk", responder(det("other psk")).make_response(E_R, IDX_R, cookie=False), "auth",
        "responder used another preshared key")
    add("wrong-receiver-index", responder().make_response(E_R, IDX_R, receiver_index=IDX_I ^ 1, cookie=False), "index",
        "unknown receiver index, mac1 right")
    add("mac1-for-other-key", responder().make_response(E_R, IDX_R, mac1_for=RESP.public, cookie=False), "mac1",
        "mac1 keyed with the responder's own key")
    for k in (1, 2, 3):
        r = bytearray(3)
        r[k - 1] = 0x80
        add("reserved-%d" % k, responder().make_response(E_R, IDX_R, reserved=bytes(r), cookie=False), "format",
            "reserved byte %d set" % k)
    for k, p in enumerate(w.LOW_ORDER_POINTS):
        z = responder()._hs.copy()
        z.ephemeral("", p)
        z.mix_dh("", w.ZERO32, want_key=False)
        z.mix_dh("", w.ZERO32, want_key=False)
        z.mix_psk("", PSK)
        body = b"\2\0\0\0" + struct.pack("<II", IDX_R, IDX_I) + p + z.seal("", b"")
        add("low-order-%d" % k, w.finish_macs(body, INIT.public), "low-order",
            "low-order ephemeral from the real responder; tag right for zero ee and se")
    for name, pos in (("ephemeral", 12), ("tag", 44), ("tag-last", 59)):
        x = bytearray(good)
        x[pos] ^= 1
        add("flip-" + name, w.finish_macs(bytes(x[:60]), INIT.public), "auth",
            "bit flipped in %s, mac1 recomputed" % name)
    add("sender-index-changed", w.finish_macs(good[:4] + b"\0\0\0\0" + good[8:60], INIT.public), "",
        "sender index is covered by mac1 only: must be ACCEPTED, data goes to index 0")
    for n in (0, 4, 11, 12, 59, 60, 76, 91):
        add("truncated-%d" % n, good[:n], "format", "first %d bytes" % n)
    add("one-too-long", good + b"\0", "format", "93 bytes")
    add("type-1", b"\1" + good[1:], "format", "92 bytes with type 1")
    add("type-4", b"\4" + good[1:], "index", "92 bytes with type 4: data for an unknown index")
    return {"about": "Single datagrams to the initiator of handshake 'psk' that has just sent 'initiation' (fresh state for each). A drop is silent "
                     "and must leave the state as it was: the control message is accepted after any of them.",
            "initiator_static_private": hx(INIT.private), "responder_static_public": hx(RESP.public),
            "preshared_key": hx(PSK),
            "initiator_ephemeral_private": hx(E_I.private), "initiator_index": IDX_I, "initiation": hx(m1),
            "vectors": out}


def gen_malformed_data():
    hs = gen_handshake()["vectors"][1]
    key = bytes.fromhex(hs["initiator_sending_key"])
    other = bytes.fromhex(hs["initiator_receiving_key"])
    s = w.Session(True, IDX_I, IDX_R, key, other)
    out = []

    def add(vid, msg, stage, why, **kw):
        out.append(dict({"id": vid, "checks": why, "message": hx(msg), "dropped_at": stage}, **kw))

    p = w.ipv4("10.0.0.2", "10.0.0.1", 17, w.udp(1000, 2000, b"payload"))
    p6 = w.ipv6("fd00::2", "fd00::1", 17, w.udp(1000, 2000, b"payload"))
    good = s.encrypt(p, counter=5, mtu=1420)
    add("control-good", good, "", "delivered", inner=hx(p))
    add("control-keepalive", s.encrypt(b"", counter=5), "", "keepalive: nothing delivered", inner="")
    add("control-ipv6", s.encrypt(p6, counter=5, mtu=1420), "", "delivered", inner=hx(p6))
    add("control-odd-padding", s.encrypt(p, counter=5, pad=5), "", "5 bytes of padding", inner=hx(p))
    add("control-dirty-padding", s.encrypt(p + b"\xff" * 13, counter=5, pad=False), "",
        "non-zero padding is cut off unseen", inner=hx(p))
    for n in (0, 1, 4, 15, 16, 31):
        add("truncated-%d" % n, good[:n], "format", "shorter than 32")
    for n in (32, 47, len(good) - 1):
        add("truncated-%d" % n, good[:n], "auth", "tag cannot match")
    add("extended", good + b"\0", "auth", "one byte appended")
    for k in (1, 2, 3):
        r = bytearray(3)
        r[k - 1] = 1
        add("reserved-%d" % k, s.encrypt(p, counter=5, reserved=bytes(r)), "format", "reserved byte %d set" % k)
    add("index", s.encrypt(p, counter=5, index=IDX_R ^ 0x01000000), "index", "unknown receiver index")
    add("other-direction", s.encrypt(p, counter=5, key=other), "auth",
        "encrypted with the key of the other direction (reflection)")
    for name, pos in (("counter", 8), ("counter-top", 15), ("ciphertext", 16), ("tag", len(good) - 1)):
        x = bytearray(good)
        x[pos] ^= 1
        add("flip-" + name, bytes(x), "auth", "bit flipped")
    for c in ((1 << 64) - 1, w.REJECT_AFTER_MESSAGES_KERNEL64):
        add("counter-%d" % c, s.encrypt(p, counter=c, mtu=1420), "replay",
            "authentic, but the counter is beyond every limit")

    def inner(vid, plain, stage, why, **kw):
        add("inner-" + vid, s.encrypt(plain, counter=5, pad=False), stage, why, **kw)

    mk = lambda **kw: w.ipv4("10.0.0.2", "10.0.0.1", 17, w.udp(1000, 2000, b"payload"), **kw)
    for v in (0, 3, 5, 7, 15):
        inner("version-%d" % v, mk(version=v), "inner-type", "IP version %d" % v)
    inner("v4-19-bytes", mk()[:19], "inner-type", "shorter than an IPv4 header")
    inner("v6-39-bytes", p6[:39], "inner-type", "shorter than an IPv6 header")
    inner("one-byte", b"\x45", "inner-type", "one byte")
    for n in (0, 19, len(p) + 1, 65535):
        inner("v4-total-%d" % n, mk(total_length=n), "inner-length", "total_length %d of %d" % (n, len(p)))
    inner("v4-total-20", mk(total_length=20), "", "total_length 20: header alone is delivered",
          inner=hx(mk(total_length=20)[:20]))
    for n in (len(p6) - 39, 65496, 65535):
        inner("v6-payload-%d" % n, p6[:4] + struct.pack(">H", n) + p6[6:], "inner-length",
              "payload_length %d of %d" % (n, len(p6) - 40))
    inner("v6-payload-0", p6[:4] + b"\0\0" + p6[6:], "", "payload_length 0: header alone is delivered",
          inner=hx((p6[:4] + b"\0\0" + p6[6:])[:40]))
    for src in ("10.0.0.3", "0.0.0.0", "255.255.255.255", "10.0.0.1"):
        inner("source-" + src, w.ipv4(src, "10.0.0.1", 17, w.udp(1, 2, b"x")), "source",
              "inner source is not the peer's")
    for src in ("fd00::3", "::ffff:10.0.0.2", "::"):
        inner("source-" + src, w.ipv6(src, "fd00::1", 17, w.udp(1, 2, b"x")), "source",
              "inner source is not the peer's")
    return {"about": "Single data messages to the responder of handshake 'psk', whose peer (the initiator) has allowed ips 10.0.0.2/32 and fd00::2/128; "
                     "fresh replay window for each. dropped_at format, index, auth, replay: no effect at all. inner-type, inner-length, source: nothing is "
                     "delivered, but the message counts as authentic (confirms the key, roams, timers).",
            "key": hx(key), "receiver_index": IDX_R, "allowed_ips": ["10.0.0.2/32", "fd00::2/128"], "vectors": out}


# ----------------------------------------------------------- replay and tables

def gen_replay():
    W, out = w.WINDOW, []
    K, P = w.REJECT_AFTER_MESSAGES_KERNEL64, w.REJECT_AFTER_MESSAGES_PAPER

    def seq(vid, checks, limit, steps):
        win = w.ReplayWindow(limit)
        got = [win.accept(c) for c in steps]
        runs = []                                    # runs of neighbouring counters with one answer
        for c, g in zip(steps, got):
            r = runs[-1] if runs else None
            if r and r[2] == g and (c - r[1] == r[3] or (r[0] == r[1] and abs(c - r[1]) == 1)):
                r[3], r[1] = c - r[1], c
            else:
                runs.append([c, c, g, 0])
        out.append({"id": vid, "checks": checks, "limit": str(limit),
                    "runs": [{"from": str(a), "to": str(b), "accept": g} for a, b, g, _ in runs]})

    L = W + 1
    for name, lim in (("limit-kernel", K), ("limit-paper", P)):
        seq("edges-" + name, "duplicates, window edge, jump, limits", lim,
            [0, 1, 1, 9, 8, 7, 7, L, L - 1, L - 1, L - 2, 2, 2, L + 16, 3, L + 16, 4 * L, 4 * L - (L - 1), 10,
             4 * L - L, 4 * L - (L + 1), 4 * L - (L - 2), 4 * L + 1 - L, 0, lim, lim - 1, lim, lim - 1, lim - 2,
             lim + 1, lim + 2, lim - 2, lim - 3, 0, (1 << 64) - 1])
    seq("window-forward", "fill 1..W, then 0 is exactly W behind and still good, once", K,
        list(range(1, W + 1)) + [0, 0])
    seq("window-forward-one-more", "fill 2..W+1: 1 is good, 0 is W+1 behind and refused", K,
        list(range(2, W + 2)) + [1, 0])
    seq("window-backward", "descending W..0 all good", K, list(range(W, -1, -1)))
    seq("window-backward-one-more", "descending W+1..1 good, then 0 refused", K, list(range(W + 1, 0, -1)) + [0])
    seq("jump-clears", "a jump of more than the bitmap leaves no stale bits", K,
        [5, 5 + 8192, 5 + 8192 - 64, 5 + 3 * 8192, 5 + 3 * 8192 - 1, 5 + 3 * 8192 - 8192 + 64,
         5 + 3 * 8192 - 8192 + 63])
    seq("word-edges", "64-bit word borders", K, [63, 64, 62, 65, 127, 128, 126, 129, 63, 64, 127, 128])
    seq("block-reuse", "bit positions 8192 apart must not alias", K, [0, 8192, 8191, 1, 64, 65, 16384, 8256, 8255])
    return {"about": "Anti-replay: window W = 8192 - 64 = %d. A counter c is accepted when c < limit, c is not more than W below "
                     "the greatest accepted one, and was not accepted before. limit-kernel is 2^64-8130 (64-bit Linux, VPP), "
                     "limit-paper 2^64-8193 (paper, wireguard-go); either is fine for the receiver, a sender must stop at the smaller. "
                     "runs: feed every counter from..to inclusive (ascending or descending), each must get the same answer." % W,
            "vectors": out}


class Trie:
    """Obviously-correct reference for allowed ips: a dict of exact prefixes."""

    def __init__(self):
        self.t = {}

    def insert(self, net, peer):
        self.t[ipaddress.ip_network(net, strict=False)] = peer

    def remove(self, net, peer):
        n = ipaddress.ip_network(net, strict=False)
        if self.t.get(n) == peer:
            del self.t[n]

    def remove_peer(self, peer):
        self.t = {n: p for n, p in self.t.items() if p != peer}

    def lookup(self, ip):
        a, best = ipaddress.ip_address(ip), None
        for n, p in self.t.items():
            if n.version == a.version and a in n and (best is None or n.prefixlen > best[0]):
                best = (n.prefixlen, p)
        return best[1] if best else None


def gen_allowedips():
    out = []

    def scenario(vid, checks, *ops):
        t, done = Trie(), []
        for op in ops:
            if op[0] == "lookup":
                for ip in op[1:]:
                    done.append({"op": "lookup", "ip": ip, "peer": t.lookup(ip)})
            elif op[0] == "list":
                done.append({"op": "list", "peer": op[1],
                             "prefixes": sorted(str(n) for n, p in t.t.items() if p == op[1])})
            else:
                getattr(t, op[0])(*op[1:])
                d = {"op": op[0]}
                d.update({"peer": op[1]} if op[0] == "remove_peer" else {"prefix": op[1], "peer": op[2]})
                done.append(d)
        out.append({"id": vid, "checks": checks, "ops": done})

    ins = "insert"
    scenario("longest-prefix", "nested prefixes, default routes, host bits masked, replaced owners",
             (ins, "192.168.4.0/24", "a"), (ins, "192.168.4.4/32", "b"), (ins, "192.168.0.0/16", "c"),
             (ins, "192.95.5.64/27", "d"), (ins, "192.95.5.65/27", "c"), (ins, "0.0.0.0/0", "e"),
             (ins, "::/0", "e"), (ins, "::/0", "f"), (ins, "2404:6800::/32", "g"),
             (ins, "2404:6800:4004:800:dead:beef:dead:beef/64", "h"),
             (ins, "2404:6800:4004:800:dead:beef:dead:beef/128", "a"),
             ("lookup", "192.168.4.20", "192.168.4.0", "192.168.4.4", "192.168.200.182", "192.95.5.68", "192.95.5.96",
              "8.8.8.8",
              "2404:6800:4004:806::1006", "2404:67ff:4004:806::1", "2404:6801::1", "2404:6800:4004:800:1234::5678",
              "2404:6800:4004:800:dead:beef:dead:beef"),
             ("list", "c"), ("list", "d"), ("list", "h"))
    scenario("move-between-peers", "an identical prefix moves; a longer one splits; removing the owner of the longer one falls back",
             (ins, "10.0.0.0/8", "a"), (ins, "10.0.0.0/8", "b"), ("lookup", "10.1.2.3"), ("list", "a"), ("list", "b"),
             (ins, "10.1.0.0/16", "a"), ("lookup", "10.1.2.3", "10.2.2.3"), ("remove_peer", "a"),
             ("lookup", "10.1.2.3"),
             ("remove_peer", "b"), ("lookup", "10.1.2.3"))
    scenario("no-default", "no match gives no peer, in both families; v4 entries never match v6",
             (ins, "10.0.0.0/8", "a"), ("lookup", "11.0.0.1", "::ffff:10.0.0.1", "::a00:1"), (ins, "::/0", "b"),
             ("lookup", "::ffff:10.0.0.1", "11.0.0.1"))
    scenario("remove-one", "removing a single prefix: only exact prefix and only by its owner",
             (ins, "10.0.0.0/24", "a"), (ins, "10.0.0.0/16", "b"), ("remove", "10.0.0.0/24", "b"),
             ("lookup", "10.0.0.1"),
             ("remove", "10.0.0.0/25", "a"), ("lookup", "10.0.0.1"), ("remove", "10.0.0.77/24", "a"),
             ("lookup", "10.0.0.1"),
             ("remove", "10.0.0.0/16", "b"), ("lookup", "10.0.0.1"))
    scenario("edges", "/0, /1, /31, /32, first and last address, both families",
             (ins, "0.0.0.0/1", "a"), (ins, "128.0.0.0/1", "b"), (ins, "255.255.255.255/32", "c"),
             (ins, "255.255.255.254/31", "d"),
             (ins, "8000::/1", "a"), (ins, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "c"),
             (ins, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", "d"),
             ("lookup", "0.0.0.0", "127.255.255.255", "128.0.0.0", "255.255.255.253", "255.255.255.254",
              "255.255.255.255",
              "7fff::1", "8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
    ops, state = [], 12345

    def rnd(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & ((1 << 64) - 1)
        return (state >> 33) % n

    for k in range(220):
        v6 = rnd(2)
        base = 0x0A000000 if not v6 else 0xFD << 120
        spread = rnd(1 << 6) << (rnd(18) if not v6 else rnd(110))
        a = ipaddress.ip_address((base ^ spread) % (1 << (128 if v6 else 32)) if v6 else (base ^ spread) % (1 << 32))
        if v6 and a.version == 4:
            a = ipaddress.IPv6Address(int(a))
        bits = 128 if a.version == 6 else 32
        what = rnd(10)
        peer = "p%d" % rnd(9)
        if what < 6:
            ops.append((ins, "%s/%d" % (a, bits - rnd(bits // 3) if rnd(8) else 8 + rnd(bits - 8)), peer))
        elif what < 9:
            ops.append(("lookup", str(a), str(type(a)(int(a) ^ 1))))
        elif rnd(4):
            ops.append(("remove", "%s/%d" % (a, bits), peer))
        else:
            ops.append(("remove_peer", peer))
    scenario("random-mix", "220 pseudo-random operations against a linear-scan reference", *ops)
    return {"about": "Allowed-ips table. Ops run in order on one table. peer null: no match.", "vectors": out}


def gen_small():
    pad = [{"length": n, "mtu": m, "padded": w.padded_length(n, m)} for m in (0, 1420, 1280, 1299, 1300, 9000)
           for n in (0, 1, 15, 16, 17, 20, 1263, 1264, 1265, 1279, 1280, 1281, 1296, 1297, 1299, 1300, 1408, 1409,
                     1420, 1421, 2840, 2841, 9000)
           if not (m and n > 4 * m)]
    tai = []
    for s, n in ((0, 0), (0, 1), (1700000000, 123456789), (1700000000, 16777215), (1700000000, 16777216),
                 (1700000000, 999999999), (4294967296, 500000000)):
        tai.append({"unix_seconds": s, "nanoseconds": n, "exact": hx(w.tai64n(s, n, whiten=False)),
                    "on_the_wire": hx(w.tai64n(s, n))})
    names = ["Not-ECT", "ECT(1)", "ECT(0)", "CE"]
    enc = [{"inner": names[i], "outer": names[o], "rfc6040_normal_mode": names[i]} for i,
           o in ((0, 0), (1, 1), (2, 2), (3, 2))]
    dec = []
    for i in range(4):
        for o in range(4):
            res = i if i == 0 else 3 if o == 3 else 1 if (o == 1 and i == 2) else i
            dec.append({"inner": names[i], "outer": names[o], "inner_after": names[res],
                        "rfc6040_would": "drop" if (i == 0 and o == 3) else "same"})
    kd = []
    for label, key, data in (("empty-data", det("kdf key"), b""), ("32", det("kdf key"), det("kdf data")),
                             ("long", det("kdf key"), bytes(range(200)))):
        kd.append({"id": label, "chaining_key": hx(key), "input": hx(data),
                   "t1_t2_t3": [hx(x) for x in w.kdf(3, key, data)]})
    return {
        "kdf": kd,
        "padding": {"about": "plaintext length after padding; mtu 0 = unknown", "vectors": pad},
        "tai64n": {"about": "whitened to multiples of 2^24 ns", "vectors": tai},
        "ecn": {"about": "as Linux does it. Encapsulation: outer DSCP 0 for data, 0x88 (AF41, Not-ECT) for initiation and response, 0 for "
                         "cookie replies. Decapsulation: with current kernels; before the ECT(1) rule was added, ECT(0)+outer ECT(1) stayed ECT(0).",
                "encapsulate": enc, "decapsulate": dec},
        "reserved_keys": {"low_order_points": [hx(p) for p in w.LOW_ORDER_POINTS]},
        "clamping": [{"private": "ff" * 32, "stored": hx(w.clamp(b"\xff" * 32))},
                     {"private": "00" * 32, "stored": hx(w.clamp(bytes(32)))}],
    }


FILES = {"handshake.json": gen_handshake, "mac1_known.json": gen_mac1_known, "cookie.json": gen_cookie,
         "data.json": gen_data,
         "malformed.json": gen_malformed, "malformed_response.json": gen_malformed_response,
         "malformed_data.json": gen_malformed_data,
         "replay.json": gen_replay, "allowedips.json": gen_allowedips, "small.json": gen_small}


# ----------------------------------------------------------------------- check

def check(vdir):
    """Second opinion: nothing of pywg's crypto is used below, except where the
    third-party vectors are run against pywg itself."""
    import hashlib
    from nacl import bindings as na
    n_ok = {}

    def load(name):
        with open(os.path.join(vdir, name)) as f:
            return json.load(f)

    def ok(what, cond=True):
        if not cond:
            raise SystemExit("MISMATCH: " + what)
        n_ok[what.split(":")[0]] = n_ok.get(what.split(":")[0], 0) + 1

    U = bytes.fromhex
    H = lambda *p: hashlib.blake2s(b"".join(p)).digest()
    MAC = lambda k, d: hashlib.blake2s(d, key=k, digest_size=16).digest()

    def hm(k, d):                                   # HMAC written out
        k = (k if len(k) <= 64 else H(k)).ljust(64, b"\0")
        return H(bytes(x ^ 0x5C for x in k), H(bytes(x ^ 0x36 for x in k), d))

    def K(n, ck, d):
        prk, out = hm(ck, d), []
        for i in range(n):
            out.append(hm(prk, (out[-1] if out else b"") + bytes([i + 1])))
        return out

    seal = lambda k, c, p, ad: na.crypto_aead_chacha20poly1305_ietf_encrypt(p, ad, bytes(4) + c.to_bytes(8, "little"),
            k)
    DH, PUB = na.crypto_scalarmult, na.crypto_scalarmult_base

    for v in load("handshake.json")["vectors"]:
        g = {k: U(x) for k, x in v.items() if isinstance(x, str) and k not in ("id", "checks")}
        Si, Sr, Ei, Er = (g[x + "_private"] for x in ("initiator_static", "responder_static", "initiator_ephemeral",
                                                      "responder_ephemeral"))
        ck = H(b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s")
        h = H(H(ck, b"WireGuard v1 zx2c4 Jason@zx2c4.com"), PUB(Sr))
        ei = PUB(Ei)
        h, ck = H(h, ei), K(1, ck, ei)[0]
        ck, k = K(2, ck, DH(Ei, PUB(Sr)))
        es = seal(k, 0, PUB(Si), h)
        h = H(h, es)
        ck, k = K(2, ck, DH(Si, PUB(Sr)))
        et = seal(k, 0, g["timestamp"], h)
        h = H(h, et)
        m = b"\1\0\0\0" + v["initiator_index"].to_bytes(4, "little") + ei + es + et
        m += MAC(H(b"mac1----", PUB(Sr)), m)
        m += MAC(g["cookie_in_initiation"], m) if g["cookie_in_initiation"] else bytes(16)
        ok("handshake initiation: " + v["id"], m == g["initiation"] and len(m) == 148)
        er = PUB(Er)
        h, ck = H(h, er), K(1, ck, er)[0]
        ck = K(1, ck, DH(Er, ei))[0]
        ck = K(1, ck, DH(Er, PUB(Si)))[0]
        ck, tau, k = K(3, ck, g["preshared_key"])
        h = H(h, tau)
        en = seal(k, 0, b"", h)
        h = H(h, en)
        m = b"\2\0\0\0" + v["responder_index"].to_bytes(4, "little") + v["initiator_index"].to_bytes(4,
                "little") + er + en
        m += MAC(H(b"mac1----", PUB(Si)), m)
        m += MAC(g["cookie_in_response"], m) if g["cookie_in_response"] else bytes(16)
        ok("handshake response: " + v["id"], m == g["response"] and len(m) == 92)
        ok("handshake keys: " + v["id"], K(2, ck, b"") == [g["initiator_sending_key"], g["initiator_receiving_key"]])
        last = v["transcript"][-1]
        ok("handshake final ck and h: " + v["id"], (U(last["ck"]), U(last["h"])) == (ck, h))
    for v in load("mac1_known.json")["vectors"]:
        m = U(v["initiation"])
        ok("linux-made mac1: " + v["id"], len(m) == 148 and MAC(H(b"mac1----", U(v["responder_static_public"])),
                                                                m[:116]) == m[116:132])
    for v in load("cookie.json")["vectors"]:
        c = MAC(U(v["issuer_secret"]), U(v["cookie_input"]))
        k = H(b"cookie--", U(v["issuer_static_public"]))
        x = na.crypto_aead_xchacha20poly1305_ietf_encrypt(c, U(v["message_mac1"]), U(v["nonce"]), k)
        m = U(v["message"])
        ok("cookie reply: " + v["id"], U(v["cookie_reply"]) == b"\3\0\0\0" + m[4:8] + U(v["nonce"]) + x and c == U(v["cookie"]))
        ok("cookie mac2: " + v["id"], MAC(c, m[:-16]) == U(v["mac2"]))
    d = load("data.json")
    for v in d["vectors"]:
        c, p = int(v["counter"]), U(v["plaintext"])
        p += bytes(v["padded_length"] - len(p))
        m = b"\4\0\0\0" + d["receiver_index"].to_bytes(4, "little") + c.to_bytes(8, "little") + seal(U(d["key"]), c, p,
                b"")
        ok("data message: " + v["id"], m == U(v["message"]))
    mal = load("malformed.json")
    for v in mal["vectors"]:
        e = Endpoint(U(mal["responder_static_private"]), U(mal["configured_peer_public"]), U(mal["preshared_key"]))
        m, why = U(v["message"]), ""
        try:
            t = w.message_type(m)
            if t == 0:
                why = "format"
            elif t == w.DATA:
                why = "index"
            else:
                e.consume_initiation(m)
        except w.WgError as x:
            why = x.reason
        ok("malformed: %s is dropped at %r" % (v["id"], why), why == v["dropped_at"])

    mal = load("malformed_response.json")
    for v in mal["vectors"]:
        e, m1 = waiting_initiator()
        m, why = U(v["message"]), ""
        ok("malformed response: initiation", m1 == U(mal["initiation"]))
        try:
            t = w.message_type(m)
            why = {0: "format", w.DATA: "index"}.get(t, "")
            if not why:
                e.consume_response(m)
        except w.WgError as x:
            why = x.reason
        ok("malformed response: %s is dropped at %r" % (v["id"], why), why == v["dropped_at"])
        if why:                                      # nothing may have been spoilt
            e.consume_response(U(mal["vectors"][0]["message"]))
        ok("malformed response: keys after " + v["id"], e.session.send_key == U(load("data.json")["key"]))
    mal = load("malformed_data.json")
    for v in mal["vectors"]:
        s = w.Session(False, mal["receiver_index"], 0, bytes(32), U(mal["key"]))
        why, got = "", b""
        try:
            got = w.inner_packet(s.decrypt(U(v["message"])))
            if got:
                src = ipaddress.ip_address(got[12:16] if got[0] >> 4 == 4 else got[8:24])
                if not any(src in ipaddress.ip_network(n) for n in mal["allowed_ips"]):
                    why = "source"
        except w.WgError as x:
            why = x.reason
        ok("malformed data: %s is dropped at %r" % (v["id"], why),
           why == v["dropped_at"] and (why or hx(got) == v["inner"]))
    for v in load("replay.json")["vectors"]:         # bitmap algorithm instead of pywg's set
        top, words = 0, [0] * 128                    # top: greatest accepted + 1
        for r in v["runs"]:
            a, b = int(r["from"]), int(r["to"])
            for c in range(a, b + 1) if a <= b else range(a, b - 1, -1):
                good = False
                if c < int(v["limit"]) and c + 1 + 8128 >= top:
                    x = c + 1
                    if x > top:
                        for i in range(1, min(x // 64 - top // 64, 128) + 1):
                            words[(i + top // 64) % 128] = 0
                        top = x
                    good = not words[x // 64 % 128] >> (x % 64) & 1
                    words[x // 64 % 128] |= 1 << (x % 64)
                ok("replay: %s at %d" % (v["id"], c), good == r["accept"])

    wy = os.path.join(vdir, "wycheproof")
    if os.path.isdir(wy):
        for g in load("wycheproof/x25519_test.json")["testGroups"]:
            for t in g["tests"]:
                ok("wycheproof x25519: %d" % t["tcId"], w.x25519(U(t["private"]), U(t["public"])) == U(t["shared"]))
        for name, nlen, enc in (("chacha20_poly1305", 12, None), ("xchacha20_poly1305", 24, w.xaead_open)):
            for g in load("wycheproof/%s_test.json" % name)["testGroups"]:
                for t in g["tests"]:
                    if len(U(t["iv"])) != nlen:
                        continue
                    try:
                        if enc:
                            p = enc(U(t["key"]), U(t["iv"]), U(t["ct"]) + U(t["tag"]), U(t["aad"]))
                        else:
                            p = w.ChaCha20Poly1305(U(t["key"])).decrypt(U(t["iv"]), U(t["ct"]) + U(t["tag"]),
                                    U(t["aad"]))
                    except (w.WgError, w.InvalidTag):
                        p = None
                    ok("wycheproof %s: %d" % (name, t["tcId"]),
                       (p == U(t["msg"])) if t["result"] == "valid" else p is None)
    npath = os.path.join(vdir, "noise_ikpsk2_public.json")
    if os.path.exists(npath):
        v = load("noise_ikpsk2_public.json")["vector"]
        ms = v["messages"]
        s = w.Symmetric(prologue=U(v["init_prologue"]))
        si, sr = KeyPair(U(v["init_static"])), KeyPair(U(v["resp_static"]))
        ei, er, psk = KeyPair(U(v["init_ephemeral"])), KeyPair(U(v["resp_ephemeral"])), U(v["init_psks"][0])
        s.mix_hash("", sr.public)
        s.ephemeral("", ei.public)
        s.mix_dh("", w.dh(ei.private, sr.public))
        c = ei.public + s.seal("", si.public)
        s.mix_dh("", w.dh(si.private, sr.public))
        c += s.seal("", U(ms[0]["payload"]))
        ok("public Noise IKpsk2 message 1: 1", c == U(ms[0]["ciphertext"]))
        s.ephemeral("", er.public)
        s.mix_dh("", w.dh(er.private, ei.public), want_key=False)
        s.mix_dh("", w.dh(er.private, si.public), want_key=False)
        s.mix_psk("", psk)
        ok("public Noise IKpsk2 message 2: 1", er.public + s.seal("", U(ms[1]["payload"])) == U(ms[1]["ciphertext"]))
        ok("public Noise IKpsk2 handshake hash: 1", s.h == U(v["handshake_hash"]))
        k1, k2 = w.kdf(2, s.ck, b"")
        for n, x in enumerate(ms[2:]):
            ok("public Noise IKpsk2 transport: %d" % n, w.aead_seal((k1, k2)[n % 2], n // 2,
                                                                    U(x["payload"])) == U(x["ciphertext"]))
    for k, n in n_ok.items():
        print("ok %5d  %s" % (n, k))


def pcap(path):
    import base64
    hs, data, ck = gen_handshake()["vectors"][1], gen_data(), gen_cookie()["vectors"][0]
    there = lambda m: w.ipv4("192.0.2.33", "192.0.2.1", 17, w.udp(51820, 51820, bytes.fromhex(m)))
    back = lambda m: w.ipv4("192.0.2.1", "192.0.2.33", 17, w.udp(51820, 51820, bytes.fromhex(m)))
    pk = [there(hs["initiation"]), back(hs["response"])] + [there(v["message"]) for v in data["vectors"]] + [back(ck["cookie_reply"])]
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 228))
        for k, p in enumerate(pk):
            f.write(struct.pack("<IIII", TIME[0] + k, 0, len(p), len(p)) + p)
    with open(path + ".keys", "w") as f:
        for name, key in (("LOCAL_STATIC_PRIVATE_KEY", "initiator_static_private"),
                          ("REMOTE_STATIC_PUBLIC_KEY", "responder_static_public"),
                          ("LOCAL_EPHEMERAL_PRIVATE_KEY", "initiator_ephemeral_private"),
                          ("PRESHARED_KEY", "preshared_key")):
            f.write("%s = %s\n" % (name, base64.b64encode(bytes.fromhex(hs[key])).decode()))


def main():
    cmd = sys.argv[1] if len(sys.argv) > 1 else "check"
    vdir = sys.argv[2] if len(sys.argv) > 2 else VECTORS
    if cmd == "gen":
        os.makedirs(vdir, exist_ok=True)
        for name, f in FILES.items():
            with open(os.path.join(vdir, name), "w") as out:
                json.dump(f(), out, indent=1)
                out.write("\n")
            print("wrote", name)
    elif cmd == "pcap":
        pcap(sys.argv[2])
    elif cmd == "check":
        for name in w.self_test():
            pass
        check(vdir)
        stale = [n for n, f in FILES.items() if json.load(open(os.path.join(vdir, n))) != json.loads(json.dumps(f()))]
        print("files equal to a fresh generation:", "all" if not stale else "NOT " + ", ".join(stale))
        return 1 if stale else 0
    else:
        print(__doc__)
        return 2


if __name__ == "__main__":
    sys.exit(main())
