"""tests/bench/wire works: sluiced on virtio_user ports carries what the generator sends, and every packet is checked. Says
nothing about its figures."""
import json
import math
import os
import subprocess
import tempfile
import unittest

import rig

WIRE = os.path.join(rig.ROOT, "tests", "bench", "wire")


class Wire(unittest.TestCase):
    time_limit = 110

    def test_quick_run(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("needs two cores")
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "figures.json")
            done = subprocess.run([WIRE, "--build", os.environ["SLUICE_BUILD"], "--quick", "--json", path],
                                  capture_output=True, text=True, check=False, timeout=100)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(path, encoding="utf-8") as file:
                document = json.load(file)
        self.assertTrue(document["engine"])
        throughput, latency = (table["rows"] for table in document["tables"])
        self.assertEqual([row["course"] for row in throughput], ["encapsulate", "decapsulate", "both", "forward"])
        for row in throughput:
            self.assertTrue(math.isfinite(row["packets_s"]))  # 0 where the machine was too busy for a trial without loss
            self.assertGreater(row["saturated_packets_s"], 0)
        self.assertEqual([(row["course"], row["load"]) for row in latency],
                         [(row["course"], load) for row in throughput for load in ("10 %", "50 %", "90 %")])
        for row in latency:
            self.assertLessEqual(row["p50_us"], row["p99_us"])
            self.assertGreater(row["p50_us"], 0)
