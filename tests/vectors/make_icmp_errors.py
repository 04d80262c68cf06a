#!/usr/bin/python3
"""Writes icmp_errors.json: what scapy says an ICMP error about a packet looks like.

Each case: the offending packet, the request (error, mtu, source) and the whole expected packet, or null where RFC 792,
1122, 1812 or 4443 forbid an error. Run it again after a change: make_icmp_errors.py > icmp_errors.json
"""
import json
import logging

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, ICMPv6ND_Redirect, IPv6,
    IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop)
from scapy.packet import Raw  # noqa: E402

GATEWAY4, GATEWAY6 = "198.51.100.10", "2001:db8:1::10"
TYPES4 = {"time_exceeded": (11, 0), "no_route": (3, 0), "host_unreachable": (3, 1), "prohibited": (3, 13), "too_big": (3, 4)}
TYPES6 = {"time_exceeded": (3, 0), "no_route": (1, 0), "host_unreachable": (1, 3), "prohibited": (1, 1), "too_big": (2, 0)}


def error4(about, error, mtu):
    kind, code = TYPES4[error]
    quote = bytes(about)[:576 - 28]
    tos = 0xc0 | (about.tos & 0x1c)
    icmp = ICMP(type=kind, code=code, **({"nexthopmtu": mtu} if error == "too_big" else {}))
    return IP(src=GATEWAY4, dst=about.src, tos=tos, id=0, flags="DF", ttl=64) / icmp / Raw(quote)


def error6(about, error, mtu):
    kind, code = TYPES6[error]
    quote = bytes(about)[:1280 - 48]
    if error == "too_big":
        icmp = ICMPv6PacketTooBig(mtu=mtu)
    elif error == "time_exceeded":
        icmp = ICMPv6TimeExceeded(code=code)
    else:
        icmp = ICMPv6DestUnreach(code=code)
    assert icmp.type == kind
    return IPv6(src=GATEWAY6, dst=about.src, hlim=64) / icmp / Raw(quote)


def case(name, about, error="no_route", mtu=0, allowed=True):
    v4 = bytes(about)[0] >> 4 == 4
    expected = (error4 if v4 else error6)(about, error, mtu) if allowed else None
    return {"name": name, "offending": bytes(about).hex(), "error": error, "mtu": mtu,
            "source": GATEWAY4 if v4 else GATEWAY6, "expected": None if expected is None else bytes(expected).hex()}


def ip4(**fields):
    return IP(**{"src": "10.1.0.5", "dst": "10.2.0.7", "id": 7, **fields})


def ip6(**fields):
    return IPv6(**{"src": "2001:db8:5::5", "dst": "2001:db8:7::7", **fields})


def cases():
    for error in TYPES4:
        mtu = 1420 if error == "too_big" else 0
        yield case("ipv4 " + error, ip4() / UDP(sport=1, dport=2) / Raw(b"odd"), error, mtu)
        yield case("ipv6 " + error, ip6() / UDP(sport=1, dport=2) / Raw(b"odd"), error, mtu)
    yield case("ipv4 tos and ecn", ip4(tos=0xbb) / UDP() / Raw(b"x"))
    yield case("ipv4 full length", ip4(flags="DF") / TCP() / Raw(bytes(range(256)) * 6), "too_big", 1280)
    yield case("ipv6 full length", ip6() / TCP() / Raw(bytes(range(256)) * 6), "too_big", 1280)
    yield case("ipv4 options", ip4(options=[b"\x07\x07\x04\x00\x00\x00\x00\x00"]) / UDP())
    yield case("ipv4 echo request", ip4() / ICMP(type=8) / Raw(b"ping"), "time_exceeded")
    yield case("ipv4 echo reply", ip4() / ICMP(type=0) / Raw(b"ping"), "time_exceeded")
    yield case("ipv6 echo request", ip6() / ICMPv6EchoRequest(), "time_exceeded")
    yield case("ipv6 echo behind options", ip6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest())
    yield case("ipv4 first fragment", ip4(flags="MF") / UDP() / Raw(bytes(32)))
    yield case("ipv6 first fragment", ip6() / IPv6ExtHdrFragment(nh=17, m=1) / Raw(bytes(UDP()) + bytes(24)))
    yield case("ipv6 multicast too big", ip6(dst="ff0e::1") / UDP(), "too_big", 1400)

    for kind in (3, 4, 5, 11, 12):
        yield case("ipv4 about error type %d" % kind, ip4() / ICMP(type=kind) / Raw(bytes(28)), allowed=False)
    for about in (ICMPv6DestUnreach(), ICMPv6PacketTooBig(), ICMPv6TimeExceeded(), ICMPv6ND_Redirect()):
        yield case("ipv6 about " + about.name, ip6() / about / Raw(bytes(48)), allowed=False)
    yield case("ipv6 about error behind options", ip6() / IPv6ExtHdrDestOpt() / ICMPv6DestUnreach() / Raw(bytes(48)),
               allowed=False)
    yield case("ipv4 later fragment", ip4(frag=4) / Raw(bytes(32)), allowed=False)
    yield case("ipv6 later fragment", ip6() / IPv6ExtHdrFragment(nh=17, offset=4) / Raw(bytes(32)), allowed=False)
    for field in ("src", "dst"):
        for address in ("224.0.0.5", "255.255.255.255", "0.0.0.0", "127.0.0.1", "240.1.2.3"):
            yield case("ipv4 %s %s" % (field, address), ip4(**{field: address}) / UDP(), allowed=False)
    for address in ("::", "::1", "ff02::1"):
        yield case("ipv6 src " + address, ip6(src=address) / UDP(), allowed=False)
    yield case("ipv6 dst ff0e::1", ip6(dst="ff0e::1") / UDP(), allowed=False)


print(json.dumps({"cases": list(cases())}, indent=1))
