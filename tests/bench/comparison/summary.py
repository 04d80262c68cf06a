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


def median(contender, work, figure):
    return contender["work"][work][figure]["median"]


def goals(contenders):
    """What drop-in mode must show against the others of the same run: [{"name", "figure", "wanted", "reached"}]"""
    known = {contender["name"]: contender for contender in contenders}
    sluice, found = known.get("drop-in"), []

    def compare(what, other, work, figure, least=None, most=None):
        ratio = median(sluice, work, figure) / median(known[other], work, figure)
        found.append({"name": "%s: drop-in / %s" % (what, other), "figure": ratio,
                      "wanted": "at least %g" % least if least else "at most %g" % most,
                      "reached": ratio >= least if least else ratio <= most})

    def per_cpu(other, works, least):
        for work, label in works:
            compare(label + " per CPU", other, work, "gbit_s_per_cpu", least=least)

    tcp = list(zip(TCP, TCP_LABELS))
    if sluice and "wireguard-go" in known:
        per_cpu("wireguard-go", tcp, 5)
        per_cpu("wireguard-go", [("udp_small", "UDP 64 B")], 4)
        compare("requests, p50", "wireguard-go", "requests", "p50_us", most=1)
        compare("requests, p99", "wireguard-go", "requests", "p99_us", most=1)
    for proxy in ("haproxy", "haproxy-chacha20", "stunnel", "socat"):
        if sluice and proxy in known:
            per_cpu(proxy, tcp, 1)
    return found
