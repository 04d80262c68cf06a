#!/usr/bin/python3
"""Draws nanoseconds per packet against size from the figures of `sluice-bench cipher --json FILE`, as SVG.

    plot.py FILE.json > FILE.svg
"""
import json
import math
import sys

import svg
from svg import Scale, text

ENGINES = (("openssl", "OpenSSL", "#8c6d1f"), ("sodium", "libsodium", "#7a4f9a"), ("ipsec-mb", "IPsec-MB", "#c0392b"),
           ("ipsec-mb-avx512 (rejected)", "refused form", "#e0a39c"),
           ("lanes", "lanes", "#1f6fb2"))  # the order of the lines, from slow to fast
WIDTH, HEIGHT = 760, 478
LEFT, RIGHT, TOP, BOTTOM = 64, 104, 82, 52  # margins around the axes
TICKS = (20, 50, 100, 200, 500, 1000, 2000, 5000)


def lines_of(document):
    """Engine -> [(size, ns)]: the mean of sealing and opening, minima."""
    times = {}
    for row in document["tables"][0]["rows"]:
        if row["size"].isdigit():
            times.setdefault(row["engine"], {}).setdefault(int(row["size"]), []).append(row["min_ns"])
    return {engine: sorted((size, sum(ns) / len(ns)) for size, ns in sizes.items()) for engine, sizes in times.items()}


def axes(x, y, sizes):
    parts = []
    for tick in filter(y.holds, TICKS):
        parts.append('<path d="M%d %.1fH%d" stroke="#dddddd"/>' % (LEFT, y(tick), WIDTH - RIGHT))
        parts.append(text(LEFT - 8, y(tick) + 4, "%d" % tick, text_anchor="end"))
    for size in sizes:
        parts.append('<path d="M%.1f %dV%d" stroke="#eeeeee"/>' % (x(size), TOP, HEIGHT - BOTTOM))
        parts.append(text(x(size), HEIGHT - BOTTOM + 18, "%d" % size, text_anchor="middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "bytes per packet", text_anchor="middle"))
    parts.append(text(LEFT, TOP - 10, "ns per packet", text_anchor="start", fill="#555555"))
    return parts


def draw_line(points, name, colour, x, y):
    path = " ".join("%.1f,%.1f" % (x(size), y(ns)) for size, ns in points)
    parts = ['<polyline points="%s" fill="none" stroke="%s" stroke-width="2.5"/>' % (path, colour)]
    parts += ['<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>' % (x(size), y(ns), colour) for size, ns in points]
    return parts


def labels(lines, x, y):
    """Names at the ends of the lines, pushed apart where they would overlap."""
    parts, above = [], -math.inf
    for points, name, colour in sorted(lines, key=lambda line: y(line[0][-1][1])):
        at = max(y(points[-1][1]) + 4, above + 16)
        above = at
        parts.append(text(x(points[-1][0]) + 10, at, name, fill=colour, font_weight="bold"))
    return parts


def draw(document):
    known = lines_of(document)
    lines = [(known[engine], name, colour) for engine, name, colour in ENGINES if engine in known]
    sizes = sorted({size for points, _, _ in lines for size, _ in points})
    times = [ns for points, _, _ in lines for _, ns in points]
    x = Scale(sizes[0], sizes[-1], LEFT + 12, WIDTH - RIGHT - 8)
    y = Scale(min(times) * 0.85, max(times) * 1.1, HEIGHT - BOTTOM, TOP)
    parts = axes(x, y, sizes)
    for points, name, colour in lines:
        parts += draw_line(points, name, colour, x, y)
    return svg.document(WIDTH, HEIGHT, "ChaCha20-Poly1305, bursts of 64 packets of different keys, mean of seal and open",
                        document["cpu"], parts + labels(lines, x, y), LEFT)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(draw(json.load(file)))


if __name__ == "__main__":
    main()
