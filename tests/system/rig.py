"""Machines, cables and gateways for tests and for deploy/quickstart: real programs in namespaces of their own.

A machine is a process that holds a network and a mount namespace, with its own /run and /sys; whatever is started on it
enters both. Nothing has a name on the host, and everything dies with the process that made the lab, so nothing stays
behind even after kill -9. Needs root, Debian's python3, iproute2, util-linux, ethtool, wireguard-tools.
"""
import atexit
import contextlib
import ctypes
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBC = ctypes.CDLL(None, use_errno=True)
MARK = "SLUICE_LAB"  # in the environment of every process of a lab


class RigError(Exception):
    """What did not work, in one line, with the end of what the program said."""


def wait_until(condition, what, timeout=10.0):
    """The first true value of condition(); polls, because what is waited for belongs to another process."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise RigError("waited %g s for %s" % (timeout, what() if callable(what) else what))
        time.sleep(0.02)
    return value


def program(name, build=None):
    """Path of one of our programs in the build directory, or of an installed one."""
    if build:
        for directory, _, names in os.walk(build):
            path = os.path.join(directory, name)
            if name in names and os.access(path, os.X_OK) and not os.path.isdir(path):
                return path
        raise RigError("%s has no program %s; build it first: deploy/build" % (build, name))
    path = shutil.which(name)
    if not path:
        raise RigError("%s is not installed" % name)
    return path


def missing_for_rig():
    """Why this machine cannot run a lab, or None."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    probe = subprocess.run(["unshare", "--net", "--mount", "ip", "link", "add", "probe0", "type", "veth", "peer",
                            "name", "probe1"],
                           capture_output=True, text=True, check=False)
    if probe.returncode:
        return "cannot make a veth pair in a network namespace: %s" % (probe.stderr.strip().splitlines() or ["?"])[-1]
    return None


class Process:
    """A program running on a machine; its output goes to a file."""

    def __init__(self, child, log, what):
        self.child, self.log, self.what, self.pid = child, log, what, child.pid

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def running(self):
        return self.child.poll() is None

    def wait(self, timeout=10.0):
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RigError("%s did not end within %g s" % (self.what, timeout)) from None

    def stop(self, timeout=10.0):
        """SIGTERM and its exit status; SIGKILL and an error when that does not help."""
        if self.running():
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise RigError("%s ignored SIGTERM for %g s\n%s" % (self.what, timeout, self.output()[-2000:])) from None

    def ready(self, condition, what, timeout=15.0):
        """Waits for the condition, but not for a program that has ended."""
        def check():
            if not self.running():
                raise RigError("%s ended with status %s\n%s" % (self.what, self.child.returncode,
                                                                self.output()[-2000:]))
            return condition()
        return wait_until(check, lambda: "%s: %s\n%s" % (self.what, what, self.output()[-2000:]), timeout)


class Machine:
    """One host: its own network, /run and /sys."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.holder = lab.popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c",
             "mount -t tmpfs -o mode=755 tmpfs /run && mount -t sysfs sysfs /sys && sysctl -qw net.ipv6.conf.default.router_solicitations=0 && ip link set lo up && echo ready && "
             "exec sleep infinity"], "%s-holder" % name)
        self.holder.ready(lambda: "ready" in self.holder.output(), "its namespaces")
        self.pid = self.holder.pid

    def enter(self, *command):
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--wd=%s" % os.getcwd(), "--",
                *map(str, command)]

    def run(self, *command, stdin=None, check=True, timeout=30.0):
        """Runs to its end; the CompletedProcess with text output."""
        done = subprocess.run(self.enter(*command), input=stdin, capture_output=True, text=True, timeout=timeout,
                              env=self.lab.environment, preexec_fn=self.lab.before_exec, check=False)
        if check and done.returncode:
            raise RigError("%s: %s: status %d: %s" % (self.name, " ".join(map(str, command)), done.returncode,
                                                      (done.stderr or done.stdout).strip()[-2000:]))
        return done

    def text(self, *command, **options):
        return self.run(*command, **options).stdout

    def start(self, *command, environment=None):
        return self.lab.popen(self.enter(*command), "%s-%s" % (self.name, os.path.basename(str(command[0]))),
                              environment)

    def sysctl(self, key, value):
        self.run("sysctl", "-qw", "%s=%s" % (key, value))

    def add_addresses(self, interface, *addresses):
        for address in addresses:
            options = ["nodad"] if ":" in address else []
            self.run("ip", "address", "add", address, "dev", interface, *options)

    def add_route(self, to, via, *options):
        self.run("ip", "-6" if ":" in to else "-4", "route", "add", to, "via", via, *options)

    def has_interface(self, interface):
        return self.run("ip", "link", "show", "dev", interface, check=False).returncode == 0

    @contextlib.contextmanager
    def network(self):
        """Sockets that this thread makes inside the block belong to the machine."""
        with open("/proc/self/ns/net", "rb") as ours, open("/proc/%d/ns/net" % self.pid, "rb") as its:
            enter_namespace(its)
            try:
                yield
            finally:
                enter_namespace(ours)

    def socket(self, family, kind, *more):
        with self.network():
            return socket.socket(family, kind, *more)

    def ping(self, address, *options, count=3, interval=0.05, size=56, timeout=None, source=None):
        """How many of the first `count` echo requests were answered; those sent while the last answer was late do not
        count, for with a deadline ping goes on until it has its number of answers. Twice is an error."""
        wait = timeout or 2
        command = ["ping", "-n", "-c", count, "-i", interval, "-s", size, "-W", wait, "-w",
                   int(count * interval + wait + 1)]
        done = self.run(*command, *options, *(["-I", source] if source else []), address, check=False,
                        timeout=count * interval + wait + 10)
        if " packets transmitted" not in done.stdout or "DUP!" in done.stdout:
            raise RigError("%s: ping %s: %s" % (self.name, address, (done.stderr or done.stdout).strip()))
        answered = {int(seq) for seq in re.findall(r"^\d+ bytes from .* icmp_seq=(\d+) ", done.stdout, re.MULTILINE)}
        return len(answered & set(range(1, count + 1)))

    def reaches(self, address, timeout=15.0, **options):
        """Pings until the first answer: neighbours and handshakes take their time."""
        return wait_until(lambda: self.ping(address, count=1, timeout=1, **options),
                          "%s to reach %s" % (self.name, address),
                          timeout)

    def full_udp_sockets(self):
        """Datagrams that arrived, but found the buffer of their socket full; IPv4 and IPv6."""
        names, values = [line.split()[1:] for line in self.text("cat", "/proc/net/snmp").splitlines()
                         if line.startswith("Udp:")]
        six = dict(line.split() for line in self.text("cat", "/proc/net/snmp6").splitlines())
        return int(dict(zip(names, values))["RcvbufErrors"]) + int(six["Udp6RcvbufErrors"])

    def serve_iperf(self, port=5201):
        server = self.start("iperf3", "-s", "-p", port, "--forceflush")
        server.ready(lambda: "listening" in server.output(), "iperf3 to listen")
        return server

    def iperf(self, address, *options, seconds=3, port=5201, amount=None):
        """iperf3's result as it reports it in JSON, after so many seconds or so much data ("8M", all streams together)."""
        command = ["iperf3", "-J", "-c", address, "-p", port, *(["-n", amount] if amount else ["-t", seconds]), *options]

        def result():
            done = self.run(*command, check=False, timeout=seconds + 30)
            try:
                reported = json.loads(done.stdout)
            except ValueError:
                raise RigError("iperf3 to %s: %s" % (address, (done.stderr or done.stdout)[-500:])) from None
            error = reported.get("error", "")
            # The server is still at the end of the run before, or has closed its socket then and not made the next.
            if "server is busy" in error or "Connection refused" in error:
                return None
            if error:
                raise RigError("iperf3 to %s: %s" % (address, error))
            return reported
        return wait_until(result, "iperf3's server at %s" % address, 5)


def enter_namespace(file):
    if LIBC.setns(file.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Lab:
    """Owns machines and processes, and ends them all. `keep` lets them outlive this process: see stop_lab()."""

    def __init__(self, name=None, keep=False):
        self.name = name or "test-%d" % os.getpid()
        self.keep = keep
        self.directory = tempfile.mkdtemp(prefix="sluice-%s-" % self.name)
        self.environment = dict(os.environ, **{MARK: self.name, "LC_ALL": "C"})
        self.processes = []
        if not keep:
            atexit.register(shutil.rmtree, self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def before_exec(self):
        if not self.keep:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def popen(self, command, what, environment=None, descriptors=()):
        """Starts it in the background, with these descriptors beside the standard ones."""
        log = os.path.join(self.directory, "%s.%d.log" % (what, len(self.processes)))
        with open(log, "wb") as file:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                     env=dict(self.environment, **(environment or {})), preexec_fn=self.before_exec,
                                     start_new_session=True, pass_fds=descriptors)
        process = Process(child, log, what)
        self.processes.append(process)
        return process

    def machine(self, name):
        return Machine(self, name)

    def cable(self, a, a_interface, b, b_interface, mtu=1500, offload=False):
        """A veth pair between two machines. IPv6 stays off until addresses are added by a kernel end: see kernel_end().
        With `offload` both ends must be the kernel's: checksums and segments are left to the other end."""
        subprocess.run(["ip", "link", "add", a_interface, "mtu", str(mtu), "netns", str(a.pid), "type", "veth",
                        "peer", "name", b_interface, "mtu", str(mtu), "netns", str(b.pid)], check=True,
                        capture_output=True)
        for machine, interface in ((a, a_interface), (b, b_interface)):
            machine.sysctl("net.ipv6.conf.%s.disable_ipv6" % interface, 1)
            if not offload:
                # Kernel sockets leave checksums to the device, which a veth never computes and a user-space reader sees.
                machine.run("ethtool", "-K", interface, "tx", "off")
            machine.run("ip", "link", "set", interface, "up")

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def close(self):
        problems = []
        for process in reversed(self.processes):
            holder = process.what.endswith("-holder")
            try:
                if holder:
                    process.child.kill()
                    process.child.wait()
                else:
                    process.stop()
            except RigError as error:
                problems.append(str(error))
        shutil.rmtree(self.directory, ignore_errors=True)
        if problems:
            raise RigError("; ".join(problems))


def kernel_end(machine, interface, *addresses):
    """Makes a cable's end an ordinary Linux interface with addresses."""
    if any(":" in address for address in addresses):
        machine.sysctl("net.ipv6.conf.%s.disable_ipv6" % interface, 0)
        machine.sysctl("net.ipv6.conf.%s.accept_dad" % interface, 0)
    machine.add_addresses(interface, *addresses)


def processes_of(lab_name):
    """Ids of the processes that carry the lab's mark."""
    wanted = ("%s=%s" % (MARK, lab_name)).encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError), open("/proc/%s/environ" % entry, "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(entry))
    return found


def stop_lab(name):
    """Ends every process of a lab that was kept: politely, then not."""
    for number, wait in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        for pid in processes_of(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        with contextlib.suppress(RigError):
            wait_until(lambda: not processes_of(name), "the lab to end", wait)
            break
    for entry in os.listdir(tempfile.gettempdir()):
        if entry.startswith("sluice-%s-" % name):
            shutil.rmtree(os.path.join(tempfile.gettempdir(), entry), ignore_errors=True)


class Key:
    """A WireGuard key pair as `wg` makes it."""

    def __init__(self):
        self.private = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout.strip()
        self.public = subprocess.run(["wg", "pubkey"], input=self.private, check=True, capture_output=True,
                                     text=True).stdout.strip()


def preshared_key():
    return subprocess.run(["wg", "genpsk"], check=True, capture_output=True, text=True).stdout.strip()


class Gateway:
    """sluiced on a machine, run as an operator does: `sluiced --config FILE`. `tunnel` is the name of its first tunnel."""

    def __init__(self, machine, config, build, name="sluice", tunnel="wg0", daemon="sluiced"):
        self.machine, self.config, self.name, self.tunnel = machine, config, name, tunnel
        self.daemon, self.cli = program(daemon, build), program("sluice", build)
        self.process = None

    def start(self, *options, environment=None, timeout=20.0):
        self.process = self.machine.start(self.daemon, "--config", self.config, *options, environment=environment)
        self.process.ready(self.answers, "its sockets", timeout)
        return self

    def answers(self):
        """Both sockets are there: `sluice show` and `wg show` get an answer."""
        return (self.sluice("show", "--json", check=False).returncode == 0 and
                self.machine.run("wg", "show", self.tunnel, check=False).returncode == 0)

    def stop(self):
        return self.process.stop()

    def sluice(self, *arguments, check=True):
        return self.machine.run(self.cli, *arguments, check=check)

    def ask(self, *arguments):
        """A reply of the gateway's API."""
        return json.loads(self.sluice(*arguments, "--json").stdout)

    def wg(self, *arguments, stdin=None, check=True):
        return self.machine.run("wg", *arguments, stdin=stdin, check=check)

    def drops(self):
        """Packets dropped so far, by reason, from every worker and control."""
        return {drop["reason"]: drop["packets"] for drop in self.ask("drops")["drops"] if drop["packets"]}

    def drops_since(self, before):
        now = self.drops()
        return {reason: now[reason] - before.get(reason, 0) for reason in now if now[reason] != before.get(reason, 0)}

    def cpu_seconds(self):
        """Processor time this daemon has used, all threads."""
        with open("/proc/%d/stat" % self.process.pid, encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class WireguardGo:
    """wireguard-go on a machine, the other vendor; or another program that is started and configured like it."""

    def __init__(self, machine, interface="wg0", daemon="wireguard-go", build=None):
        self.machine, self.interface, self.daemon = machine, interface, program(daemon, build)
        self.process = None

    def start(self, key, listen_port, *addresses, mtu=1420):
        self.process = self.machine.start(self.daemon, "-f", self.interface,
                                          environment={"LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"})
        self.process.ready(lambda: self.machine.run("wg", "show", self.interface, check=False).returncode == 0,
                           "its socket")
        return self.configure(key, listen_port, *addresses, mtu=mtu)

    def configure(self, key, listen_port, *addresses, mtu=1420):
        self.set("listen-port", listen_port, "private-key", "/dev/stdin", stdin=key.private)
        self.machine.add_addresses(self.interface, *addresses)
        self.machine.run("ip", "link", "set", self.interface, "mtu", mtu, "up")
        return self

    def set(self, *arguments, stdin=None):
        self.machine.run("wg", "set", self.interface, *arguments, stdin=stdin)

    def add_peer(self, public, allowed_ips, endpoint=None, psk=None, keepalive=0):
        arguments = ["peer", public, "allowed-ips", ",".join(allowed_ips), "persistent-keepalive", keepalive]
        if endpoint:
            arguments += ["endpoint", endpoint]
        if psk:
            arguments += ["preshared-key", "/dev/stdin"]
        self.set(*arguments, stdin=psk)
        for prefix in allowed_ips:
            if not self.machine.text("ip", "route", "show", prefix).strip():
                self.machine.run("ip", "route", "replace", prefix, "dev", self.interface)

    def stop(self):
        return self.process.stop()


def endpoint(address, port):
    return ("[%s]:%d" if ipaddress.ip_address(address).version == 6 else "%s:%d") % (address, port)


def is_socket(path):
    return os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)
