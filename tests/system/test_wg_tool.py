"""Scripted sessions of the stock `wg` tool, and raw ones on its socket: the same script against sluice and wireguard-go.

What both say is compared word by word, status and error text included. Only the order of peers and of a peer's prefixes is
taken out, for neither `wg` nor the protocol promises one.
"""
import os
import re
import socket
import unittest

import pywg
import rig
from peering import AGAINST_WIREGUARD_GO, NO_GATEWAY, b64

CONFIG = """
[gateway]
name = "tool"

[[port]]
name = "wan"
device = "af_packet:wan0"
addresses = ["192.0.2.1/24"]

[[tunnel]]
name = "wg0"
private-key-file = "tool.key"
listen-port = 20820
"""


def key(number):
    """The same keys in every run: outputs are compared."""
    return pywg.KeyPair(pywg.blake2s(b"key %d" % number))


def public(number):
    return b64(key(number).public)


def private(number):
    return b64(key(number).private)


A, B, C = public(1), public(2), public(3)
FILES = {
    "private": private(9) + "\n",
    "other-private": private(1) + "\n",
    "psk": b64(pywg.blake2s(b"psk")) + "\n",
    "empty": "",
    "not-a-key": "hello\n",
    "two-peers.conf": "[Interface]\nPrivateKey = %s\nListenPort = 20825\nFwMark = 0x20\n"
                      "[Peer]\nPublicKey = %s\nPresharedKey = %s\nAllowedIPs = 10.0.0.0/8, fd00::/8\nEndpoint = 192.0.2.9:9\n"
                      "PersistentKeepalive = 20\n[Peer]\nPublicKey = %s\nAllowedIPs = 192.168.0.0/16\n"
                      % (private(9), A, b64(pywg.blake2s(b"psk")), B),
    "one-peer.conf": "[Interface]\nPrivateKey = %s\nListenPort = 20825\n[Peer]\nPublicKey = %s\nAllowedIPs = 10.1.0.0/16\n" % (private(9), A),
    "third-peer.conf": "[Peer]\nPublicKey = %s\nAllowedIPs = 172.16.0.0/12\nEndpoint = [2001:db8::9]:9\n" % C,
    "wrong.conf": "[Interface]\nListenPort = 20825\n[Peer]\nPublicKey = nonsense\n",
    "many.conf": "[Peer]\nPublicKey = %s\n" % A + "".join("AllowedIPs = 10.%d.%d.0/24\n" % (k >> 8,
            k & 255) for k in range(4000)),
}
SHOW = ["show wg0", "show wg0 dump", "showconf wg0"]

# Each command line's words go to `wg`; @NAME is one of the files above.
SESSIONS = {
    "empty": ["set wg0 private-key @empty", *SHOW, "show wg0 peers", "show wg0 public-key", "show wg0 private-key",
              "show wg0 fwmark",
              "show interfaces"],
    "device": ["set wg0 private-key @private listen-port 20830 fwmark 0x1234", *SHOW, "set wg0 fwmark off",
               "show wg0 fwmark",
               "set wg0 fwmark 17", "show wg0 fwmark", "show wg0 listen-port", "show wg0 public-key"],
    "peers": ["set wg0 private-key @private",
              "set wg0 peer %s allowed-ips 10.0.0.1/32,10.0.1.0/24,fd00::/64 endpoint 192.0.2.9:1234 persistent-keepalive 25" % A,
              "set wg0 peer %s preshared-key @psk allowed-ips 10.0.2.77/24" % B, *SHOW,
              *["show wg0 " + what for what in ("peers", "preshared-keys", "endpoints", "allowed-ips",
                                                "latest-handshakes", "transfer",
                                                "persistent-keepalive")],
              "set wg0 peer %s preshared-key @empty" % B, "show wg0 preshared-keys", "set wg0 peer %s remove" % A,
              *SHOW],
    "prefix-moves": ["set wg0 peer %s allowed-ips 10.0.0.0/24" % A, "set wg0 peer %s allowed-ips 10.0.0.0/24" % B,
                     *SHOW,
                     "set wg0 peer %s allowed-ips 0.0.0.0/0,::/0" % A, *SHOW,
                     "set wg0 peer %s allowed-ips 192.95.5.93/27" % A,
                     *SHOW, "set wg0 peer %s allowed-ips " % A, *SHOW],
    "own-key": ["set wg0 private-key @other-private", "set wg0 peer %s allowed-ips 10.0.0.0/24" % A, *SHOW,
                "set wg0 private-key @private", "set wg0 peer %s allowed-ips 10.0.0.0/24" % A, *SHOW,
                "set wg0 private-key @other-private", *SHOW],
    "setconf": ["setconf wg0 @two-peers.conf", *SHOW, "setconf wg0 @one-peer.conf", *SHOW, "setconf wg0 @empty", *SHOW],
    "addconf": ["setconf wg0 @one-peer.conf", "addconf wg0 @third-peer.conf", *SHOW, "addconf wg0 @third-peer.conf",
                *SHOW],
    "syncconf": ["setconf wg0 @two-peers.conf", "syncconf wg0 @one-peer.conf", *SHOW, "syncconf wg0 @two-peers.conf",
                 *SHOW,
                 "syncconf wg0 @third-peer.conf", *SHOW],
    "many-prefixes": ["setconf wg0 @many.conf", "show wg0 allowed-ips", "show wg0 dump"],
    "endpoints": ["set wg0 peer %s endpoint [2001:db8::1]:65535" % A, "show wg0 endpoints",
                  "set wg0 peer %s endpoint 192.0.2.1:0" % A,
                  "set wg0 peer %s endpoint 192.0.2.1" % A, "show wg0 endpoints"],
    "errors": ["show wg7", "show wg0 nonsense", "set wg0 listen-port 65536", "set wg0 listen-port",
               "set wg0 peer nonsense",
               "set wg0 peer %s allowed-ips 10.0.0.0/33" % A, "set wg0 peer %s allowed-ips nonsense" % A,
               "set wg0 peer %s persistent-keepalive 70000" % A, "set wg0 private-key @not-a-key",
               "set wg0 private-key /does/not/exist",
               "setconf wg0 @wrong.conf", "set wg7 listen-port 1", *SHOW],
}

H = {number: key(number).public.hex() for number in (1, 2, 3)}
OWN = key(9).private.hex()

# Requests as they go over the socket; each gets a connection of its own. {N} is the public key number N in hex.
REQUESTS = {
    "get": "get=1\n\n",
    "nothing-to-set": "set=1\n\n",
    "set": "set=1\nprivate_key=%s\nlisten_port=20831\npublic_key=%s\nallowed_ip=10.0.0.0/8\n\n" % (OWN, H[1]),
    "upper-case-key": "set=1\npublic_key=%s\nallowed_ip=10.0.0.0/8\n\n" % H[1].upper(),
    "unknown-device-key": "set=1\nnonsense=1\n\n",
    "unknown-peer-key": "set=1\npublic_key=%s\nnonsense=1\n\n" % H[1],
    "device-key-after-peer": "set=1\npublic_key=%s\nlisten_port=5\n\n" % H[1],
    "short-key": "set=1\nprivate_key=00\n\n",
    "not-hex": "set=1\nprivate_key=%s\n\n" % ("zz" * 32),
    "port-too-large": "set=1\nlisten_port=65536\n\n",
    "port-negative": "set=1\nlisten_port=-1\n\n",
    "fwmark-hex": "set=1\nfwmark=0x10\n\n",
    "fwmark-too-large": "set=1\nfwmark=4294967296\n\n",
    "replace-peers-false": "set=1\nreplace_peers=false\n\n",
    "no-equals-sign": "set=1\nnonsense\n\n",
    "cidr-missing": "set=1\npublic_key=%s\nallowed_ip=10.0.0.0\n\n" % H[1],
    "cidr-33": "set=1\npublic_key=%s\nallowed_ip=10.0.0.0/33\n\n" % H[1],
    "cidr-129": "set=1\npublic_key=%s\nallowed_ip=fd00::/129\n\n" % H[1],
    "endpoint-name": "set=1\npublic_key=%s\nendpoint=localhost:5\n\n" % H[1],
    "endpoint-without-port": "set=1\npublic_key=%s\nendpoint=192.0.2.1\n\n" % H[1],
    "keepalive-70000": "set=1\npublic_key=%s\npersistent_keepalive_interval=70000\n\n" % H[1],
    "protocol-2": "set=1\npublic_key=%s\nprotocol_version=2\n\n" % H[1],
    "earlier-lines-stay": "set=1\nlisten_port=20832\npublic_key=%s\nallowed_ip=10.0.0.0/8\nnonsense=1\n\n" % H[1],
    "update-only-unknown": "set=1\npublic_key=%s\nupdate_only=true\nallowed_ip=10.0.0.0/8\n\n" % H[3],
    "remove-unknown": "set=1\npublic_key=%s\nremove=true\n\n" % H[3],
    "remove-and-more": "set=1\npublic_key=%s\nremove=true\nallowed_ip=10.0.0.0/8\n\n" % H[3],
    "replace-amid": "set=1\npublic_key=%s\nallowed_ip=10.0.0.0/8\nallowed_ip=10.1.0.0/16\nreplace_allowed_ips=true\n"
                    "allowed_ip=10.2.0.0/16\n\n" % H[1],
    "replace-peers": "set=1\nreplace_peers=true\npublic_key=%s\n\n" % H[2],
    "private-key-of-ones": "set=1\nprivate_key=%s\n\n" % ("ff" * 32),
    "private-key-cleared": "set=1\nprivate_key=%s\n\n" % ("00" * 32),
    "wgctrl": "set=1\npublic_key=%s\nupdate_only=true\npreshared_key=%s\nendpoint=[2001:db8::1]:9\npersistent_keepalive_interval=111\n"
              "replace_allowed_ips=true\nallowed_ip=10.5.0.0/16\n\n" % (H[1], "11" * 32),
    "neither-get-nor-set": "hello\n\n",
    "get-without-empty-line": "get=1\nfoo=bar\n\n",
}


def normalised(text):
    """The same text whatever the order of peers and of a peer's prefixes, and whichever port was chosen at random: those
    that the tests name are below all of them."""
    text = text.replace("tx_bytes=148\n", "tx_bytes=0\n")  # an initiation that finds no way out counts, or does not
    text = re.sub(r"(port: |\(none\)\t|=\t|Port = |_port=)[3-6]\d{4}\b", r"\1CHOSEN", text)
    text = re.sub(r"(?<=[\s=])((?:[0-9a-f.:]+/\d+,? ?){2,})",
                  lambda match: " ".join(sorted(match[1].replace(",", " ").split())), text)
    blocks = re.split(r"\n(?=\[Peer\]|peer: |public_key=)", text)
    head, peers = blocks[0], blocks[1:]
    if peers:
        return [head, *sorted("\n".join(sorted(peer.strip().splitlines())) for peer in peers)]
    return sorted(text.splitlines())


class WgTool(unittest.TestCase):
    time_limit = 60

    @classmethod
    def setUpClass(cls):
        cls.lab = rig.Lab()
        cls.addClassCleanup(cls.lab.close)
        cls.files = {name: cls.lab.write(name, text) for name, text in FILES.items()}
        cls.ours, cls.theirs = cls.lab.machine("ours"), cls.lab.machine("theirs")
        for machine in (cls.ours, cls.theirs):
            peer = cls.lab.machine("peer-of-%s" % machine.name)
            cls.lab.cable(machine, "wan0", peer, "eth0")
        cls.start_ours()
        rig.kernel_end(cls.theirs, "wan0", "192.0.2.1/24")
        start_interface(cls.theirs)

    @classmethod
    def start_ours(cls):
        if NO_GATEWAY:
            rig.kernel_end(cls.ours, "wan0", "192.0.2.1/24")
            cls.gateway = start_interface(cls.ours, *([] if AGAINST_WIREGUARD_GO else ["sluiced", os.environ["SLUICE_BUILD"]]))
            return
        cls.lab.write("tool.key", private(9) + "\n")
        cls.gateway = rig.Gateway(cls.ours, cls.lab.write("tool.toml", CONFIG), os.environ["SLUICE_BUILD"],
                                  name="tool").start()

    def diagnosis(self):
        return self.gateway.process.output()[-2000:]

    def setUp(self):
        for machine in (self.ours, self.theirs):
            self.ask(machine, "set=1\nprivate_key=%s\nlisten_port=20820\nfwmark=0\nreplace_peers=true\n\n" % OWN)

    def ask(self, machine, request):
        """What the socket replies to one request."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect("/proc/%d/root/run/wireguard/wg0.sock" % machine.pid)
            client.sendall(request.encode())
            reply = b""
            while not re.search(rb"errno=-?\d+\n\n$", reply):
                try:
                    data = client.recv(65536)
                except ConnectionResetError:
                    break
                if not data:
                    break
                reply += data
            return reply.decode()

    def run_session(self, machine, commands):
        results = []
        for line in commands:
            words = [self.files[word[1:]] if word.startswith("@") else word for word in line.split(" ")]
            done = machine.run("wg", *words, check=False)
            results.append((line, done.returncode, normalised(done.stdout), done.stderr))
        return results

    def compare(self, name):
        for ours, theirs in zip(self.run_session(self.ours, SESSIONS[name]), self.run_session(self.theirs,
                SESSIONS[name])):
            self.assertEqual(ours, theirs)

    def test_session_empty(self):
        """U-01, U-09"""
        self.compare("empty")

    def test_session_device(self):
        """U-02, U-08"""
        self.compare("device")

    def test_session_peers(self):
        """U-02, U-09"""
        self.compare("peers")

    def test_session_prefix_moves(self):
        """A-04 to A-06"""
        self.compare("prefix-moves")

    def test_session_own_key(self):
        """U-07"""
        self.compare("own-key")

    def test_session_setconf(self):
        """U-02, U-06, U-10"""
        self.compare("setconf")

    def test_session_addconf(self):
        self.compare("addconf")

    def test_session_syncconf(self):
        """U-12"""
        self.compare("syncconf")

    def test_session_many_prefixes(self):
        """U-10"""
        self.compare("many-prefixes")

    def test_session_endpoints(self):
        self.compare("endpoints")

    def test_session_errors(self):
        """U-03, U-11"""
        self.compare("errors")

    def test_requests_on_the_socket(self):
        """U-01 to U-03, U-05 to U-08, U-18: the reply, and what the device holds afterwards"""
        for name, request in REQUESTS.items():
            with self.subTest(name):
                self.setUp()
                prepare = "set=1\npublic_key=%s\nallowed_ip=192.168.1.0/24\n\n" % H[1]
                replies = []
                for machine in (self.ours, self.theirs):
                    self.assertEqual(self.ask(machine, prepare), "errno=0\n\n")
                    replies.append((normalised(self.ask(machine, request)), normalised(self.ask(machine, "get=1\n\n"))))
                self.assertEqual(replies[0], replies[1])

    def test_reply_to_set_is_one_read(self):
        """U-14"""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect("/proc/%d/root/run/wireguard/wg0.sock" % self.ours.pid)
            for _ in range(20):
                client.sendall(b"set=1\nlisten_port=20820\n\n")
                self.assertEqual(client.recv(32), b"errno=0\n\n")

    def test_port_taken(self):
        """U-04: both say the same, and sluice keeps the port it had"""
        if AGAINST_WIREGUARD_GO:
            self.skipTest("wireguard-go loses its port")
        with self.ours.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("0.0.0.0", 20899))
            done = self.ours.run("wg", "set", "wg0", "listen-port", 20899, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Address already in use", done.stderr)
        self.assertEqual(self.ours.text("wg", "show", "wg0", "listen-port").strip(), "20820")

    def test_silent_and_half_clients(self):
        """U-16: others are served meanwhile"""
        if AGAINST_WIREGUARD_GO:
            self.skipTest("wireguard-go lets others wait")
        path = "/proc/%d/root/run/wireguard/wg0.sock" % self.ours.pid
        clients = []
        for beginning in (b"", b"get", b"set=1\npublic_key=%s\nallowed_ip=10." % H[1].encode()):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.connect(path)
            client.sendall(beginning)
            clients.append(client)
        self.assertEqual(self.ask(self.ours, "set=1\n\n"), "errno=0\n\n")
        for client in clients:
            client.close()
        self.assertTrue(self.ask(self.ours, "get=1\n\n").endswith("errno=0\n\n"))

    def test_a_line_without_end(self):
        """U-17: the connection is closed before it costs memory"""
        if AGAINST_WIREGUARD_GO:
            self.skipTest("wireguard-go reads on")
        sent, piece = 0, b"x" * (1 << 20)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(10)
            client.connect("/proc/%d/root/run/wireguard/wg0.sock" % self.ours.pid)
            with self.assertRaises((BrokenPipeError, ConnectionResetError)):
                while sent < 1 << 28:
                    sent += client.send(piece)
        self.assertTrue(self.ask(self.ours, "get=1\n\n").endswith("errno=0\n\n"))

    def test_gets_and_sets_at_once(self):
        """U-15"""
        setters = [self.ours.start("sh", "-c", "for n in $(seq 20); do wg set wg0 peer %s allowed-ips 10.%d.0.0/16; done" % (public(20 + k), k))
                   for k in range(10)]
        while any(setter.running() for setter in setters):
            reply = self.ask(self.ours, "get=1\n\n")
            self.assertTrue(reply.endswith("errno=0\n\n"), reply[-200:])
            self.assertLessEqual(reply.count("allowed_ip="), reply.count("public_key="))
        self.assertEqual([setter.wait() for setter in setters], [0] * 10)

    def test_130560_prefixes(self):
        """U-10"""
        if AGAINST_WIREGUARD_GO:
            self.skipTest("takes minutes")
        lines = "".join("allowed_ip=%d.%d.%d.0/24\n" % (1 + k // 65280, k // 255 % 256, k % 255) for k in range(130560))
        self.assertEqual(self.ask(self.ours, "set=1\npublic_key=%s\nreplace_allowed_ips=true\n%s\n" % (H[1], lines)),
                         "errno=0\n\n")
        self.assertEqual(self.ask(self.ours, "get=1\n\n").count("allowed_ip="), 130560)


def start_interface(machine, daemon="wireguard-go", build=None):
    machine.lab.environment["LOG_LEVEL"] = "silent"
    other = rig.WireguardGo(machine, daemon=daemon, build=build)
    generated = rig.Key()
    generated.private = private(9)
    return other.start(generated, 20820)


