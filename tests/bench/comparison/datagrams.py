#!/usr/bin/python3
"""Small UDP packets, as many as arrive: at most WINDOW are on their way, and an answer says how many have come.

    datagrams.py serve ADDRESS PORT              answers one sender until it is ended
    datagrams.py send ADDRESS PORT SECONDS       prints {"packets": N, "lost": N, "seconds": S}

iperf3 spends more on sending and receiving a packet, a system call or two for each, than most tunnels on carrying it, and
sends what nobody can receive. Here a system call moves up to BATCH packets (sendmmsg, recvmmsg), and no work is in vain.
"""
import ctypes
import json
import os
import socket
import struct
import sys
import time

SIZE = 64  # bytes of payload
BATCH = 64
WINDOW = 256  # a socket's buffer holds some 270 of them, a TUN interface 500
LOST_AFTER = struct.pack("ll", 0, 20000)  # struct timeval without an answer: what is on its way is lost
ANSWER = struct.Struct("!Q")  # packets received so far from this sender
MSG_WAITFORONE = 0x10000
LIBC = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vector", ctypes.POINTER(Iovec)),
                ("vector_length", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("header", Msghdr), ("length", ctypes.c_uint)]


class Burst:
    """BATCH messages over one connected socket."""

    def __init__(self, connection):
        self.connection = connection
        self.bytes = ctypes.create_string_buffer(BATCH * SIZE)
        self.vectors, self.messages = (Iovec * BATCH)(), (Mmsghdr * BATCH)()
        for at in range(BATCH):
            self.vectors[at] = Iovec(ctypes.addressof(self.bytes) + at * SIZE, SIZE)
            self.messages[at].header.vector = ctypes.pointer(self.vectors[at])
            self.messages[at].header.vector_length = 1

    def send(self, count):
        return checked(LIBC.sendmmsg(self.connection.fileno(), self.messages, count, 0))

    def receive(self):
        """Waits for the first and takes what else is there."""
        return checked(LIBC.recvmmsg(self.connection.fileno(), self.messages, BATCH, MSG_WAITFORONE, None))


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def serve(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, port))
        print("listening", flush=True)
        server.connect(server.recvfrom(SIZE, socket.MSG_PEEK)[1])
        burst, received = Burst(server), 0
        while True:
            received += burst.receive()
            server.send(ANSWER.pack(received))


def send(address, port, seconds):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, LOST_AFTER)
        connection.connect((address, port))
        burst, sent, received, lost, start = Burst(connection), 0, 0, 0, time.monotonic()
        while time.monotonic() < start + seconds:
            room = WINDOW - (sent - received - lost)
            if room > 0:
                sent += burst.send(min(room, BATCH))
            if room <= BATCH:
                try:
                    received = ANSWER.unpack(connection.recv(ANSWER.size))[0]
                    lost = min(lost, sent - received)  # late, not lost
                except BlockingIOError:
                    lost = sent - received
        elapsed = time.monotonic() - start
    print(json.dumps({"packets": received, "lost": lost, "seconds": elapsed}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
