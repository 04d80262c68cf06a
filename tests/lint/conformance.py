"""tests/conformance.md: one row per protocol case. Reads it and says what is wrong with it.

A row is `| ID | case | tests |`. The last column holds tests as `path: name` in backquotes, or `-` and a reason. A test
exists when the file does and contains the name: `Suite.Name` for GoogleTest (TEST, TEST_F or TEST_P), anything else verbatim.
"""
import os
import re

ROW = re.compile(r"^\| ([A-Z]-\d\d) \| ([^|]*) \| ([^|]*) \|$")
TEST = re.compile(r"`([^`:]+): ([^`]+)`")

# How many cases each group of the checklist has; a group's ids run from 01.
GROUPS = {"H": 26, "I": 19, "T": 17, "D": 24, "W": 8, "R": 13, "C": 18, "M": 24, "A": 8, "U": 21, "X": 7}


def all_ids():
    return ["%s-%02d" % (group, number) for group, last in GROUPS.items() for number in range(1, last + 1)]


def rows(root):
    with open(os.path.join(root, "tests", "conformance.md"), encoding="utf-8") as file:
        return [match.groups() for match in map(ROW.match, file.read().splitlines()) if match]


def test_exists(root, path, name):
    full = os.path.join(root, path)
    if not os.path.isfile(full):
        return "%s: no such file" % path
    with open(full, encoding="utf-8") as file:
        text = file.read()
    suite_and_name = re.fullmatch(r"(\w+)\.(\w+)", name)
    if path.endswith(".cc") and suite_and_name:
        found = re.search(r"TEST(_F|_P)?\(\s*%s,\s*%s\s*\)" % suite_and_name.groups(), text)
    else:
        found = name in text
    return None if found else "%s has no test %s" % (path, name)


def problem_of_row(root, identifier, tests):
    named = TEST.findall(tests)
    if not named and not re.match(r"- \S", tests):
        return "%s: names neither a test nor, after `- `, why there is none" % identifier
    missing = [problem for path, name in named if (problem := test_exists(root, path, name))]
    return "%s: %s" % (identifier, "; ".join(missing)) if missing else None


def checks(root):
    """(name, function that returns a problem or None) for every case id, and for rows nobody asked for."""
    table = {}
    for identifier, _, tests in rows(root):
        table.setdefault(identifier, []).append(tests)

    def check(identifier):
        found = table.get(identifier, [])
        if len(found) != 1:
            return "%s: %d rows, expected one" % (identifier, len(found))
        return problem_of_row(root, identifier, found[0])

    def strangers():
        unknown = sorted(set(table) - set(all_ids()))
        return "unknown ids: %s" % ", ".join(unknown) if unknown else None

    return [(identifier, lambda identifier=identifier: check(identifier)) for identifier in all_ids()] + [
        ("no-unknown-ids", strangers)]
