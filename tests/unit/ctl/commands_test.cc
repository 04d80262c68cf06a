// The program as its user meets it: arguments in, text and exit status out, a gateway's replies canned.
#include "control/ctl/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "control/ctl/client.h"
#include "tests/support/seeded_rng.h"
#include "tests/unit/config/scratch.h"
#include "tests/unit/ctl/fake_gateway.h"

namespace sluice::ctl {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class Sluice : public testing::Test {
 protected:
  struct Outcome {
    int status;
    std::string out, err;
  };

  Outcome sluice(std::vector<std::string> arguments, const std::string& input = "", bool open_output = false) {
    std::istringstream in(input);
    std::ostringstream out, err;
    World world{.in = in,
                .out = out,
                .err = err,
                .rng = rng_,
                .machine = {{0, 1, 2, 3}},
                .run_directory = scratch_.path("run"),
                .program_directory = scratch_.path("bin"),
                .now = 1'700'000'000,
                .output_open_to_others = open_output};
    const int status = run(std::move(arguments), world);
    return {status, out.str(), err.str()};
  }

  std::string socket(const std::string& gateway = "paris") {
    std::filesystem::create_directories(scratch_.path("run"));
    return scratch_.path("run/" + gateway + ".sock");
  }

  config::Scratch scratch_;
  test::SeededRng rng_{1};
};

constexpr std::string_view kShow = R"({"ok": true, "gateway": "paris", "version": "0.1.0", "uptime": 93784,
 "engine": "ipsec-mb", "workers": [{"worker": 0, "core": 2}, {"worker": 1, "core": 3}],
 "ports": [{"name": "wan", "device": "af_packet:wan0", "mac": "02:00:00:00:00:01", "link": "up", "mtu": 1500,
            "rx_packets": 1234567, "rx_bytes": 1048576, "rx_drops": 3, "tx_packets": 12, "tx_bytes": 999, "tx_drops": 0}],
 "tunnels": [{"name": "wg0", "public_key": "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", "listen_port": 51820,
  "mtu": 1420, "peers": [
   {"public_key": "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=", "name": "berlin", "endpoint": "198.51.100.20:51820",
    "allowed_ips": ["10.2.0.0/16", "2001:db8:2::/64"], "latest_handshake": 1699999900, "rx_bytes": 5368709120,
    "tx_bytes": 100, "persistent_keepalive": 25, "preshared_key": true, "session_age": 100, "owner_worker": 1},
   {"public_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "allowed_ips": [], "latest_handshake": 0,
    "rx_bytes": 0, "tx_bytes": 0, "persistent_keepalive": 0, "endpoint": null}]}]})";

// One line, as the protocol wants it.
std::string line_of(std::string_view json) {
  std::string line(json);
  std::erase(line, '\n');
  return line + "\n";
}

// --- bench ---------------------------------------------------------------------------------------------------------

TEST_F(Sluice, BecomesTheBenchWithAllItsArguments) {
  std::filesystem::create_directories(scratch_.path("bin"));
  scratch_.write("bin/sluice-bench", "#!/bin/sh\necho \"$0 $*\" >&2\nexit 7\n", 0700);
  EXPECT_EXIT(sluice({"bench", "path", "--json", "f", "--help"}), testing::ExitedWithCode(7),
              "bin/sluice-bench path --json f --help");
}

TEST_F(Sluice, SaysThatTheBenchIsMissing) {
  const std::string path = getenv("PATH");
  setenv("PATH", scratch_.path("nothing").c_str(), 1);
  const Outcome outcome = sluice({"bench", "path"});
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "sluice: sluice-bench is neither in " + scratch_.path("bin") +
                             " nor in PATH: install it (meson install)\n");
}

// --- show ------------------------------------------------------------------------------------------------------------

TEST_F(Sluice, ShowsByDefault) {
  FakeGateway gateway(socket(), line_of(kShow));
  const Outcome outcome = sluice({});
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, R"(gateway paris, up 1 d 2 h, engine ipsec-mb, workers on cores 2, 3

port  device          mac                link   mtu  rx packets        rx  rx drops  tx packets     tx  tx drops
wan   af_packet:wan0  02:00:00:00:00:01  up    1500   1,234,567  1.00 MiB         3          12  999 B         0

tunnel wg0, public key hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=, port 51820, mtu 1420, 2 peers
  peer                                          endpoint             handshake       received   sent  allowed ips
  berlin                                        198.51.100.20:51820  1 min 40 s ago  5.00 GiB  100 B  10.2.0.0/16, 2001:db8:2::/64
  AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=  unknown              never                0 B    0 B  none
)");
  EXPECT_EQ(gateway.request(), R"({"op":"show"})");
}

TEST_F(Sluice, ShowsOnePeer) {
  FakeGateway gateway(socket(), line_of(kShow));
  const Outcome outcome = sluice({"show", "wg0", "--peer", "berlin"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith(R"(peer berlin
  tunnel            wg0
  public key        3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=
  preshared key     (hidden)
  endpoint          198.51.100.20:51820
  allowed ips       10.2.0.0/16, 2001:db8:2::/64
  latest handshake  1 min 40 s ago
  session           1 min 40 s old, worker 1
  received          5.00 GiB
  sent              100 B
  keepalive         every 25 s
)"));
  EXPECT_EQ(gateway.request(), R"({"op":"show","peer":"berlin","tunnel":"wg0"})");
}

// No cores of their own, ports that leave addresses to Linux, a tunnel that has no key yet.
TEST_F(Sluice, ShowsDropInMode) {
  FakeGateway gateway(socket("wg0"), line_of(R"({"ok": true, "gateway": "wg0", "version": "0.1.0", "uptime": 5,
 "engine": "lanes", "workers": [{"worker": 0}, {"worker": 1}],
 "ports": [{"name": "wg0", "device": "tun", "link": "up", "rx_packets": 1, "rx_bytes": 84, "rx_drops": 0,
            "tx_packets": 2, "tx_bytes": 168, "tx_drops": 0}],
 "tunnels": [{"name": "wg0", "listen_port": 0, "mtu": 1420, "peers": []}]})"));
  const Outcome outcome = sluice({});
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out, R"(gateway wg0, up 5 s, engine lanes, 2 workers on any core

port  device  mac  link  mtu  rx packets    rx  rx drops  tx packets     tx  tx drops
wg0   tun     -    up      -           1  84 B         0           2  168 B         0

tunnel wg0, public key none, port 0, mtu 1420, 0 peers
)");
}

TEST_F(Sluice, ShowsWhichPortsSteer) {
  FakeGateway gateway(socket(), line_of(R"({"ok": true, "gateway": "paris", "version": "0.1.0", "uptime": 5,
 "engine": "lanes", "workers": [{"worker": 0, "core": 2}, {"worker": 1, "core": 3}],
 "ports": [{"name": "wan", "device": "pci:0000:3b:00.0", "link": "up", "rx_packets": 1, "rx_bytes": 84, "rx_drops": 0,
            "tx_packets": 2, "tx_bytes": 168, "tx_drops": 0, "steering": "on"},
           {"name": "lan", "device": "af_packet:lan0", "link": "up", "rx_packets": 1, "rx_bytes": 84, "rx_drops": 0,
            "tx_packets": 2, "tx_bytes": 168, "tx_drops": 0, "steering": "refused", "steering_refusal": "net_af_packet: no"},
           {"name": "mgmt", "device": "null", "link": "up", "rx_packets": 1, "rx_bytes": 84, "rx_drops": 0,
            "tx_packets": 2, "tx_bytes": 168, "tx_drops": 0}],
 "tunnels": []})"));
  EXPECT_EQ(sluice({}).out, R"(gateway paris, up 5 s, engine lanes, workers on cores 2, 3

port  device            mac  link  mtu  rx packets    rx  rx drops  tx packets     tx  tx drops  steering
wan   pci:0000:3b:00.0  -    up      -           1  84 B         0           2  168 B         0  on
lan   af_packet:lan0    -    up      -           1  84 B         0           2  168 B         0  refused
mgmt  null              -    up      -           1  84 B         0           2  168 B         0  -
)");
}

TEST_F(Sluice, ShowsJson) {
  FakeGateway gateway(socket(), line_of(R"({"ok": true, "gateway": "paris", "tunnels": []})"));
  const Outcome outcome = sluice({"show", "--json"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "{\n  \"gateway\": \"paris\",\n  \"tunnels\": []\n}\n");
}

// --- stats, drops, reload --------------------------------------------------------------------------------------------

TEST_F(Sluice, Stats) {
  FakeGateway gateway(socket(), line_of(R"({"ok": true, "gateway": "paris", "workers": [
    {"worker": 0, "core": 2, "polls": 5000, "idle": 0.5, "sleep": 0.25,
     "spread": {"bursts": 1200, "packets_helped": 38400, "stalls": 2}, "handed_off": 4321, "stages": [
      {"name": "parse-outer", "calls": 1000, "packets": 32000, "cycles": 640000, "cycles_per_packet": 20,
       "packets_per_call": 32.0}]},
    {"worker": 1, "core": 3, "polls": 0, "idle": 0, "sleep": 0,
     "spread": {"bursts": 0, "packets_helped": 0, "stalls": 0}, "handed_off": 0, "stages": []}]})"));
  const Outcome outcome = sluice({"stats"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, R"(worker 0 on core 2: 5,000 polls, 50.0 % idle, 25.0 % of the time asleep
  saturated: 1,200 bursts shared, 38,400 of their packets done by other workers, 2 stalls
  handed to the workers they belong to: 4,321 data messages
  stage        calls  packets  packets/call  cycles/packet
  parse-outer  1,000   32,000          32.0           20.0

worker 1 on core 3: 0 polls, 0.0 % idle, 0.0 % of the time asleep
)");
  EXPECT_EQ(gateway.request(), R"({"op":"stats"})");
}

TEST_F(Sluice, StatsOfWorkersOnAnyCore) {
  FakeGateway gateway(socket(), line_of(R"({"ok": true, "gateway": "wg0", "workers": [
    {"worker": 0, "polls": 7, "idle": 0, "sleep": 1, "stages": []}]})"));
  EXPECT_EQ(sluice({"stats"}).out, "worker 0 on any core: 7 polls, 0.0 % idle, 100.0 % of the time asleep\n");
}

TEST_F(Sluice, Drops) {
  FakeGateway gateway(
      socket(),
      line_of(R"({"ok": true, "gateway": "paris", "drops": [{"reason": "replayed", "text": "counter seen before",
                            "packets": 1234}]})"));
  const Outcome outcome = sluice({"drops", "--all"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "packets  reason\n  1,234  replayed  counter seen before\n");
  EXPECT_EQ(gateway.request(), R"({"all":true,"op":"drops"})");
}

TEST_F(Sluice, Reloads) {
  FakeGateway gateway(socket(), line_of(R"({"ok": true, "applied": ["tunnel wg0: mtu 1420 -> 1380"]})"));
  const Outcome outcome = sluice({"reload"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "tunnel wg0: mtu 1420 -> 1380\n");
}

TEST_F(Sluice, SaysWhyItDidNotReload) {
  FakeGateway gateway(socket(), line_of(R"({"ok": false, "error": "nothing was changed: 2 errors",
                                           "errors": ["f:1:2: a: b", "f:3:4: c: d"]})"));
  const Outcome outcome = sluice({"reload"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "sluice: nothing was changed: 2 errors\nf:1:2: a: b\nf:3:4: c: d\n");
}

// --- gateways that cannot be asked -----------------------------------------------------------------------------------

TEST_F(Sluice, NoGateway) {
  const Outcome outcome = sluice({"show"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err, "sluice: no gateway is running: no socket in " + scratch_.path("run") +
                             "; say --socket PATH if it is elsewhere\n");
}

TEST_F(Sluice, SeveralGateways) {
  FakeGateway paris(socket("paris"), line_of(R"({"ok": true, "applied": []})"));
  FakeGateway berlin(socket("berlin"), line_of(R"({"ok": true, "applied": ["berlin's"]})"));
  EXPECT_EQ(sluice({"reload"}).err, "sluice: several gateways are running; choose by --name: berlin, paris\n");
  EXPECT_EQ(sluice({"reload", "--name", "berlin"}).out, "berlin's\n");
  EXPECT_EQ(sluice({"--socket", socket("paris"), "reload"}).out, "nothing to change\n");
}

TEST_F(Sluice, ATunnelsNameChoosesAmongDropIns) {
  FakeGateway other(socket("wg0"), line_of(kShow));
  FakeGateway gateway(socket("wg1"), line_of(R"({"ok": true, "gateway": "wg1", "tunnels": []})"));
  EXPECT_EQ(sluice({"show", "wg2"}).err, "sluice: several gateways are running; choose by --name: wg0, wg1\n");
  EXPECT_THAT(sluice({"show", "wg1", "--json"}).out, HasSubstr("wg1"));
}

TEST_F(Sluice, StaleSocket) {
  { FakeGateway gone(socket(), ""); }
  const Outcome outcome = sluice({"drops"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.err,
            "sluice: cannot reach the gateway at " + socket() + ": Connection refused; is sluiced running?\n");
}

TEST_F(Sluice, GatewayThatHangsUp) {
  FakeGateway gateway(socket(), "{\"ok\": tr");
  EXPECT_EQ(sluice({"drops"}).err, "sluice: the gateway closed the connection without a full reply\n");
}

TEST_F(Sluice, GatewayThatTalksNonsense) {
  for (const std::string reply : {"", "nonsense", "[]", "{}", R"({"ok": 1})", R"({"ok": true})",
                                  R"({"ok": true, "drops": [{"reason": 1}]})", R"({"ok": false})"}) {
    std::filesystem::remove(socket());
    FakeGateway gateway(socket(), reply + "\n");
    const Outcome outcome = sluice({"drops"});
    EXPECT_EQ(outcome.status, 1) << reply;
    EXPECT_THAT(outcome.err, StartsWith("sluice: the gateway's reply cannot be understood")) << reply;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << reply;
  }
}

TEST_F(Sluice, GatewayThatNeverAnswers) {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket().copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  const auto reply = query_gateway(socket(), "{}", std::chrono::seconds(1));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().what, "cannot read the gateway's reply: no answer in time");
  close(listener);
}

// --- keys ------------------------------------------------------------------------------------------------------------

TEST_F(Sluice, PublicKey) {  // RFC 7748, section 6.1
  const Outcome outcome = sluice({"pubkey"}, "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n");
  const Outcome wrong = sluice({"pubkey"}, "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=x\n");
  EXPECT_EQ(wrong.status, 1);
  EXPECT_EQ(wrong.err, "sluice: not a key: 44 characters of base64, as `sluice genkey` prints them\n");
}

TEST_F(Sluice, PrivateKeysAreClampedAndDiffer) {
  const Outcome first = sluice({"genkey"});
  EXPECT_EQ(first.status, 0);
  EXPECT_EQ(first.err, "");
  ASSERT_EQ(first.out.size(), 45u);
  Secret<32> key;
  ASSERT_TRUE(key_from_base64(first.out.substr(0, 44), key.bytes()));
  EXPECT_EQ(key.data()[0] & 7, 0);
  EXPECT_EQ(key.data()[31] & 0xc0, 0x40);
  EXPECT_NE(sluice({"genkey"}).out, first.out);
  EXPECT_NE(sluice({"genpsk"}).out, sluice({"genpsk"}).out);
}

TEST_F(Sluice, WarnsOfKeysThatOthersCanRead) {
  for (const std::string command : {"genkey", "genpsk"}) {
    const Outcome outcome = sluice({command}, "", true);
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.out.size(), 45u);
    EXPECT_EQ(outcome.err, "warning: others can read the file that this key goes to; set `umask 077` first\n");
  }
}

// --- check -----------------------------------------------------------------------------------------------------------

TEST_F(Sluice, ChecksGoodFiles) {
  const std::string file = scratch_.write("f.toml", "[[port]]\nname = \"wan\"\ndevice = \"null\"\n");
  const Outcome outcome = sluice({"check", file});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, file + ": ok\ngateway sluice: 3 workers on CPU 1,2,3, 1 port, 0 routes, 0 tunnels, 0 peers\n");
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(sluice({"check", "--print", file}).out, HasSubstr("\n[[port]]\nname      = \"wan\"\n"));
}

TEST_F(Sluice, SaysEverythingThatIsWrong) {
  const std::string file = scratch_.write("f.toml", "[[port]]\nname = \"wan\"\ndevize = \"null\"\n");
  const Outcome outcome = sluice({"check", file});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            file +
                ":1:1: port.device: is missing; or give members (several devices that are one port), or parent and " +
                "vlan\n" + file + ":3:1: port.devize: unknown key; did you mean `device`?\n");
}

// --- usage -----------------------------------------------------------------------------------------------------------

TEST_F(Sluice, WrongUsageIsOneLineAndStatusTwo) {
  const std::vector<std::vector<std::string>> cases{{"frobnicate"},       {"check"},
                                                    {"check", "a", "b"},  {"--colour"},
                                                    {"genkey", "--json"}, {"stats", "--name", "a", "--socket", "b"},
                                                    {"show", "--peer"},   {"show", "drops", "reload"}};
  for (const auto& arguments : cases) {
    const Outcome outcome = sluice(arguments);
    EXPECT_EQ(outcome.status, 2) << arguments[0];
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, StartsWith("sluice: "));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
}

TEST_F(Sluice, Helps) {
  const Outcome outcome = sluice({"--help"});
  EXPECT_EQ(outcome.status, 0);
  for (const char* command : {"show", "stats", "drops", "reload", "check", "genkey", "genpsk", "pubkey", "bench"})
    EXPECT_THAT(outcome.out, HasSubstr(command));
}

}  // namespace
}  // namespace sluice::ctl
