#!/usr/bin/env python3
"""Writes poly1305_edges.json: ciphertexts that drive Poly1305's accumulator, or the tag, to extreme values.

Wycheproof has such texts, but all with additional data, which data messages never have. Keys are derived from labels,
tags are computed by the cryptography package (OpenSSL), not by the arithmetic below: that only chooses the ciphertext.
Run it as ./make_poly1305_edges.py > poly1305_edges.json. Needs python3-cryptography.
"""
import hashlib
import json
import random

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

P = 2**130 - 5
CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
rng = random.Random(8439)


def one_time_key(key, counter):
    stream = Cipher(algorithms.ChaCha20(key, bytes(8) + counter.to_bytes(8, "little")), None).encryptor()
    block = stream.update(bytes(64))
    return int.from_bytes(block[:16], "little") & CLAMP, int.from_bytes(block[16:32], "little")


def absorb(h, r, blocks):
    for block in blocks:
        h = (h + int.from_bytes(block, "little") + 2**128) * r % P
    return h


def blocks_reaching(target, before_lengths, n, r, fill):
    """n blocks after which the accumulator is `target`: once the length block is in, or just before it."""
    inverse = pow(r, -1, P)
    length = (16 * n) << 64
    h_n = target if before_lengths else (target * inverse - length - 2**128) % P
    while True:
        head = [fill()] * (n - 2) + [rng.randbytes(16)]
        last = (h_n * inverse - absorb(0, r, head)) % P - 2**128
        if 0 <= last < 2**128:
            return head + [last.to_bytes(16, "little")]


def vector(name, key, counter, ciphertext):
    # The text whose ciphertext this is: enciphering twice gives it back.
    aead, nonce = ChaCha20Poly1305(key), bytes(4) + counter.to_bytes(8, "little")
    plaintext = aead.encrypt(nonce, ciphertext, None)[:-16]
    sealed = aead.encrypt(nonce, plaintext, None)
    assert sealed[:-16] == ciphertext
    return {"id": name, "key": key.hex(), "counter": str(counter), "ciphertext": ciphertext.hex(),
            "tag": sealed[-16:].hex()}


def main():
    accumulators = {"0": 0, "1": 1, "4": 4, "5": 5, "p-1": P - 1, "p-2": P - 2, "p-5": P - 5, "2^128-1": 2**128 - 1,
                    "2^128": 2**128, "2^129": 2**129, "2^130-2^128-1": 2**130 - 2**128 - 1}
    for bits in (26, 44, 52, 64, 78, 88, 104):  # limb borders of the usual representations
        accumulators[f"2^{bits}-1"] = 2**bits - 1
        accumulators[f"2^{bits}"] = 2**bits
        accumulators[f"p-2^{bits}"] = P - 2**bits
    tags = {"00..": 0, "ff..": 2**128 - 1, "80..": 2**127, "7f..": 2**127 - 1, "00..01": 1}
    fills = {"random": lambda: rng.randbytes(16), "ff": lambda: b"\xff" * 16, "00": lambda: bytes(16)}
    counts = [2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 32, 33, 64]

    vectors = []

    def add(name, before_lengths, target_of):
        n = counts[len(vectors) % len(counts)]
        fill_name = list(fills)[len(vectors) // 2 % 3]
        key = hashlib.sha256(f"sluice poly1305 edge {len(vectors)}".encode()).digest()
        counter = rng.choice([0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 2**13 - 2])
        r, s = one_time_key(key, counter)
        target = target_of(s)
        if target >= P:
            return
        blocks = blocks_reaching(target, before_lengths, n, r, fills[fill_name])
        made = vector(f"{name}, {n} blocks, {fill_name}", key, counter, b"".join(blocks))
        if not before_lengths:
            assert int.from_bytes(bytes.fromhex(made["tag"]), "little") == (target + s) % 2**128
        vectors.append(made)

    for label, value in accumulators.items():
        add(f"final accumulator {label}", False, lambda s, value=value: value)
        add(f"accumulator before the lengths {label}", True, lambda s, value=value: value)
        add(f"final accumulator {label}", False, lambda s, value=value: value)
    for label, value in tags.items():
        for top in range(4):
            add(f"tag {label}, top bits {top}", False, lambda s, v=value, t=top: (v - s) % 2**128 + t * 2**128)
    for size in (1, 15, 16, 17, 63, 64, 65, 255, 256, 257, 511, 1024, 1424):  # nothing but carries
        for byte in (0x00, 0xFF):
            key = hashlib.sha256(f"sluice poly1305 flat {size} {byte}".encode()).digest()
            vectors.append(vector(f"{size} bytes of {byte:02x}", key, size, bytes([byte]) * size))

    print(json.dumps({
        "about": "Ciphertexts that drive Poly1305's accumulator, or the tag, to extreme values; made by "
                 "make_poly1305_edges.py. Nonce: 4 zero bytes and the counter; no additional data.",
        "vectors": vectors}, indent=1))


main()
