"""tests/bench/compare works: a short run of it, what it writes, and how it counts. Says nothing about its figures."""
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import unittest
from xml.etree import ElementTree

import rig

BENCH = os.path.join(rig.ROOT, "tests", "bench")
sys.path.append(BENCH)
from comparison import cpu, summary


def compare(*arguments):
    return subprocess.run([os.path.join(BENCH, "compare"), "--build", os.environ["SLUICE_BUILD"], *arguments],
                          capture_output=True, text=True, check=False, timeout=100)


class Compare(unittest.TestCase):
    time_limit = 110

    def test_quick_run(self):
        with tempfile.TemporaryDirectory() as directory:
            figures, charts = os.path.join(directory, "figures.json"), os.path.join(directory, "charts")
            done = compare("--quick", "--json", figures, "--charts", charts)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(figures, encoding="utf-8") as file:
                result = json.load(file)
            drawn = {name: ElementTree.parse(os.path.join(charts, name)) for name in os.listdir(charts)}
        self.assertEqual([contender["name"] for contender in result["contenders"]], ["ip", "drop-in"])
        for contender in result["contenders"]:
            for title, columns in summary.TABLES:
                self.assertIn(title, done.stdout)
                for column in columns:
                    value = contender["work"][column.work][column.figure]["median"]
                    self.assertTrue(math.isfinite(value) and value > 0, "%s: %s" % (contender["name"], column.label))
        self.assertEqual(sorted(drawn), ["latency.svg", "per-cpu.svg", "throughput.svg"])
        for name, dots in (("latency.svg", 2 * 2), ("per-cpu.svg", 2 * 5), ("throughput.svg", 2 * 5)):
            circles = drawn[name].findall(".//{http://www.w3.org/2000/svg}circle")
            self.assertEqual(len(circles), dots + dots // 2, name)  # the legend has one for each of a row's

    def test_who_is_missing_is_skipped_by_name(self):
        done = compare("--quick", "--only", "no-such-wireguard", "no-such-wireguard")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "skipped: no-such-wireguard: no-such-wireguard is not installed\n"
                                      "compare: nobody took part\n")

    def test_unknown_contender(self):
        done = compare("--only", "carrier-pigeon")
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no carrier-pigeon; there are: ip, haproxy,", done.stderr)


class Summary(unittest.TestCase):
    @staticmethod
    def contender(name, *per_cpu):
        rounds = [{work: {"gbit_s_per_cpu": value} for work in (*summary.TCP, "udp_small")} for value in per_cpu]
        for one in rounds:
            one["requests"] = {"p50_us": 1.0, "p99_us": 2.0}
        return {"name": name, "label": name, "work": summary.summarize(rounds)}

    def test_what_was_promised_is_judged(self):
        """Round by round: the machine is half as fast in the second."""
        found = [self.contender("wireguard-go", 0.2, 0.1, 0.2), self.contender("socat", 1.1, 0.55, 1.1),
                 self.contender("stunnel", 2.0, 1.0, 2.0), self.contender("openvpn", 0.3, 0.15, 0.3),
                 self.contender("drop-in", 1.2, 0.6, 0.6)]
        judged = {goal["name"]: (round(goal["figure"], 6), goal["wanted"], goal["reached"]) for goal in summary.goals(found)}
        self.assertEqual(len(judged), 4 + 1 + 2 + 2 * 4)
        self.assertEqual(judged["TCP 8 back per CPU: drop-in / wireguard-go"], (6.0, "at least 5", True))
        self.assertEqual(judged["requests, p99: drop-in / wireguard-go"], (1.0, "at most 1", True))
        self.assertEqual(judged["TCP 1 forth per CPU: drop-in / socat"][1:], ("at least 1", True))
        self.assertEqual(judged["TCP 1 back per CPU: drop-in / stunnel"], (0.6, "at least 1", False))
        self.assertEqual([(other["name"], other["label"], [round(figure, 6) for figure in other["figures"]])
                          for other in summary.beside(found)], [("openvpn", "openvpn", [4.0] * 4)])

    def test_without_drop_in_nothing_is_judged(self):
        found = [self.contender("wireguard-go", 0.2), self.contender("haproxy", 2.0)]
        self.assertEqual((summary.goals(found), summary.beside(found)), ([], []))

    def test_a_round_that_failed(self):
        found = [self.contender("socat", 1.0, 3.0, 1.0), self.contender("drop-in", 2.0, 0.5)]
        self.assertEqual([(goal["figure"], goal["reached"]) for goal in summary.goals(found)], [(1.25, True)] * 4)


class Cpu(unittest.TestCase):
    def test_strangers_are_told_from_ours(self):
        """Parents and seconds: init 1, kernel threads below 2, a shell 10 that started us, us 20 with two generations."""
        table = {1: (0, 1.0), 2: (0, 50.0), 3: (2, 60.0), 10: (1, 2.0), 20: (10, 100.0), 21: (20, 200.0), 22: (21, 400.0),
                 30: (1, 4.0), 31: (30, 8.0), 32: (99, 16.0)}
        self.assertEqual(cpu.strangers_seconds(table, 20), 1.0 + 2.0 + 4.0 + 8.0 + 16.0)

    def test_our_child_is_counted(self):
        clock, start, work = cpu.Clock(), time.monotonic(), 0.5
        subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < %g: pass" % work], check=True)
        elapsed = time.monotonic() - start
        cpus, _ = clock.stop()
        self.assertGreater(cpus * elapsed, work / 2)
