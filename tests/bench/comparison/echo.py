#!/usr/bin/python3
"""Small requests over one TCP connection, one at a time: how long each takes.

    echo.py serve ADDRESS PORT              answers until it is ended
    echo.py ask ADDRESS PORT SECONDS        prints {"requests": N, "seconds": S, "p50_us": T, "p99_us": T}
"""
import json
import socket
import sys
import time

SIZE = 64  # bytes, of a request and of its answer
WARM_UP = 200  # requests that do not count


def answer(connection):
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(SIZE):
            connection.sendall(data)


def serve(address, port):
    with socket.create_server((address, port)) as server:
        print("listening", flush=True)
        while True:
            try:
                answer(server.accept()[0])
            except ConnectionError:
                pass  # a client that went away


def request(connection):
    """Nanoseconds between a request and the end of its answer."""
    start, missing = time.perf_counter_ns(), SIZE
    connection.sendall(b"?" * SIZE)
    while missing:
        data = connection.recv(missing)
        if not data:
            sys.exit("the server has closed the connection")
        missing -= len(data)
    return time.perf_counter_ns() - start


def ask(address, port, seconds):
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(WARM_UP):
            request(connection)
        times, start = [], time.monotonic()
        while time.monotonic() < start + seconds:
            times.append(request(connection))
        elapsed = time.monotonic() - start
    times.sort()
    print(json.dumps({"requests": len(times), "seconds": elapsed, "p50_us": times[len(times) // 2] / 1e3,
                      "p99_us": times[len(times) * 99 // 100] / 1e3}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        ask(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
