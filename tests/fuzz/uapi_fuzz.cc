// The WireGuard configuration protocol over a tunnel: what a client sends may be cut into pieces anywhere, and what a
// dump says, given back as a set, makes the same device. The input is taken as it is, and as a list of lines from a
// dictionary with raw bytes between them.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "control/api/uapi.h"
#include "control/wg/wireguard.h"
#include "dataplane/crypto/primitives.h"
#include "dataplane/pipeline/packet.h"
#include "dataplane/port/eal.h"
#include "tests/fuzz/require.h"
#include "tests/support/manual_clock.h"
#include "tests/support/seeded_rng.h"

namespace sluice::test {
namespace {

struct NoRoutes final : OuterRoutes {
  OuterRoute resolve(const OuterQuery&) override { return {}; }
  OuterRoute look_up(const OuterQuery&) const override { return {}; }
  uint32_t scope_of(PortId) const noexcept override { return 0; }
  Result<void> claim_port(TunnelId, uint16_t) override { return {}; }
};

// A gateway without ports and one tunnel.
struct Bench {
  ManualClock clock;
  SeededRng rng;
  NoRoutes routes;
  DropCounters drops;
  std::unique_ptr<Dataplane> dataplane;
  std::unique_ptr<Wireguard> wireguard;
  Tunnel* tunnel = nullptr;

  Bench() {
    require(start_eal({.worker_cores = {0}, .hugepages = EalOptions::Hugepages::kNever, .memory_mib = 64}).ok());
    require(crypto_init());
    auto pool = make_packet_pool("uapi", 1023, kPacketMetaSize, 1500);
    require(pool.ok());
    Dataplane::Options options;
    options.worker_cores = {0};
    options.max_peers = 64;
    options.session_slots = 1u << 10;
    auto made = Dataplane::create(options, std::move(*pool), {}, clock, rng);
    require(made.ok());
    dataplane = std::move(*made);
    wireguard = std::make_unique<Wireguard>(Wireguard::Parts{*dataplane, clock, rng, routes, drops});
    tunnel = wireguard->add_tunnel("wg0");
  }

  void reset() {
    tunnel->remove_all_peers();
    tunnel->set_private_key(PrivateKey());
    tunnel->set_fwmark(0);
    settle();
  }
  // Workers take their commands, what was retired is freed.
  void settle() {
    wireguard->published();
    for (int i = 0; i < 3; ++i) {
      wireguard->post_waiting_commands();
      dataplane->workers()[0]->poll_once();
      dataplane->collect();
    }
    require(dataplane->retired() == 0);
  }
  // The dump without what cannot be set again, or is chosen at random.
  std::string settings() const {
    std::string kept;
    const std::string dump = uapi_dump(*tunnel);
    for (size_t at = 0, end; at < dump.size(); at = end + 1) {
      end = dump.find('\n', at);
      const std::string line = dump.substr(at, end + 1 - at);
      if (!line.starts_with("listen_port=") && !line.starts_with("last_") && !line.starts_with("tx_") &&
          !line.starts_with("rx_"))
        kept += line;
    }
    return kept;
  }
  std::string converse(std::string_view text, size_t piece) {
    UapiSession session(*tunnel);
    std::string output;
    for (size_t at = 0; at < text.size(); at += piece)
      if (!session.feed(text.substr(at, piece), output)) break;
    return output;
  }
};

// DPDK's own statics go before ours would.
Bench& bench() {
  static auto* one = new Bench;
  return *one;
}

void check(std::string_view text) {
  Bench& b = bench();
  b.reset();
  const std::string whole = b.converse(text, text.size() + 1), settings = b.settings();
  b.reset();
  const std::string cut = b.converse(text, 3);
  require(b.settings() == settings);
  // The port's number is drawn anew each time.
  if (text.find("listen_port") == std::string_view::npos) require(whole == cut);
  b.reset();
  require(b.converse("set=1\n" + settings + "\n", 4096) == "errno=0\n\n");
  require(b.settings() == settings);
}

std::string composed(const uint8_t* data, size_t size) {
  static const std::string kKey(63, '7');
  static const std::array<std::string, 30> kLines{
      "set=1\n",
      "set=1\n",
      "get=1\n\n",
      "\n",
      "\n",
      "private_key=" + kKey + "7\n",
      "private_key=" + std::string(64, '0') + "\n",
      "fwmark=51820\n",
      "fwmark=0\n",
      "listen_port=0\n",
      "listen_port=51820\n",
      "replace_peers=true\n",
      "public_key=" + kKey + "1\n",
      "public_key=" + kKey + "2\n",
      "public_key=" + kKey + "3\n",
      "remove=true\n",
      "update_only=true\n",
      "preshared_key=" + kKey + "4\n",
      "endpoint=192.0.2.1:51820\n",
      "endpoint=[fe80::1%1]:7\n",
      "persistent_keepalive_interval=25\n",
      "replace_allowed_ips=true\n",
      "allowed_ip=10.0.0.0/8\n",
      "allowed_ip=10.1.2.3/16\n",
      "allowed_ip=2001:db8::/32\n",
      "allowed_ip=-10.0.0.0/8\n",
      "allowed_ip=0.0.0.0/0\n",
      "allowed_ip=::ffff:10.0.0.1/128\n",
      "protocol_version=1\n",
      "protocol_version=",
  };
  std::string text = "set=1\n";
  for (size_t i = 0; i < size; ++i)
    data[i] < 8 * kLines.size() ? text += kLines[data[i] / 8] : text += static_cast<char>(data[i] & 0x7f);
  return text;
}

}  // namespace
}  // namespace sluice::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::test;
  check({reinterpret_cast<const char*>(data), size});
  check(composed(data, size));
  return 0;
}
