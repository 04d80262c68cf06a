"""A QEMU guest as one more machine of a lab: its NICs are taps in other machines, its commands go through its guest agent.

Software emulation, so that it runs where there is no KVM. make-image builds what it boots; the disk is never written to.
"""
import base64
import contextlib
import fcntl
import functools
import json
import os
import socket
import struct
import subprocess
import tarfile
import time

import rig

HERE = os.path.dirname(os.path.abspath(__file__))
# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_MULTI_QUEUE, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x0100, 0x1000, 0x4000
BOOT_SECONDS = 400  # 30 on two idle cores


@functools.cache
def missing_for_guest():
    """Why this machine cannot run a guest, or None."""
    for program in ("qemu-system-x86_64", "mmdebstrap", "mkfs.ext4"):
        if subprocess.run(["which", program], capture_output=True, check=False).returncode:
            return "%s is not installed: deploy/install-dependencies --qemu" % program
    return None


@functools.cache
def image():
    """The directory of the guest's disk and kernel; made if need be."""
    done = subprocess.run([os.path.join(HERE, "make-image")], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise rig.RigError("there is no guest image")
    return done.stdout.strip()


def knows_device(model):
    """Whether this QEMU emulates it; igb came with version 8."""
    listed = subprocess.run(["qemu-system-x86_64", "-device", "help"], capture_output=True, text=True, check=True).stdout
    return 'name "%s"' % model in listed


class JsonSocket:
    """One JSON object a line in both directions: the monitor (QMP) and the guest agent (QGA)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.pending = b""

    def send(self, message):
        self.socket.settimeout(10.0)
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout):
        """The next object, or None when there is none in time."""
        end = time.monotonic() + timeout
        while b"\n" not in self.pending:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            except ConnectionError:
                data = b""
            if not data:
                raise rig.RigError("QEMU has closed its socket")
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line.lstrip(b"\xff"))

    def ask(self, command, timeout=10.0, **arguments):
        """The command's return value; what else arrives meanwhile (events) is passed over."""
        self.send({"execute": command, "arguments": arguments})
        end = time.monotonic() + timeout
        while (reply := self.receive(end - time.monotonic())) is not None:
            if "error" in reply:
                raise rig.RigError("%s: %s" % (command, reply["error"]["desc"]))
            if "return" in reply:
                return reply["return"]
        raise rig.RigError("%s: no answer in %g s" % (command, timeout))

    def wait_for_event(self, event, timeout):
        end = time.monotonic() + timeout
        while (message := self.receive(end - time.monotonic())) is not None:
            if message.get("event") == event:
                return message["data"]
        raise rig.RigError("no %s in %g s" % (event, timeout))

    def synchronise(self):
        """Whether the guest's agent answers; what it may have said to an earlier question is skipped."""
        number = time.monotonic_ns() & 0x7FFFFFFF
        try:
            self.send({"execute": "guest-sync", "arguments": {"id": number}})
        except TimeoutError:
            return False  # nobody reads yet, and the socket is full of what was asked
        while (reply := self.receive(3.0)) is not None:
            if reply.get("return") == number:
                return True
        return False


class Nic:
    """One emulated NIC; `taps` are descriptors of its other end, until QEMU has them."""

    def __init__(self, number, model, taps):
        self.name, self.model, self.taps, self.queues = "nic%d" % number, model, taps, len(taps)
        self.mac = "52:54:00:00:00:%02x" % (number + 1)
        self.pci = "0000:%02x:00.0" % (number + 1)  # each is alone on its bus, and these are numbered first


class Guest(rig.Machine):
    """Add NICs, then start(). What works on a machine of the lab works here, but that nothing runs in the background."""

    def __init__(self, lab, name, cpus=2, memory=768, iommu=False):  # pylint: disable=super-init-not-called
        self.lab, self.name, self.cpus, self.memory, self.iommu = lab, name, cpus, memory, iommu
        self.nics, self.brought = [], {}
        self.process = self.agent = self.monitor = None

    def add_nic(self, model, machine, interface, queues=1):
        """Each is behind a PCI Express port of its own, as in a server, and can be unplugged."""
        number = len(self.nics)
        taps = [open_tap(machine, interface, queues > 1) for _ in range(queues)]
        machine.sysctl("net.ipv6.conf.%s.disable_ipv6" % interface, 1)
        machine.run("ip", "link", "set", interface, "up")
        nic = Nic(number, model, taps)
        self.nics.append(nic)
        return nic

    def bring(self, path, source, mode=0o644):
        """Has the file `source` as `path` from the start on."""
        self.brought[path] = (source, mode)

    def path(self, suffix):
        return os.path.join(self.lab.directory, "%s.%s" % (self.name, suffix))

    def arguments(self):
        files = image()
        yield from ("qemu-system-x86_64", "-M", "q35,sata=off,smbus=off", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", self.cpus,
                    "-m", self.memory, "-display", "none", "-nodefaults", "-no-reboot")
        if self.iommu:
            yield from ("-device", "intel-iommu,intremap=on,caching-mode=on,device-iotlb=on")
        # The NICs' ports come first: the firmware numbers buses in this order.
        for number, nic in enumerate(self.nics):
            yield from ("-device", "pcie-root-port,id=port%d,chassis=%d,bus=pcie.0,addr=%d" % (number, number, number + 4))
            descriptors = ":".join(str(tap) for tap in nic.taps)
            yield from ("-netdev", "tap,id=%s,%s=%s,vhost=off" % (nic.name, "fds" if len(nic.taps) > 1 else "fd",
                                                                 descriptors))
            yield from ("-device", json.dumps(self.device_of(nic)))
        # Linux gives up at boot if its timer seems to stand still, as on a busy host it does: no_timer_check.
        yield from ("-kernel", os.path.join(files, "vmlinuz"), "-initrd", os.path.join(files, "initrd.img"), "-append",
                    "root=/dev/vda rw console=ttyS0 quiet panic=-1 net.ifnames=0 systemd.unit=basic.target "
                    "no_timer_check" + (" intel_iommu=on" if self.iommu else ""))
        for number, (file, options) in enumerate(((os.path.join(files, "root.ext4"), "snapshot=on"),
                                                  (self.path("tar"), "read-only=on"))):
            yield from ("-drive", "file=%s,if=none,format=raw,id=disk%d,%s" % (file, number, options), "-device",
                        "virtio-blk-pci,drive=disk%d,addr=%d" % (number, 16 + number))
        yield from ("-device", "virtio-rng-pci,addr=18", "-device", "virtio-serial-pci,addr=19", "-chardev",
                    "socket,id=agent,path=%s,server=on,wait=off" % self.path("agent"), "-device",
                    "virtserialport,chardev=agent,name=org.qemu.guest_agent.0")
        yield from ("-qmp", "unix:%s,server=on,wait=off" % self.path("monitor"), "-serial",
                    "file:%s" % self.path("console"))

    def device_of(self, nic):
        """What QEMU makes it of, at start or when it is plugged in."""
        device = {"driver": nic.model, "id": nic.name, "netdev": nic.name, "mac": nic.mac,
                  "bus": "port%d" % self.nics.index(nic)}
        if nic.model == "virtio-net-pci":
            device["disable-legacy"] = "on"
            if self.iommu:
                device.update({"iommu_platform": True, "ats": True})
            if nic.queues > 1:
                device.update({"mq": True, "vectors": 2 * nic.queues + 2})
        return device

    def start(self):  # pylint: disable=arguments-differ
        """Boots it, until its agent answers and what was brought is in place."""
        with tarfile.open(self.path("tar"), "w") as archive:
            for path, (source, mode) in self.brought.items():
                member = archive.gettarinfo(source, path.lstrip("/"))
                member.mode, member.uid, member.gid, member.uname, member.gname = mode, 0, 0, "root", "root"
                with open(source, "rb") as file:
                    archive.addfile(member, file)
        taps = [tap for nic in self.nics for tap in nic.taps]
        began = time.monotonic()
        self.process = self.lab.popen([str(argument) for argument in self.arguments()], "%s-qemu" % self.name,
                                      descriptors=taps)
        for tap in taps:
            os.close(tap)  # QEMU's alone now: the tap ends with it
        self.process.ready(lambda: os.path.exists(self.path("monitor")), "its sockets")
        self.monitor, self.agent = JsonSocket(self.path("monitor")), JsonSocket(self.path("agent"))
        self.monitor.ask("qmp_capabilities")
        try:
            self.process.ready(self.agent.synchronise, "its agent", BOOT_SECONDS)
        except rig.RigError as error:
            raise rig.RigError("%s\n%s" % (error, self.console())) from None
        print("%s: up in %.0f s" % (self.name, time.monotonic() - began), flush=True)
        if self.brought:
            self.run("tar", "-x", "-f", "/dev/vdb", "-C", "/")
        self.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitations=0")
        return self

    def stop(self):
        self.process.stop()

    def console(self, size=3000):
        with contextlib.suppress(OSError), open(self.path("console"), encoding="utf-8", errors="replace") as file:
            return file.read()[-size:]
        return ""

    def run(self, *command, stdin=None, check=True, timeout=180.0):
        path, *arguments = map(str, command)
        ask = {"path": path, "arg": arguments, "capture-output": True,
               "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root"]}
        if stdin is not None:
            ask["input-data"] = base64.b64encode(stdin.encode()).decode()
        pid = self.agent.ask("guest-exec", **ask)["pid"]
        end, pause = time.monotonic() + timeout, 0.01
        while not (status := self.agent.ask("guest-exec-status", pid=pid))["exited"]:
            if time.monotonic() > end:
                raise rig.RigError("%s: %s did not end within %g s" % (self.name, " ".join(map(str, command)), timeout))
            time.sleep(pause)
            pause = min(2 * pause, 0.2)
        texts = [base64.b64decode(status.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data")]
        done = subprocess.CompletedProcess(command, status.get("exitcode", -status.get("signal", 0)), *texts)
        if check and done.returncode:
            raise rig.RigError("%s: %s: status %d: %s" % (self.name, " ".join(map(str, command)), done.returncode,
                                                          (done.stderr or done.stdout).strip()[-2000:]))
        return done

    def write(self, path, text, mode=0o600):
        self.run("sh", "-c", 'umask 077; cat >"$1"; chmod "$2" "$1"', "sh", path, "%o" % mode, stdin=text)

    def serve_iperf(self, port=5201):
        """In the background; ends with the guest."""
        self.run("iperf3", "-s", "-D", "-p", port)
        self.wait_for_iperf(port)

    def wait_for_iperf(self, port=5201):
        """It stops listening between two tests."""
        rig.wait_until(lambda: ":%d " % port in self.text("ss", "-Hltn"), "iperf3 to listen")

    # Of NICs, as the cable and the backplane do it.

    def set_link(self, nic, up):
        self.monitor.ask("set_link", name=nic.name, up=up)

    def press_attention_button(self, nic):
        """Asks the guest's Linux to let the NIC go; it leaves when Linux agrees."""
        self.monitor.ask("device_del", id=nic.name)

    def plug_in(self, nic):
        self.monitor.ask("device_add", **self.device_of(nic))

    def wait_until_unplugged(self, nic, timeout=30.0):
        while self.monitor.wait_for_event("DEVICE_DELETED", timeout).get("device") != nic.name:
            pass


def open_tap(machine, interface, multi_queue):
    """Descriptor of a tap on the machine, with the offloads that virtual machines have; inherited by children."""
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (IFF_MULTI_QUEUE if multi_queue else 0)
    with machine.network():
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", interface.encode(), flags))
    return tap
