"""`sluiced -f IF` under every case of live_check.py, each in a machine of its own; the slow ones at once."""
import os
import unittest

import rig

HERE = os.path.dirname(os.path.abspath(__file__))
CHECK = os.path.join(HERE, "live_check.py")
AT_ONCE = 8  # they wait for timers, not for the processor


class LiveCheck(unittest.TestCase):
    time_limit = 420

    @classmethod
    def setUpClass(cls):
        cls.daemon = rig.program("sluiced", os.environ["SLUICE_BUILD"])
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        listed = cls.lab.popen(["/usr/bin/python3", CHECK, "--list"], "list")
        listed.wait()
        cls.cases = {name: int(slow) for name, slow in map(str.split, listed.output().splitlines())}

    def start(self, case):
        return self.lab.machine(case).start("/usr/bin/python3", CHECK, "--impl", self.daemon, case)

    def check(self, case, process, timeout):
        status = process.wait(timeout)
        with self.subTest(case=case):
            self.assertEqual(status, 0, process.output()[-2000:])
            self.assertRegex(process.output(), "PASS +%s" % case)

    def test_quick_cases(self):
        """Handshakes, data, replay, roaming, malformed messages, cookies."""
        quick = [case for case, slow in self.cases.items() if slow == 0]
        self.assertGreater(len(quick), 15)
        for case in quick:
            self.check(case, self.start(case), 60)

    def test_slow_cases(self):
        """Timers: keepalives, retries, rekeys, expiry."""
        slow = sorted((case for case, slow in self.cases.items() if slow), key=self.cases.get, reverse=True)
        self.assertGreater(len(slow), 8)
        running = {}
        while slow or running:
            while slow and len(running) < AT_ONCE:
                case = slow.pop(0)
                running[case] = self.start(case)
            case = next(iter(running))
            self.check(case, running.pop(case), 220)


if __name__ == "__main__":
    unittest.main()
