#!/usr/bin/python3
"""Runs system tests and prints GoogleTest's result lines, which tests/tally.py counts.

    run.py --build DIRECTORY [MODULE...] [-k PATTERN] [--list]

Every test has a time limit: `time_limit` of its method or its class, in seconds.
"""
import argparse
import fnmatch
import os
import re
import signal
import sys
import time
import traceback
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import rig

DEFAULT_TIME_LIMIT = 60


def flatten(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def limit_of(test):
    method = getattr(test, test._testMethodName, None)
    return getattr(method, "time_limit", getattr(test, "time_limit", DEFAULT_TIME_LIMIT))


class Result(unittest.TestResult):
    """Prints as it goes; adds the clock's limit around each test."""

    def startTest(self, test):
        super().startTest(test)
        self.start = time.monotonic()
        print("[ RUN      ] %s" % name_of(test), flush=True)
        signal.setitimer(signal.ITIMER_REAL, limit_of(test))

    def finish(self, word, test):
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("[%s] %s (%d ms)" % (word, name_of(test),
                                   (time.monotonic() - getattr(self, "start", time.monotonic())) * 1000), flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.finish("       OK ", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print("Skipped: %s" % reason)
        self.finish("  SKIPPED ", test)

    def report(self, test, error):
        print("".join(traceback.format_exception(*error)).rstrip())
        if hasattr(test, "diagnosis"):
            print("the gateway says:\n%s" % test.diagnosis())
        self.finish("  FAILED  ", test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.report(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self.report(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            print("%s\n%s" % (subtest, "".join(traceback.format_exception(*error)).rstrip()))
            self.finish("  FAILED  ", subtest)


def name_of(test):
    if isinstance(test, unittest.case._SubTest):
        return "%s/%s" % (name_of(test.test_case), re.sub(r"[^\w.:=-]+", "_", test._subDescription()).strip("_"))
    if hasattr(test, "_testMethodName"):
        return "%s.%s" % (type(test).__name__, test._testMethodName)
    return re.sub(r"\W+", ".", test.id()).strip(".")  # a class's set-up


def on_alarm(_signal, _frame):
    raise TimeoutError("the test's time limit is over")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("-k", metavar="PATTERN", default="*", help="only tests whose Class.name matches")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    arguments = parser.parse_args()
    os.environ["SLUICE_BUILD"] = os.path.abspath(arguments.build)
    modules = arguments.modules or sorted(f[:-3] for f in os.listdir(HERE) if f.startswith("test_") and f.endswith(".py"))
    tests = [t for t in flatten(unittest.defaultTestLoader.loadTestsFromNames(modules))
             if fnmatch.fnmatch(name_of(t), arguments.k)]
    if arguments.list:
        print("\n".join(name_of(t) for t in tests))
        return 0
    if not tests:
        print("no test matches")
        return 1
    reason = rig.missing_for_rig()
    if reason:
        for test in tests:
            print("Skipped: %s\n[  SKIPPED ] %s (0 ms)" % (reason, name_of(test)))
        return 77
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # unittest lets nothing else through
    result = Result()
    unittest.TestSuite(tests).run(result)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
