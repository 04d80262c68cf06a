#!/usr/bin/python3
"""Counts the cases in meson's test logs (one JSON record a line) and prints tests/run's last line.

    tally.py LOG.json...

A program that prints GoogleTest's result lines counts case by case, any other as one. A log without tests is an error: a
suite nobody runs would pass for ever. Exit status 1 when anything failed.
"""
import json
import os
import re
import sys
from collections import Counter

CASE = re.compile(r"\[ *(OK|FAILED|SKIPPED) *\] ([^\s(,]+)(?:, where .*)? \([0-9.]+ m?s")
SKIP_REASON = re.compile(r"(?:Skipped|SKIP:?)[\n:]? *(.+)")


def count(record):
    """Outcomes of one program's cases, and its skipped cases as (name, reason)."""
    outcomes, skipped, start = Counter(), [], 0
    output = record.get("stdout") or ""
    for match in CASE.finditer(output):
        outcomes[match[1]] += 1
        if match[1] == "SKIPPED":
            reasons = SKIP_REASON.findall(output[start:match.start()])
            skipped.append((match[2], reasons[-1] if reasons else "no reason given"))
        start = match.end()
    if record["result"] == "SKIP" and not outcomes:
        outcomes["SKIPPED"] = 1
        skipped.append((record["name"], output.strip().splitlines()[-1] if output.strip() else "no reason given"))
    elif record["result"] not in ("OK", "SKIP", "EXPECTEDFAIL"):
        # A crash or a timeout ends a program inside a case, which then has no result line.
        outcomes["FAILED"] = max(1, outcomes["FAILED"])
    elif not outcomes:
        outcomes["OK"] = 1
    return outcomes, skipped


def read(path):
    with open(path, encoding="utf-8") as log:
        return [json.loads(line) for line in log if line.strip()]


def main(paths):
    total = Counter()
    for path in paths:
        label, records = os.path.basename(path).rsplit(".", 1)[0], read(path)
        suite_total = Counter()
        for record in records:
            outcomes, skipped = count(record)
            suite_total += outcomes
            for name, reason in skipped:
                print("skipped %s: %s" % (name, reason))
            if outcomes["FAILED"]:
                print("failed  %s (%s)" % (record["name"], record["result"].lower()))
        if not records:
            print("failed  suite %s has no tests" % label)
            suite_total["FAILED"] += 1
        print("%-22s %5d passed, %d failed, %d skipped" % (
            label, suite_total["OK"], suite_total["FAILED"], suite_total["SKIPPED"]))
        total += suite_total
    print("%d passed, %d failed, %d skipped" % (total["OK"], total["FAILED"], total["SKIPPED"]))
    return 1 if total["FAILED"] or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
