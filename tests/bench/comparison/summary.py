"""From the figures of all rounds to a table, a document for JSON and the goals."""
import statistics


class Column:
    """A figure of the tables: `work` and `figure` say which, `unit` and `factor` how it is written."""

    def __init__(self, work, figure, label, unit, factor=1.0):
        self.work, self.figure, self.label, self.unit, self.factor = work, figure, label, unit, factor


TCP = ("tcp1_forth", "tcp1_back", "tcp8_forth", "tcp8_back")
TCP_LABELS = ("TCP 1 forth", "TCP 1 back", "TCP 8 forth", "TCP 8 back")
TABLES = (
    ("Throughput", [*(Column(work, "gbit_s", label, "Gbit/s") for work, label in zip(TCP, TCP_LABELS)),
                    Column("udp_small", "packets_s", "UDP 64 B", "kpps", 1e-3)]),
    ("Throughput per busy CPU", [*(Column(work, "gbit_s_per_cpu", label, "Gbit/s") for work, label in zip(TCP, TCP_LABELS)),
                                 Column("udp_small", "packets_s_per_cpu", "UDP 64 B", "kpps", 1e-3)]),
    ("Requests of 64 bytes, one at a time", [Column("requests", "p50_us", "p50", "us"),
                                             Column("requests", "p99_us", "p99", "us"),
                                             Column("requests", "requests_s_per_cpu", "per busy CPU", "k/s", 1e-3)]),
)


def charted(number):
    """The columns of a table for a chart, in one unit: small packets in bits, too, and times only."""
    return [Column(column.work, column.figure.replace("packets_s", "gbit_s"), column.label, "Gbit/s")
            if column.figure.startswith("packets_s") else column
            for column in TABLES[number][1] if column.figure != "requests_s_per_cpu"]


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def summarize(rounds):
    """[{work: {figure: value}}] of one contender to {work: {figure: spread}}"""
    return {work: {figure: spread([one[work][figure] for one in rounds]) for figure in figures}
            for work, figures in rounds[0].items()}


def number(value):
    """Three digits, or all of them"""
    return "%.0f" % value if value >= 100 else "%.3g" % value


def cell(contender, column):
    """median (min-max), or a dash where the contender cannot do it."""
    figures = contender["work"].get(column.work)
    if not figures:
        return "-"
    return "%s (%s-%s)" % tuple(number(figures[column.figure][at] * column.factor) for at in ("median", "min", "max"))


def table(title, columns, contenders):
    """Lines of text."""
    head = ["", *(column.label for column in columns)]
    units = ["", *(column.unit for column in columns)]
    rows = [[contender["label"], *(cell(contender, column) for column in columns)] for contender in contenders]
    widths = [max(len(row[at]) for row in (head, units, *rows)) for at in range(len(head))]
    lines = ["  ".join([row[0].ljust(widths[0]), *(word.rjust(width) for word, width in zip(row[1:], widths[1:]))]).rstrip()
             for row in (head, units, *rows)]
    return [title, *lines]


# What drop-in mode must show: against whom, in which figure of which work, and how many times theirs it is at least or at
# most.
PROMISES = (
    *(("wireguard-go", work, "gbit_s_per_cpu", label + " per CPU", "at least", 5) for work, label in zip(TCP, TCP_LABELS)),
    ("wireguard-go", "udp_small", "gbit_s_per_cpu", "UDP 64 B per CPU", "at least", 4),
    ("wireguard-go", "requests", "p50_us", "requests, p50", "at most", 1),
    ("wireguard-go", "requests", "p99_us", "requests, p99", "at most", 1),
    *((proxy, work, "gbit_s_per_cpu", label + " per CPU", "at least", 1)
      for proxy in ("haproxy", "haproxy-chacha20", "stunnel", "socat") for work, label in zip(TCP, TCP_LABELS)),
)


def ratio(contender, other, work, figure):
    """The median of the rounds' ratios: machines have faster and slower minutes, and a round is short."""
    ours, theirs = (one["work"][work][figure] for one in (contender, other))
    if len(ours["rounds"]) != len(theirs["rounds"]):  # one of them failed once
        return ours["median"] / theirs["median"]
    return statistics.median(mine / their for mine, their in zip(ours["rounds"], theirs["rounds"]))


def goals(contenders):
    """The promises of those that took part: [{"name", "figure", "wanted", "reached"}]"""
    known, found = {contender["name"]: contender for contender in contenders}, []
    for other, work, figure, what, bound, wanted in PROMISES:
        if "drop-in" not in known or other not in known:
            continue
        reached = ratio(known["drop-in"], known[other], work, figure)
        found.append({"name": "%s: drop-in / %s" % (what, other), "figure": reached, "wanted": "%s %g" % (bound, wanted),
                      "reached": reached >= wanted if bound == "at least" else reached <= wanted})
    return found


def beside(contenders):
    """Drop-in mode per CPU against all of whom nothing was promised: [{"name", "label", "figures": [by TCP work]}]"""
    sluice, promised = next((one for one in contenders if one["name"] == "drop-in"), None), {other for other, *_ in PROMISES}
    return [{"name": other["name"], "label": other["label"],
             "figures": [ratio(sluice, other, work, "gbit_s_per_cpu") for work in TCP]}
            for other in contenders if sluice and other is not sluice and other["name"] not in promised]
