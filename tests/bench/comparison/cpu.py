"""Processor time of what is measured: the whole machine's, kernel included, less what unrelated processes used.

The kernel works for a contender in interrupts and in threads of its own, so what counts is the busy time of the machine.
On a machine that others use, too, their processes are taken off again.
"""
import os
import time

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
KERNEL_THREADS = 2  # kthreadd, the parent of them all


def machine_idle():
    """Seconds in which a CPU of ours had nothing to do, or was taken away by the hypervisor; all CPUs together."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = file.readline().split()[1:]
    return (int(fields[3]) + int(fields[4]) + int(fields[7])) * TICK  # idle, iowait, steal


def processes():
    """pid -> (parent's pid, seconds used by it and by its children that have ended)"""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % entry, encoding="utf-8", errors="replace") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue  # has just ended
        found[int(entry)] = (int(fields[1]), sum(map(int, fields[11:15])) * TICK)
    return found


def strangers_seconds(table, ourselves):
    """Used by processes that are neither the kernel's nor `ourselves` and its descendants. An ended child's time is its
    parent's, so programs that come and go (compilers) count as well as those that stay."""
    related = {ourselves, KERNEL_THREADS}

    def is_related(pid):
        path = []
        while pid in table and pid not in related:
            path.append(pid)
            pid = table[pid][0]
        if pid in related:
            related.update(path)
        return pid in related
    return sum(seconds for pid, (_, seconds) in table.items() if not is_related(pid))


class Clock:
    """Started at construction; how many CPUs were busy since."""

    def __init__(self):
        self.start, self.idle = time.monotonic(), machine_idle()
        self.strangers = strangers_seconds(processes(), os.getpid())

    def stop(self):
        """(CPUs busy with what is measured, CPUs busy with the work of others), on average"""
        elapsed = time.monotonic() - self.start
        others = (strangers_seconds(processes(), os.getpid()) - self.strangers) / elapsed
        busy = os.cpu_count() - (machine_idle() - self.idle) / elapsed
        return max(busy - others, TICK / elapsed), max(others, 0.0)
