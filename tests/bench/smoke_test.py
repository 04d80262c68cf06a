#!/usr/bin/python3
"""Every subcommand of sluice-bench runs and writes figures that a script can read. Says nothing about the figures.

    smoke_test.py SLUICE_BENCH [SUBCOMMAND...]
"""
import json
import math
import os
import subprocess
import sys
import tempfile
import time


def figures(document):
    """All numbers of all tables, with where they stand."""
    for table in document["tables"]:
        for row in table["rows"]:
            for column, value in row.items():
                if isinstance(value, (int, float)):
                    yield "%s, %s" % (table["title"], column), value


def problem_of(bench, command):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "figures.json")
        done = subprocess.run([bench, command, "--quick", "--json", path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=240)
        if "needs two cores" in done.stdout and command == "spread":
            return None
        if done.returncode != 0 and command != "targets":  # which says so if a target is missed
            return "exit status %d:\n%s" % (done.returncode, done.stdout)
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    if document["command"] != command or not document["cpu"] or not document["engine"]:
        return "command, cpu or engine is missing"
    if command == "targets":
        return None if document["goals"] else "no targets"
    if not document["tables"] or any(not table["rows"] for table in document["tables"]):
        return "an empty table"
    for where, value in figures(document):
        if not math.isfinite(value):
            return "%s: %s" % (where, value)
    return None


def main():
    failed = 0
    for command in sys.argv[2:]:
        start = time.monotonic()
        problem = problem_of(sys.argv[1], command)
        if problem:
            failed += 1
            print(problem)
        print("[%s] bench.%s (%d ms)" % ("  FAILED  " if problem else "       OK ", command,
                                         (time.monotonic() - start) * 1000))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
