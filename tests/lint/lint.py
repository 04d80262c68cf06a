#!/usr/bin/python3
"""Checks on the sources themselves, one per run; prints a GoogleTest result line per file, which tests/tally.py counts.

    lint.py format        clang-format would change nothing
    lint.py headers       every header compiles alone, and is read once
    lint.py scripts       shell scripts and Python files parse
    lint.py conformance   tests/conformance.md names every case once, and only tests that exist
    lint.py tidy          clang-tidy finds nothing
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import conformance

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCE_DIRECTORIES = ("dataplane", "control", "config", "tests", "deploy")


def sources(*suffixes):
    """Files of ours with one of the suffixes, relative to the root."""
    found = []
    for top in SOURCE_DIRECTORIES:
        for directory, _, names in os.walk(os.path.join(ROOT, top)):
            found += [os.path.relpath(os.path.join(directory, n), ROOT) for n in names if n.endswith(suffixes)]
    return sorted(found)


def run(command, cwd=ROOT):
    """Output of a failed command, or None."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace")
    return None if done.returncode == 0 else done.stdout or "exit status %d" % done.returncode


def formatting_of(path):
    problem = run(["clang-format", "--dry-run", "-Werror", path])
    return problem and "%s\nmend with: clang-format -i %s" % (problem.splitlines()[0], path)


def check_format(_build):
    return [(path, lambda path=path: formatting_of(path)) for path in sources(".cc", ".h")]


def compile_commands(build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        return {os.path.relpath(os.path.join(e["directory"], e["file"]), ROOT): e for e in json.load(file)}


def nearest(header, commands):
    """The compile command of the source that is most like a header, for the layer's own flags: it shares the longest path,
    and then the longest end of its name (isa_avx2.h, lanes_avx2.cc: flags may differ within a folder)."""
    def likeness(source):
        ends = [os.path.splitext(path)[0][::-1] for path in (header, source)]
        return len(os.path.commonprefix([header, source])[:header.rfind("/") + 1]), len(os.path.commonprefix(ends))
    return commands[max(sorted(commands), key=likeness)]


def compiler_flags(entry):
    """The compiler and the flags of a compile command, without its input, output and dependency file."""
    words, kept = iter(shlex.split(entry["command"])), []
    for word in words:
        if word in ("-o", "-MF", "-MQ", "-MT"):
            next(words)
        elif word not in ("-c", "-MD", entry["file"]) and not word.startswith("-Winvalid-pch"):
            kept.append(word)
    return kept


def compile_alone(path, build, commands):
    with tempfile.TemporaryDirectory() as directory:
        unit = os.path.join(directory, "alone.cc")
        with open(unit, "w", encoding="utf-8") as file:
            file.write('#include "%s"\n' % path)
        flags = compiler_flags(nearest(path, commands))
        if not any(flag.startswith("-DSLUICE_VECTORS") for flag in flags):  # given to each test program that reads vectors
            flags.append('-DSLUICE_VECTORS=""')
        return run(flags + ["-I" + ROOT, "-O0", "-fsyntax-only", unit], build)


def leads_its_source(path):
    """The source of the same name includes it before anything else: the build has compiled it alone already."""
    try:
        with open(os.path.join(ROOT, path[:-1] + "cc"), encoding="utf-8") as file:
            return next((line for line in file if line.startswith("#include")), "") == '#include "%s"\n' % path
    except FileNotFoundError:
        return False


def check_header(path, build, commands):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        if "#pragma once\n" not in file:
            return "no #pragma once"
    return None if leads_its_source(path) else compile_alone(path, build, commands)


def check_headers(build):
    commands = compile_commands(build)
    return [(path, lambda path=path: check_header(path, build, commands)) for path in sources(".h")]


def parse_script(path):
    with open(os.path.join(ROOT, path), "rb") as file:
        text = file.read()
    if path.endswith(".py") or text.startswith(b"#!/usr/bin/python3"):
        try:
            compile(text, path, "exec")
        except SyntaxError as error:
            return str(error)
        return None
    return run(["bash", "-n", path])


def check_scripts(_build):
    def is_script(path):
        with open(os.path.join(ROOT, path), "rb") as file:
            return path.endswith(".py") or file.read(2) == b"#!"
    return [(path, lambda path=path: parse_script(path)) for path in sources("") if is_script(path)]


def check_conformance(_build):
    return conformance.checks(ROOT)


def check_tidy(build):
    files = [path for path in compile_commands(build) if path.startswith(SOURCE_DIRECTORIES)]
    return [(path, lambda path=path: run(["clang-tidy", "--quiet", "-p", build, path])) for path in sorted(files)]


CHECKS = {"format": check_format, "headers": check_headers, "scripts": check_scripts, "conformance": check_conformance,
          "tidy": check_tidy}


def timed(check):
    start = time.monotonic()
    problem = check()
    return problem, int((time.monotonic() - start) * 1000)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    arguments = parser.parse_args()
    checks = CHECKS[arguments.check](os.path.abspath(arguments.build))
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (name, _), (problem, milliseconds) in zip(checks, pool.map(timed, [check for _, check in checks])):
            if problem:
                failed += 1
                print(problem)
            print("[%s] %s.%s (%d ms)" % ("  FAILED  " if problem else "       OK ", arguments.check, name,
                                          milliseconds))
    if not checks:
        print("nothing to check: the wrong directory?")
    return 1 if failed or not checks else 0


if __name__ == "__main__":
    sys.exit(main())
