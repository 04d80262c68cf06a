#!/usr/bin/python3
"""Writes super_frames.json: what scapy says the segments of a super-frame look like.

Each case: the virtio header's fields, the super-frame as a TUN hands it over (the checksum field holds the pseudo header's sum) and
the whole packets that it stands for. `merges`: put together again, they give the super-frame, byte by byte. Run it again after a
change: make_super_frames.py > super_frames.json
"""
import json
import logging

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.inet import IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import IPv6  # noqa: E402
from scapy.packet import Raw  # noqa: E402

NEEDS_CHECKSUM, TCP4, TCP6, UDP_L4, ECN = 1, 1, 4, 5, 0x80


def fold(data):
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[k:k + 2], "big") for k in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def super_frame(network, transport, data):
    """The packet around all of the data, with the pseudo header's sum in place of a checksum."""
    packet = bytearray(bytes(network / transport / Raw(data)))
    v4 = packet[0] >> 4 == 4
    start = 20 if v4 else 40
    protocol = 6 if isinstance(transport, TCP) else 17
    addresses = bytes(packet[12:20] if v4 else packet[8:40])
    pseudo = fold(addresses + (len(packet) - start).to_bytes(4, "big") + protocol.to_bytes(4, "big"))
    offset = 16 if protocol == 6 else 6
    packet[start + offset:start + offset + 2] = pseudo.to_bytes(2, "big")
    return bytes(packet), start, offset


def case(name, network, transport, size, segment, merges=True, ecn=False):
    transport.sport = 5000 + len(name) + sum(name.encode()) % 1000  # flows of their own
    data = bytes((7 * k + 3) & 0xff for k in range(size))
    packet, start, offset = super_frame(network, transport, data)
    tcp, v4 = isinstance(transport, TCP), isinstance(network, IP)
    segments = []
    for number, at in enumerate(range(0, size, segment)):
        net, top = network.copy(), transport.copy()
        if v4:
            net.id = (network.id + number) & 0xffff
        if tcp:
            top.seq = (transport.seq + at) & 0xffffffff
            if at + segment < size:
                top.flags = str(top.flags).replace("F", "").replace("P", "")
            if at:
                top.flags = str(top.flags).replace("C", "")
        segments.append(bytes(net / top / Raw(data[at:at + segment])).hex())
    kind = (TCP4 if v4 else TCP6) if tcp else UDP_L4
    return {"name": name, "type": kind | (ECN if ecn else 0), "segment_size": segment, "checksum_start": start,
            "checksum_offset": offset, "packet": packet.hex(), "segments": segments, "merges": merges}


def cases():
    four = dict(src="10.1.0.5", dst="10.2.0.7", ttl=61, tos=2)
    six = dict(src="2001:db8:5::5", dst="2001:db8:7::7", hlim=61, tc=1, fl=0x12345)
    stamps = [("NOP", None), ("NOP", None), ("Timestamp", (12345, 67890))]
    tcp = dict(sport=5001, dport=443, seq=0xfffffff0, ack=77, window=501)
    yield case("tcp4", IP(id=65534, flags="DF", **four), TCP(flags="A", options=stamps, **tcp), 500, 100)
    yield case("tcp4-rest", IP(id=7, **four), TCP(flags="PA", **tcp), 451, 100)
    yield case("tcp4-odd", IP(id=7, flags="DF", **four), TCP(flags="A", **tcp), 333, 111)
    yield case("tcp4-fin", IP(id=7, flags="DF", **four), TCP(flags="FPA", **tcp), 250, 100, merges=False)
    yield case("tcp4-cwr", IP(id=7, flags="DF", **four), TCP(flags="CA", **tcp), 250, 100, merges=False, ecn=True)
    yield case("tcp6", IPv6(**six), TCP(flags="PA", options=stamps, **tcp), 450, 99)
    yield case("tcp6-even", IPv6(**six), TCP(flags="A", **tcp), 400, 100)
    udp = dict(sport=5001, dport=4433)
    yield case("udp4", IP(id=9, flags="DF", **four), UDP(**udp), 320, 80)
    yield case("udp4-rest", IP(id=9, **four), UDP(**udp), 321, 80)
    yield case("udp6", IPv6(**six), UDP(**udp), 100, 33)


print(json.dumps({"cases": list(cases())}, indent=1))
