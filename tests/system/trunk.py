"""VLANs on a cable's end, without the kernel's help."""
import contextlib
import fcntl
import os
import select
import socket
import struct
import threading

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 263, 8, 1 << 4


class Trunk:
    """A cable's end with VLANs, each of them an interface `vN` that can be moved to another machine.

    Tags are put on and taken off here, because the kernels we run on may have no 8021q; it is Linux that reads them.
    """

    def __init__(self, machine, interface, *vlans):
        self.raw = machine.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.raw.bind((interface, 3))  # ETH_P_ALL
        self.taps = {vlan: self.make_tap(machine, "v%d" % vlan) for vlan in vlans}
        self.ended, self.wake = os.pipe()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    @staticmethod
    def make_tap(machine, name):
        with machine.network():
            tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        return tap

    def close(self):
        os.write(self.wake, b"x")
        self.thread.join()
        self.raw.close()
        for descriptor in (*self.taps.values(), self.ended, self.wake):
            os.close(descriptor)

    def send(self, vlan, frame, priority=0):
        self.raw.send(frame[:12] + struct.pack(">HH", 0x8100, priority << 13 | vlan) + frame[12:])

    def run(self):
        while True:
            ready = select.select([self.ended, self.raw, *self.taps.values()], [], [])[0]
            if self.ended in ready:
                return
            if self.raw in ready:
                self.from_cable()
            for vlan, tap in self.taps.items():
                if tap in ready:
                    with contextlib.suppress(BlockingIOError):
                        self.send(vlan, os.read(tap, 4096))

    def from_cable(self):
        frame, ancillary, _, sender = self.raw.recvmsg(65536, 256)
        if sender[2] == socket.PACKET_OUTGOING:
            return
        for level, kind, data in ancillary:
            if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, _, _, _, _, tag, _ = struct.unpack("=IIIHHHH", data)
                tap = self.taps.get(tag & 0xFFF) if status & TP_STATUS_VLAN_VALID else None
                if tap is not None:
                    with contextlib.suppress(OSError):  # EIO: an interface that is not up yet hears nothing
                        os.write(tap, frame)
