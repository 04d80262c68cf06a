"""The same work for every contender: bulk TCP, small UDP packets, small requests. Each returns its figures."""
import json
import os

import rig
from comparison import cpu
from comparison.contenders import DATAGRAMS, ECHO, IPERF
from comparison.datagrams import SIZE

HERE = os.path.dirname(os.path.abspath(__file__))


class Work:
    """`key` names its figures, `label` heads its column."""

    def __init__(self, key, label):
        self.key, self.label = key, label

    def fits(self, contender):
        return True

    def measure(self, path, seconds):
        """Figures by name; `cpus` and `others_cpus` among them."""
        clock = cpu.Clock()
        figures = self.do(path, seconds)
        figures["cpus"], figures["others_cpus"] = clock.stop()
        for rate in ("gbit_s", "packets_s", "requests_s"):
            if rate in figures:
                figures[rate + "_per_cpu"] = figures[rate] / figures["cpus"]
        return figures


class Tcp(Work):
    """`back`: from the server to the client."""

    def __init__(self, streams, back):
        super().__init__("tcp%d_%s" % (streams, "back" if back else "forth"),
                         "TCP %d %s" % (streams, "back" if back else "forth"))
        self.options = ("-P", streams, *(["-R"] if back else []))

    def do(self, path, seconds):
        end = path.client.iperf(path.address, *self.options, seconds=seconds, port=IPERF)["end"]
        return {"gbit_s": end["sum_received"]["bits_per_second"] / 1e9}


class SmallUdp(Work):
    """Packets that arrive, from client to server; no more are on their way than a tunnel's queue holds."""

    def fits(self, contender):
        return contender.carries_udp

    def do(self, path, seconds):
        done = ask(path, "datagrams.py", "send", DATAGRAMS, seconds)
        packets_s = done["packets"] / done["seconds"]
        return {"gbit_s": packets_s * SIZE * 8 / 1e9, "packets_s": packets_s, "lost": done["lost"]}


class Requests(Work):
    def do(self, path, seconds):
        done = ask(path, "echo.py", "ask", ECHO, seconds)
        return {"p50_us": done["p50_us"], "p99_us": done["p99_us"], "requests_s": done["requests"] / done["seconds"]}


WORK = [Tcp(1, False), Tcp(1, True), Tcp(8, False), Tcp(8, True), SmallUdp("udp_small", "UDP 64 B"),
        Requests("requests", "requests")]


def our_program(name, *arguments):
    return "/usr/bin/python3", os.path.join(HERE, name), *arguments


def ask(path, name, verb, port, seconds):
    """What one of our programs on the client prints at its end."""
    return json.loads(path.client.run(*our_program(name, verb, path.address, port, seconds), timeout=seconds + 30).stdout)


def serve(path):
    """The server's programs; they end with the lab."""
    for command in (("iperf3", "-s", "--forceflush", "-B", path.bind, "-p", IPERF),
                    our_program("echo.py", "serve", path.bind, ECHO),
                    our_program("datagrams.py", "serve", path.bind, DATAGRAMS)):
        process = path.server.start(*command)
        process.ready(lambda p=process: "listening" in p.output(), "to listen")


def visit(contender, seconds):
    """Brings a contender up, lets it do everything, and takes it down again: {work's key: figures}"""
    with rig.Lab() as lab:
        path = contender.bring_up(lab)
        serve(path)
        return {work.key: work.measure(path, seconds) for work in WORK if work.fits(contender)}
