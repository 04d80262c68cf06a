#!/usr/bin/python3
"""pywg - a small, independent WireGuard endpoint for tests.

It is an oracle and a packet forge, not a tunnel: nothing here is constant
time, nothing is zeroised, and there are no timers.  Everything that an honest
endpoint would choose (ephemeral key, index, timestamp, counter, padding, MACs,
reserved bytes) can be overridden, so the same code builds good packets and
malicious ones.

Needs: Python >= 3.9, python3-cryptography.  Nothing else.

Quick tour
----------
    me, gw = KeyPair.generate(), KeyPair.generate()
    a = Endpoint(me, gw.public)                 # initiator side
    b = Endpoint(gw, me.public)                 # responder side
    m1 = a.make_initiation()
    b.consume_initiation(m1)
    m2 = b.make_response()
    a.consume_response(m2)
    m3 = a.session.encrypt(ipv4(src, dst, 17, udp(1, 2, b"hi")))
    plain = b.session.decrypt(m3)

All consume/decrypt functions raise WgError (with .reason, a short stable word)
when a conforming receiver must drop the message.
"""
import hashlib
import hmac
import os
import struct
import time

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1 = b"mac1----"
LABEL_COOKIE = b"cookie--"

INITIATION, RESPONSE, COOKIE_REPLY, DATA = 1, 2, 3, 4
LEN_INITIATION, LEN_RESPONSE, LEN_COOKIE_REPLY, LEN_DATA_MIN = 148, 92, 64, 32

REKEY_AFTER_MESSAGES = 1 << 60
WINDOW = 8192 - 64                                   # usable anti-replay window
REJECT_AFTER_MESSAGES_PAPER = (1 << 64) - (1 << 13) - 1
REJECT_AFTER_MESSAGES_KERNEL64 = (1 << 64) - 1 - WINDOW - 1
REKEY_AFTER_TIME, REJECT_AFTER_TIME = 120, 180
REKEY_TIMEOUT, KEEPALIVE_TIMEOUT, REKEY_ATTEMPT_TIME = 5, 10, 90
COOKIE_SECRET_MAX_AGE, COOKIE_SECRET_LATENCY = 120, 5
TAI64_EPOCH = 0x400000000000000A                     # TAI64 label of 1970-01-01 UTC + 10 s
TIMESTAMP_WHITEN_NS = 1 << 24                        # 16.8 ms granularity
ZERO32 = bytes(32)

LOW_ORDER_POINTS = [bytes.fromhex(h) for h in (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)]


class WgError(Exception):
    """A message a conforming receiver must drop.  reason is a stable word."""

    def __init__(self, reason, detail=""):
        super().__init__(reason + (": " + detail if detail else ""))
        self.reason = reason


# --------------------------------------------------------------- primitives

def blake2s(*parts, size=32, key=b""):
    h = hashlib.blake2s(digest_size=size, key=key)
    for p in parts:
        h.update(p)
    return h.digest()


def hmac_blake2s(key, data):
    """Ordinary HMAC with BLAKE2s-256 (block size 64); not keyed BLAKE2s."""
    return hmac.new(key, data, hashlib.blake2s).digest()


def kdf(n, chaining_key, data):
    """HKDF with an empty info string: n outputs of 32 bytes."""
    prk = hmac_blake2s(chaining_key, data)
    out, prev = [], b""
    for i in range(1, n + 1):
        prev = hmac_blake2s(prk, prev + bytes([i]))
        out.append(prev)
    return out


def clamp(private):
    b = bytearray(private)
    b[0] &= 248
    b[31] = (b[31] & 127) | 64
    return bytes(b)


_P = 2 ** 255 - 19


def x25519(private, public):
    """RFC 7748 Montgomery ladder.  Returns the raw result, also when it is
    all zero (the caller decides), which is what a packet forge needs."""
    k = int.from_bytes(clamp(private), "little")
    u = int.from_bytes(public, "little") & ((1 << 255) - 1)
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = (k >> t) & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b = (x2 + z2) % _P, (x2 - z2) % _P
        aa, bb = a * a % _P, b * b % _P
        e = (aa - bb) % _P
        da, cb = (x3 - z3) * a % _P, (x3 + z3) * b % _P
        x3, z3 = (da + cb) ** 2 % _P, x1 * (da - cb) ** 2 % _P
        x2, z2 = aa * bb % _P, e * (aa + 121665 * e) % _P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _P - 2, _P) % _P).to_bytes(32, "little")


BASEPOINT = (9).to_bytes(32, "little")


def dh(private, public, check=True):
    s = x25519(private, public)
    if check and s == ZERO32:
        raise WgError("low-order", "all-zero shared secret")
    return s


def nonce96(counter):
    """Four zero bytes, then the 64-bit counter, little endian."""
    return struct.pack("<IQ", 0, counter)


def aead_seal(key, counter, plaintext, ad=b""):
    return ChaCha20Poly1305(key).encrypt(nonce96(counter), plaintext, ad)


def aead_open(key, counter, ciphertext, ad=b""):
    try:
        return ChaCha20Poly1305(key).decrypt(nonce96(counter), ciphertext, ad)
    except InvalidTag:
        raise WgError("auth", "Poly1305 tag mismatch") from None


def hchacha20(key, nonce16):
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce16))

    def qr(a, b, c, d):
        for x, y, z, r in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & 0xFFFFFFFF
            v = s[z] ^ s[x]
            s[z] = ((v << r) | (v >> (32 - r))) & 0xFFFFFFFF

    for _ in range(10):
        qr(0, 4, 8, 12), qr(1, 5, 9, 13), qr(2, 6, 10, 14), qr(3, 7, 11, 15)
        qr(0, 5, 10, 15), qr(1, 6, 11, 12), qr(2, 7, 8, 13), qr(3, 4, 9, 14)
    return struct.pack("<8I", *s[0:4], *s[12:16])


def xaead_seal(key, nonce24, plaintext, ad=b""):
    k = hchacha20(key, nonce24[:16])
    return ChaCha20Poly1305(k).encrypt(bytes(4) + nonce24[16:], plaintext, ad)


def xaead_open(key, nonce24, ciphertext, ad=b""):
    k = hchacha20(key, nonce24[:16])
    try:
        return ChaCha20Poly1305(k).decrypt(bytes(4) + nonce24[16:], ciphertext, ad)
    except InvalidTag:
        raise WgError("auth", "XChaCha20Poly1305 tag mismatch") from None


def tai64n(unix_seconds, nanoseconds=0, whiten=True):
    if whiten:
        nanoseconds -= nanoseconds % TIMESTAMP_WHITEN_NS
    return struct.pack(">QI", TAI64_EPOCH + unix_seconds, nanoseconds)


def tai64n_now():
    ns = time.time_ns()
    return tai64n(ns // 10 ** 9, ns % 10 ** 9)


class KeyPair:
    def __init__(self, private):
        self.private = clamp(private)
        self.public = x25519(self.private, BASEPOINT)

    @classmethod
    def generate(cls):
        return cls(os.urandom(32))


# ------------------------------------------------------- Noise symmetric part

class Symmetric:
    """Chaining key, transcript hash and the current message key.  trace, if
    given, receives a dict after every step."""

    def __init__(self, prologue=IDENTIFIER, trace=None):
        self.trace = trace
        self.ck = blake2s(CONSTRUCTION)
        self.h = blake2s(self.ck, prologue)
        self.k = None
        self._note("init")

    def _note(self, step, **extra):
        if self.trace is not None:
            d = {"step": step, "ck": self.ck.hex(), "h": self.h.hex()}
            if self.k is not None:
                d["k"] = self.k.hex()
            d.update({n: v.hex() for n, v in extra.items()})
            self.trace.append(d)

    def copy(self):
        c = Symmetric.__new__(Symmetric)
        c.trace, c.ck, c.h, c.k = self.trace, self.ck, self.h, self.k
        return c

    def mix_hash(self, step, data):
        self.h = blake2s(self.h, data)
        self._note(step)

    def ephemeral(self, step, public):
        """Token e: hash it and, because this is a psk pattern, mix it into ck."""
        self.h = blake2s(self.h, public)
        (self.ck,) = kdf(1, self.ck, public)
        self._note(step, e=public)

    def mix_dh(self, step, secret, want_key=True):
        if want_key:
            self.ck, self.k = kdf(2, self.ck, secret)
        else:
            (self.ck,) = kdf(1, self.ck, secret)
        self._note(step, dh=secret)

    def mix_psk(self, step, psk):
        self.ck, tau, self.k = kdf(3, self.ck, psk)
        self.h = blake2s(self.h, tau)
        self._note(step, tau=tau)

    def seal(self, step, plaintext):
        c = aead_seal(self.k, 0, plaintext, self.h)
        self.h = blake2s(self.h, c)
        self._note(step, ciphertext=c)
        return c

    def open(self, step, ciphertext):
        p = aead_open(self.k, 0, ciphertext, self.h)
        self.h = blake2s(self.h, ciphertext)
        self._note(step, ciphertext=ciphertext)
        return p


# ------------------------------------------------------------------- cookies

def mac1_key(recipient_public):
    return blake2s(LABEL_MAC1, recipient_public)


def cookie_key(public):
    """public is always that of the side that ISSUES the cookie reply."""
    return blake2s(LABEL_COOKIE, public)


def mac1(recipient_public, message):
    """message: the complete 148 or 92 byte message (its MAC fields ignored)."""
    return blake2s(message[:-32], size=16, key=mac1_key(recipient_public))


def mac2(cookie, message):
    return blake2s(message[:-16], size=16, key=cookie)


def finish_macs(message_without_macs, recipient_public, cookie=None):
    m = message_without_macs + bytes(32)
    m = m[:-32] + mac1(recipient_public, m) + bytes(16)
    if cookie is not None:
        m = m[:-16] + mac2(cookie, m)
    return m


def cookie_value(secret, src_ip, src_port):
    """src_ip: 4 or 16 raw bytes; the port is appended in network order.  Only
    the issuer ever evaluates this, so the exact encoding is its own business;
    this one is what Linux does."""
    return blake2s(src_ip, struct.pack(">H", src_port), size=16, key=secret)


class CookieChecker:
    """The side that may be under load."""

    def __init__(self, own_public, clock=time.monotonic):
        self.own_public, self.clock = own_public, clock
        self.secret, self.born = os.urandom(32), clock()

    def current_secret(self):
        if self.clock() - self.born > COOKIE_SECRET_MAX_AGE:
            self.secret, self.born = os.urandom(32), self.clock()
        return self.secret

    def mac1_ok(self, message):
        return hmac.compare_digest(message[-32:-16], mac1(self.own_public, message))

    def mac2_ok(self, message, src_ip, src_port):
        c = cookie_value(self.current_secret(), src_ip, src_port)
        return hmac.compare_digest(message[-16:], mac2(c, message))

    def make_reply(self, message, src_ip, src_port, nonce=None, secret=None):
        nonce = os.urandom(24) if nonce is None else nonce
        c = cookie_value(secret or self.current_secret(), src_ip, src_port)
        sealed = xaead_seal(cookie_key(self.own_public), nonce, c, message[-32:-16])
        return struct.pack("<I", COOKIE_REPLY) + message[4:8] + nonce + sealed


class CookieStore:
    """The side that sends handshake messages and may be answered by a cookie."""

    def __init__(self, remote_public, clock=time.monotonic):
        self.remote_public, self.clock = remote_public, clock
        self.last_mac1 = self.cookie = self.born = None

    def usable(self):
        if self.cookie is None:
            return None
        if self.clock() - self.born > COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY:
            return None
        return self.cookie

    def consume_reply(self, reply):
        if len(reply) != LEN_COOKIE_REPLY or reply[:4] != b"\x03\0\0\0":
            raise WgError("format", "not a cookie reply")
        if self.last_mac1 is None:
            raise WgError("cookie", "no handshake message outstanding")
        c = xaead_open(cookie_key(self.remote_public), reply[8:32], reply[32:], self.last_mac1)
        self.cookie, self.born, self.last_mac1 = c, self.clock(), None
        return c


# ------------------------------------------------------------------ sessions

class ReplayWindow:
    """Bitmap of 8192 bits, of which 8192-64 are usable history."""

    def __init__(self, limit=REJECT_AFTER_MESSAGES_PAPER):
        self.limit, self.top, self.seen = limit, -1, set()

    def accept(self, counter):
        if counter >= self.limit or self.top - counter > WINDOW or counter in self.seen:
            return False
        self.seen.add(counter)
        if counter > self.top:
            self.top = counter
            if len(self.seen) > 4 * WINDOW:
                self.seen = {c for c in self.seen if self.top - c <= WINDOW}
        return True


def padded_length(n, mtu=None):
    """Padded plaintext length a sender must use for an inner packet of n bytes."""
    if n == 0 or not mtu:
        return (n + 15) & ~15
    last = n % mtu if n > mtu else n
    return n - last + min(mtu, (last + 15) & ~15)


class Session:
    def __init__(self, initiator, local_index, remote_index, send_key, recv_key):
        self.initiator, self.local_index, self.remote_index = initiator, local_index, remote_index
        self.send_key, self.recv_key = send_key, recv_key
        self.send_counter = 0
        self.window = ReplayWindow()
        self.created = time.monotonic()

    def encrypt(self, inner=b"", counter=None, pad=True, mtu=None, index=None,
                reserved=b"\0\0\0", key=None):
        """Builds one data message.  counter=None uses and advances the session
        counter.  pad: True = pad as required, False = none, int = exactly that
        many zero bytes."""
        if counter is None:
            counter, self.send_counter = self.send_counter, self.send_counter + 1
        if pad is True:
            inner = inner + bytes(padded_length(len(inner), mtu) - len(inner))
        elif pad:
            inner = inner + bytes(pad)
        index = self.remote_index if index is None else index
        head = bytes([DATA]) + reserved + struct.pack("<IQ", index, counter)
        return head + aead_seal(key or self.send_key, counter, inner)

    def keepalive(self, **kw):
        return self.encrypt(b"", **kw)

    def decrypt(self, message, check_replay=True):
        """Returns the plaintext with its padding.  See inner_packet()."""
        if len(message) < LEN_DATA_MIN or message[:4] != b"\x04\0\0\0":
            raise WgError("format", "not a data message")
        index, counter = struct.unpack_from("<IQ", message, 4)
        if index != self.local_index:
            raise WgError("index")
        plain = aead_open(self.recv_key, counter, message[16:])
        if check_replay and not self.window.accept(counter):
            raise WgError("replay", str(counter))
        return plain


def inner_packet(plain):
    """Trims the padding by the inner IP header, as a receiver must."""
    if not plain:
        return b""
    version = plain[0] >> 4
    if version == 4 and len(plain) >= 20:
        n = struct.unpack_from(">H", plain, 2)[0]
        if n < 20:
            raise WgError("inner-length")
    elif version == 6 and len(plain) >= 40:
        n = 40 + struct.unpack_from(">H", plain, 4)[0]
    else:
        raise WgError("inner-type")
    if n > len(plain):
        raise WgError("inner-length")
    return plain[:n]


# ------------------------------------------------------------------ endpoint

class Endpoint:
    """One side of one peering: own static keys, the remote's public key, psk."""

    def __init__(self, static, remote_public, psk=ZERO32, trace=None):
        self.static = static if isinstance(static, KeyPair) else KeyPair(static)
        self.remote_public, self.psk, self.trace = remote_public, psk, trace
        self.cookies = CookieStore(remote_public)
        self.checker = CookieChecker(self.static.public)
        self.session = None
        self.greatest_timestamp = bytes(12)
        self.remote_index = self.local_index = None
        self._hs = self._eph = self._remote_eph = None

    def _finish(self, body, mac1_for, cookie):
        cookie = self.cookies.usable() if cookie is None else (cookie or None)
        msg = finish_macs(body, mac1_for or self.remote_public, cookie)
        self.cookies.last_mac1 = msg[-32:-16]
        return msg

    # initiator ------------------------------------------------------------
    def make_initiation(self, ephemeral=None, sender_index=None, timestamp=None,
                        reserved=b"\0\0\0", static=None, ephemeral_public=None,
                        mac1_for=None, cookie=None, check_dh=True):
        """Overrides for malice: static (KeyPair claimed and used), a foreign
        ephemeral_public (e.g. a low order point; the es secret is then taken as
        zero, which is what an attacker would know), mac1_for (compute mac1 for
        another key), cookie (bytes, or False for none)."""
        static = static or self.static
        self._eph = ephemeral if isinstance(ephemeral, KeyPair) else \
            KeyPair(ephemeral if ephemeral is not None else os.urandom(32))
        e_pub = ephemeral_public or self._eph.public
        self.local_index = int.from_bytes(os.urandom(4), "little") if sender_index is None else sender_index
        s = Symmetric(trace=self.trace)
        s.mix_hash("premessage: responder static", self.remote_public)
        s.ephemeral("msg1: e", e_pub)
        es = ZERO32 if ephemeral_public else dh(self._eph.private, self.remote_public, check_dh)
        s.mix_dh("msg1: es", es)
        enc_static = s.seal("msg1: s", static.public)
        s.mix_dh("msg1: ss", dh(static.private, self.remote_public, check_dh))
        enc_time = s.seal("msg1: timestamp", timestamp or tai64n_now())
        self._hs = s
        body = bytes([INITIATION]) + reserved + struct.pack("<I", self.local_index) \
            + e_pub + enc_static + enc_time
        return self._finish(body, mac1_for, cookie)

    def consume_response(self, msg, verify_mac1=True):
        if len(msg) != LEN_RESPONSE or msg[:4] != b"\x02\0\0\0":
            raise WgError("format", "not a response")
        if verify_mac1 and not self.checker.mac1_ok(msg):
            raise WgError("mac1")
        if self._hs is None or self._eph is None:
            raise WgError("state", "no initiation outstanding")
        sender, receiver = struct.unpack_from("<II", msg, 4)
        if receiver != self.local_index:
            raise WgError("index")
        s, e = self._hs.copy(), msg[12:44]
        s.ephemeral("msg2: e", e)
        s.mix_dh("msg2: ee", dh(self._eph.private, e), want_key=False)
        s.mix_dh("msg2: se", dh(self.static.private, e), want_key=False)
        s.mix_psk("msg2: psk", self.psk)
        s.open("msg2: empty", msg[44:60])
        send, recv = kdf(2, s.ck, b"")
        self.remote_index, self._hs, self._eph = sender, None, None
        self.session = Session(True, self.local_index, sender, send, recv)
        return self.session

    # responder ------------------------------------------------------------
    def consume_initiation(self, msg, verify_mac1=True, check_timestamp=True):
        """Returns the 12 byte timestamp."""
        if len(msg) != LEN_INITIATION or msg[:4] != b"\x01\0\0\0":
            raise WgError("format", "not an initiation")
        if verify_mac1 and not self.checker.mac1_ok(msg):
            raise WgError("mac1")
        (sender,), e = struct.unpack_from("<I", msg, 4), msg[8:40]
        s = Symmetric(trace=self.trace)
        s.mix_hash("premessage: responder static", self.static.public)
        s.ephemeral("msg1: e", e)
        s.mix_dh("msg1: es", dh(self.static.private, e))
        remote = s.open("msg1: s", msg[40:88])
        if remote != self.remote_public:
            raise WgError("unknown-peer", remote.hex())
        s.mix_dh("msg1: ss", dh(self.static.private, remote))
        ts = s.open("msg1: timestamp", msg[88:116])
        if check_timestamp and ts <= self.greatest_timestamp:
            raise WgError("timestamp", "not newer than the greatest seen")
        self.greatest_timestamp = max(self.greatest_timestamp, ts)
        self._hs, self._remote_eph, self.remote_index = s, e, sender
        return ts

    def make_response(self, ephemeral=None, sender_index=None, reserved=b"\0\0\0",
                      receiver_index=None, mac1_for=None, cookie=None):
        if self._hs is None or self._remote_eph is None:
            raise WgError("state", "no initiation consumed")
        eph = ephemeral if isinstance(ephemeral, KeyPair) else \
            KeyPair(ephemeral if ephemeral is not None else os.urandom(32))
        self.local_index = int.from_bytes(os.urandom(4), "little") if sender_index is None else sender_index
        receiver = self.remote_index if receiver_index is None else receiver_index
        s = self._hs.copy()
        s.ephemeral("msg2: e", eph.public)
        s.mix_dh("msg2: ee", dh(eph.private, self._remote_eph), want_key=False)
        s.mix_dh("msg2: se", dh(eph.private, self.remote_public), want_key=False)
        s.mix_psk("msg2: psk", self.psk)
        empty = s.seal("msg2: empty", b"")
        recv, send = kdf(2, s.ck, b"")
        self._hs = self._remote_eph = None
        self.session = Session(False, self.local_index, self.remote_index, send, recv)
        body = bytes([RESPONSE]) + reserved + struct.pack("<II", self.local_index, receiver) \
            + eph.public + empty
        return self._finish(body, mac1_for, cookie)

    def consume_cookie_reply(self, msg):
        if len(msg) == LEN_COOKIE_REPLY and struct.unpack_from("<I", msg, 4)[0] != self.local_index:
            raise WgError("index")
        return self.cookies.consume_reply(msg)


def message_type(msg):
    """1..4 for a well-formed header and length, else 0 (drop silently)."""
    if len(msg) < 4:
        return 0
    t = struct.unpack_from("<I", msg)[0]           # reserved bytes must be zero
    exact = {INITIATION: LEN_INITIATION, RESPONSE: LEN_RESPONSE, COOKIE_REPLY: LEN_COOKIE_REPLY}
    if t in exact:
        return t if len(msg) == exact[t] else 0
    return DATA if t == DATA and len(msg) >= LEN_DATA_MIN else 0


# ---------------------------------------------------- inner packet builders

def checksum(data):
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def _ip(a):
    import ipaddress
    return a if isinstance(a, bytes) else ipaddress.ip_address(a).packed


def ipv4(src, dst, proto, payload, tos=0, ttl=64, total_length=None, ident=1, frag=0, version=4):
    n = 20 + len(payload) if total_length is None else total_length
    h = struct.pack(">BBHHHBBH", version << 4 | 5, tos, n, ident, frag, ttl, proto, 0) + _ip(src) + _ip(dst)
    return h[:10] + struct.pack(">H", checksum(h)) + h[12:] + payload


def ipv6(src, dst, proto, payload, tclass=0, hlim=64, payload_length=None):
    n = len(payload) if payload_length is None else payload_length
    return struct.pack(">IHBB", 6 << 28 | tclass << 20, n, proto, hlim) + _ip(src) + _ip(dst) + payload


def icmp_echo(ident, seq, data=b"", reply=False):
    h = struct.pack(">BBHHH", 0 if reply else 8, 0, 0, ident, seq) + data
    return h[:2] + struct.pack(">H", checksum(h)) + h[4:]


def icmp6_echo(src, dst, ident, seq, data=b"", reply=False):
    h = struct.pack(">BBHHH", 129 if reply else 128, 0, 0, ident, seq) + data
    pseudo = _ip(src) + _ip(dst) + struct.pack(">IHBB", len(h), 0, 0, 58)
    return h[:2] + struct.pack(">H", checksum(pseudo + h)) + h[4:]


def udp(sport, dport, data=b""):
    return struct.pack(">HHHH", sport, dport, 8 + len(data), 0) + data


def self_test():
    """Published constants and a closed loop.  Returns the names of the checks."""
    done = []

    def check(name, cond):
        if not cond:
            raise AssertionError(name)
        done.append(name)

    h = bytes.fromhex
    check("x25519: RFC 7748 section 5.2, first vector", x25519(
        h("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        h("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"))
        == h("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"))
    check("hchacha20: draft-irtf-cfrg-xchacha 2.2.1", hchacha20(
        bytes(range(32)), h("000000090000004a0000000031415927"))
        == h("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"))
    check("low order points give zero", all(
        x25519(bytes(range(32)), p) == ZERO32 for p in LOW_ORDER_POINTS))
    a, b, psk = KeyPair.generate(), KeyPair.generate(), os.urandom(32)
    i, r = Endpoint(a, b.public, psk), Endpoint(b, a.public, psk)
    m1 = i.make_initiation()
    r.consume_initiation(m1)
    i.consume_response(r.make_response())
    check("session keys agree", i.session.send_key == r.session.recv_key
          and i.session.recv_key == r.session.send_key)
    for n in (0, 1, 15, 16, 17, 1420):
        check("data round trip %d" % n, r.session.decrypt(i.session.encrypt(bytes(n), mtu=1420))
              == bytes(padded_length(n, 1420)))
    try:
        r.consume_initiation(m1)
        check("replayed initiation refused", False)
    except WgError as e:
        check("replayed initiation refused", e.reason == "timestamp")
    m = i.make_initiation(timestamp=tai64n(2 ** 31))
    reply = r.checker.make_reply(m, bytes([192, 0, 2, 1]), 5000)
    i.consume_cookie_reply(reply)
    m = i.make_initiation(timestamp=tai64n(2 ** 31 + 1))
    check("mac2 after cookie", r.checker.mac2_ok(m, bytes([192, 0, 2, 1]), 5000)
          and not r.checker.mac2_ok(m, bytes([192, 0, 2, 1]), 5001))
    return done


if __name__ == "__main__":
    for name in self_test():
        print("ok  ", name)
