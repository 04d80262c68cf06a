#!/usr/bin/python3
"""tests/conformance.md: one row per protocol case, with the tests that name the case.

    conformance.py --write     puts the tests that name a case into its row

A test names its cases where it stands: in a comment on the line of TEST(...) or directly above it, at the
beginning of its name (`D20SplitsIpv4`), or in the docstring of a Python test, as `H-01` or `M-05 to M-07`. A row without a test keeps what was written by hand: `- ` and why.
"""
import ast
import os
import re
import sys

TABLE = os.path.join("tests", "conformance.md")
ROW = re.compile(r"^\| ([A-Z]-\d\d) \| (.*) \| ([^|]*) \|$")
TEST = re.compile(r"`([^`:]+): ([^`]+)`")
GTEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", re.M)
NO_TEST = "- no test yet"

# How many cases each group of the checklist has; a group's ids run from 01.
GROUPS = {"H": 26, "I": 19, "T": 17, "D": 24, "W": 8, "R": 13, "C": 18, "M": 24, "A": 8, "U": 21, "X": 7}
CASE = r"[%s]-\d\d" % "".join(GROUPS)


def all_ids():
    return ["%s-%02d" % (group, number) for group, last in GROUPS.items() for number in range(1, last + 1)]


def ids_in(text):
    """Every case that a comment names, ranges spelt out."""
    found = set()
    for first, last in re.findall(r"\b(%s)(?:(?:\.\.| to )(%s))?" % (CASE, CASE), text):
        numbers = range(int(first[2:]), int((last or first)[2:]) + 1)
        found |= {"%s-%02d" % (first[0], number) for number in numbers}
    return found


def tests_of_cpp(text):
    """(name, ids) of each GoogleTest case in a source."""
    lines = text.splitlines()
    for match in GTEST.finditer(text):
        number = text.count("\n", 0, match.start())
        end = number
        while end < len(lines) - 1 and not lines[end].rstrip().split("//")[0].rstrip().endswith("{"):
            end += 1
        said = " ".join(line.split("//", 1)[1] for line in lines[number:end + 1] if "//" in line)
        above = number - 1
        while above >= 0 and lines[above].startswith("//"):
            said = lines[above] + " " + said
            above -= 1
        in_name = re.match(r"([%s])(\d\d)(?!\d)" % "".join(GROUPS), match[2])
        if in_name:
            said += " %s-%s" % in_name.groups()
        yield "%s.%s" % match.groups(), ids_in(said)


def tests_of_python(text):
    """(name, ids) of each test method; a class's docstring speaks for its test_every_datagram alone."""
    for cls in [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]:
        of_class = ids_in(ast.get_docstring(cls) or "")
        for method in [node for node in cls.body if isinstance(node,
                                                               ast.FunctionDef) and node.name.startswith("test_")]:
            ids = ids_in(ast.get_docstring(method) or "")
            if of_class and method.name == "test_every_datagram":
                ids |= of_class
            yield "%s.%s" % (cls.name, method.name), ids


def tests_by_id(root):
    """{id: [`path: name`...]} of every test under tests/."""
    found = {}
    for directory, _, names in sorted(os.walk(os.path.join(root, "tests"))):
        for name in sorted(names):
            if not re.search(r"_test\.cc$|^test_.*\.py$", name):
                continue
            path = os.path.join(directory, name)
            with open(path, encoding="utf-8") as file:
                text = file.read()
            for test, ids in (tests_of_python if name.endswith(".py") else tests_of_cpp)(text):
                for identifier in ids:
                    found.setdefault(identifier, []).append("`%s: %s`" % (os.path.relpath(path, root), test))
    return found


def rows(root):
    with open(os.path.join(root, TABLE), encoding="utf-8") as file:
        return [match.groups() for match in map(ROW.match, file.read().splitlines()) if match]


def problem_of_row(known, identifier, tests):
    named = ["`%s: %s`" % pair for pair in TEST.findall(tests)]
    if not named and (not re.match(r"- \S", tests) or tests.startswith(NO_TEST)):
        return "%s: names neither a test nor, after `- `, why there is none" % identifier
    missing = [test for test in named if test not in known.get(identifier, [])]
    return "%s: no such test, or it does not name the case: %s" % (identifier, ", ".join(missing)) if missing else None


def checks(root):
    """(name, function that returns a problem or None) for every case id, and for rows nobody asked for."""
    table, known = {}, tests_by_id(root)
    for identifier, _, tests in rows(root):
        table.setdefault(identifier, []).append(tests)

    def check(identifier):
        found = table.get(identifier, [])
        if len(found) != 1:
            return "%s: %d rows, expected one" % (identifier, len(found))
        return problem_of_row(known, identifier, found[0])

    def strangers():
        unknown = sorted(set(table) - set(all_ids()))
        return "unknown ids: %s" % ", ".join(unknown) if unknown else None

    return [(identifier, lambda identifier=identifier: check(identifier)) for identifier in all_ids()] + [
        ("no-unknown-ids", strangers)]


def write(root):
    known, lines, covered = tests_by_id(root), [], 0
    with open(os.path.join(root, TABLE), encoding="utf-8") as file:
        text = file.read()
    for line in text.splitlines():
        match = ROW.match(line)
        if match:
            identifier, case, tests = match.groups()
            tests = ", ".join(known.get(identifier, [])) or (tests if tests.startswith("- ") else NO_TEST)
            covered += identifier in known
            line = "| %s | %s | %s |" % (identifier, case, tests)
        lines.append(line)
    with open(os.path.join(root, TABLE), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    print("%d of %d cases are covered" % (covered, len(all_ids())))


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    write(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
