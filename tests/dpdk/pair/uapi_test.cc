// The WireGuard configuration protocol over a gateway's tunnel: every key, every error, and what stays after one.
#include "control/api/uapi.h"

#include <gtest/gtest.h>

#include "dataplane/crypto/primitives.h"
#include "tests/support/gateway_pair.h"

namespace sluice::test {
namespace {

const std::string kZero(64, '0');

std::string key(unsigned n) {  // 64 hex digits, different for different n
  std::string text(60, 'a');
  static constexpr char kDigits[] = "0123456789abcdef";
  for (int shift = 12; shift >= 0; shift -= 4) text += kDigits[(n >> shift) & 15];
  return text;
}

std::string hex_of_public_key(const std::string& private_hex) {
  PrivateKey secret;
  EXPECT_TRUE(key_from_hex(private_hex, secret.bytes()));
  clamp(secret);
  return to_hex(public_key_of(secret).bytes);
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

class Uapi : public testing::Test {
 protected:
  Uapi() { EXPECT_TRUE(crypto_init()); }

  // What a client receives for `text`.
  std::string ask(const std::string& text) {
    std::string output;
    open_ = session_.feed(text, output);
    return output;
  }
  // The errno of a set with these lines; one reply, in one piece, short enough for a client that reads 32 bytes (U-14).
  int set(const std::string& lines) {
    const std::string reply = ask("set=1\n" + lines + "\n");
    EXPECT_TRUE(reply.starts_with("errno=") && reply.ends_with("\n\n") && count(reply, "\n") == 2) << reply;
    EXPECT_LE(reply.size(), 32u);
    return std::stoi(reply.substr(6));
  }
  std::string get() {
    const std::string reply = ask("get=1\n\n");
    EXPECT_TRUE(reply.ends_with("errno=0\n\n")) << reply.substr(0, 1000);
    return reply.substr(0, reply.size() - std::string("errno=0\n\n").size());
  }
  // The allowed_ip lines of the peer's block, in order.
  std::string allowed_ips_of(const std::string& peer) {
    const std::string dump = get();
    const size_t begin = dump.find("public_key=" + peer);
    if (begin == std::string::npos) return "no such peer";
    const std::string block = dump.substr(begin, dump.find("public_key=", begin + 1) - begin);
    std::string list;
    for (size_t at = 0; (at = block.find("allowed_ip=", at)) != std::string::npos; ++at)
      list += (list.empty() ? "" : " ") + block.substr(at + 11, block.find('\n', at) - at - 11);
    return list;
  }

  ManualClock clock_;
  TestGateway gateway_{Site::of(1, "a"), Site::of(2, "b"), clock_, 1, {}};
  Tunnel& tunnel_ = *gateway_.wireguard().add_tunnel("wg1");  // as empty as a device is when it is made
  UapiSession session_{tunnel_};
  bool open_ = true;
};

TEST_F(Uapi, AnEmptyDevice) {  // U-01
  EXPECT_EQ(ask("get=1\n\n"), "errno=0\n\n");
  EXPECT_EQ(ask("set=1\n\n"), "errno=0\n\n");
  EXPECT_TRUE(open_);
}

TEST_F(Uapi, GetReturnsWhatWasSet) {  // U-02
  const std::string secret = "38" + std::string(60, '1') + "51";
  ASSERT_EQ(set("private_key=" + secret + "\nlisten_port=12912\nfwmark=3405691582\nreplace_peers=true\npublic_key=" +
                key(1) + "\npreshared_key=" + key(77) + "\nendpoint=[2001:db8::1]:51820\n" +
                "persistent_keepalive_interval=25\nreplace_allowed_ips=true\nallowed_ip=10.0.0.1/8\n" +
                "allowed_ip=2001:db8::/32\nprotocol_version=1\npublic_key=" + key(2) + "\n"),
            0);
  const std::string never = "last_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0\n";
  EXPECT_EQ(
      get(),
      "private_key=" + secret + "\nlisten_port=12912\nfwmark=3405691582\npublic_key=" + key(1) +
          "\npreshared_key=" + key(77) + "\nprotocol_version=1\nendpoint=[2001:db8::1]:51820\n" + never +
          "persistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\nallowed_ip=2001:db8::/32\npublic_key=" + key(2) +
          "\npreshared_key=" + kZero + "\nprotocol_version=1\n" + never + "persistent_keepalive_interval=0\n");
}

TEST_F(Uapi, EveryMistakeHasItsErrno) {  // U-03
  struct Case {
    std::string lines;
    int error;
  };
  const std::string peer = "public_key=" + key(1) + "\n";
  const Case cases[] = {
      // Device
      {"color=red\n", -EINVAL},
      {"private_key=" + key(1).substr(1) + "\n", -EINVAL},
      {"private_key=" + key(1) + "0\n", -EINVAL},
      {"private_key=" + key(1).replace(3, 1, "g") + "\n", -EINVAL},
      {"private_key=\n", -EINVAL},
      {"listen_port=65536\n", -EINVAL},
      {"listen_port=-1\n", -EINVAL},
      {"listen_port= 1\n", -EINVAL},
      {"listen_port=\n", -EINVAL},
      {"listen_port=1x\n", -EINVAL},
      {"fwmark=4294967296\n", -EINVAL},
      {"fwmark=0x10\n", -EINVAL},
      {"fwmark=off\n", -EINVAL},
      {"replace_peers=false\n", -EINVAL},
      {"replace_peers=1\n", -EINVAL},
      {"endpoint=192.0.2.1:1\n", -EINVAL},  // a peer's key before any peer
      {"get=1\n", -EINVAL},
      {"no equals sign\n", -EPROTO},
      // Peer
      {"public_key=abc\n", -EINVAL},
      {peer + "color=red\n", -EINVAL},
      {peer + "private_key=" + key(2) + "\n", -EINVAL},  // a device's key after a peer
      {peer + "listen_port=1\n", -EINVAL},
      {peer + "fwmark=1\n", -EINVAL},
      {peer + "replace_peers=true\n", -EINVAL},
      {peer + "no equals sign\n", -EPROTO},
      {peer + "remove=false\n", -EINVAL},
      {peer + "update_only=no\n", -EINVAL},
      {peer + "preshared_key=12\n", -EINVAL},
      {peer + "endpoint=vpn.example:51820\n", -EINVAL},
      {peer + "endpoint=192.0.2.1\n", -EINVAL},
      {peer + "endpoint=192.0.2.1:65536\n", -EINVAL},
      {peer + "endpoint=2001:db8::1:51820\n", -EINVAL},
      {peer + "endpoint=[192.0.2.1]:51820\n", -EINVAL},
      {peer + "persistent_keepalive_interval=70000\n", -EINVAL},
      {peer + "persistent_keepalive_interval=off\n", -EINVAL},
      {peer + "replace_allowed_ips=false\n", -EINVAL},
      {peer + "allowed_ip=10.0.0.0\n", -EINVAL},
      {peer + "allowed_ip=10.0.0.0/33\n", -EINVAL},
      {peer + "allowed_ip=2001:db8::/129\n", -EINVAL},
      {peer + "allowed_ip=10.0.0/8\n", -EINVAL},
      {peer + "allowed_ip=--10.0.0.0/8\n", -EINVAL},
      {peer + "allowed_ip=/8\n", -EINVAL},
      {peer + "protocol_version=2\n", -EINVAL},
      {peer + "=\n", -EINVAL},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(set(c.lines), c.error) << c.lines;
    EXPECT_TRUE(open_) << c.lines;
  }
}

TEST_F(Uapi, WhatCameBeforeAMistakeStays) {  // U-03
  EXPECT_EQ(set("fwmark=7\npublic_key=" + key(1) + "\nallowed_ip=10.1.0.0/16\nallowed_ip=10.2.0.0/33\n" +
                "allowed_ip=10.3.0.0/16\npublic_key=" + key(2) + "\n"),
            -EINVAL);
  EXPECT_EQ(allowed_ips_of(key(1)), "10.1.0.0/16");
  EXPECT_EQ(tunnel_.peers().size(), 1u) << "what comes after the mistake is not applied";
  EXPECT_TRUE(contains(get(), "fwmark=7\n"));
}

TEST_F(Uapi, HexOfEitherCaseIsUnderstood) {
  std::string upper = key(1);
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  EXPECT_EQ(set("public_key=" + upper + "\n"), 0);
  EXPECT_TRUE(contains(get(), "public_key=" + key(1)));
}

TEST_F(Uapi, APortInUseIsRefusedAndTheOldOneStays) {  // U-04
  EXPECT_EQ(set("listen_port=1000\n"), 0);
  EXPECT_EQ(set("listen_port=51820\n"), -EADDRINUSE);  // wg0's
  EXPECT_TRUE(contains(get(), "listen_port=1000\n"));
  EXPECT_EQ(set("listen_port=1000\n"), 0);
}

TEST_F(Uapi, PortZeroChoosesOneAndMarkZeroIsNone) {
  EXPECT_EQ(set("listen_port=0\nfwmark=5\n"), 0);
  EXPECT_GE(tunnel_.listen_port(), 49152);
  EXPECT_EQ(set("fwmark=0\n"), 0);
  EXPECT_FALSE(contains(get(), "fwmark"));
}

TEST_F(Uapi, UpdateOnlyAndRemoveOfStrangers) {  // U-05
  EXPECT_EQ(set("public_key=" + key(1) + "\nupdate_only=true\nallowed_ip=10.0.0.0/8\nendpoint=192.0.2.1:1\n"), 0);
  EXPECT_EQ(set("public_key=" + key(1) + "\nremove=true\nallowed_ip=10.0.0.0/8\n"), 0);
  EXPECT_EQ(set("public_key=" + key(1) + "\nremove=true\nupdate_only=true\n"), 0);
  EXPECT_EQ(tunnel_.peers().size(), 0u);
}

TEST_F(Uapi, UpdateOnlyAndRemoveOfPeers) {
  ASSERT_EQ(set("public_key=" + key(1) + "\nallowed_ip=10.1.0.0/16\n"), 0);
  EXPECT_EQ(set("public_key=" + key(1) + "\nupdate_only=true\nallowed_ip=10.2.0.0/16\n"), 0);
  EXPECT_EQ(allowed_ips_of(key(1)), "10.1.0.0/16 10.2.0.0/16");
  EXPECT_EQ(set("public_key=" + key(1) + "\nremove=true\nallowed_ip=10.3.0.0/16\npublic_key=" + key(1) +
                "\nallowed_ip=10.4.0.0/16\n"),
            0);
  EXPECT_EQ(allowed_ips_of(key(1)), "10.4.0.0/16") << "a new peer under the old key";
  EXPECT_EQ(set("public_key=" + key(1) + "\nremove=true\n"), 0);
  EXPECT_EQ(tunnel_.peers().size(), 0u);
}

TEST_F(Uapi, ReplacePeersRemovesThemWhereItStands) {  // U-06
  ASSERT_EQ(set("public_key=" + key(1) + "\nallowed_ip=10.0.0.0/8\npublic_key=" + key(2) + "\n"), 0);
  EXPECT_EQ(set("fwmark=1\nreplace_peers=true\nfwmark=2\npublic_key=" + key(3) + "\nallowed_ip=10.0.0.0/8\n"), 0);
  EXPECT_EQ(tunnel_.peers().size(), 1u);
  EXPECT_EQ(allowed_ips_of(key(3)), "10.0.0.0/8");
}

TEST_F(Uapi, ReplaceAllowedIpsRemovesThemWhereItStands) {  // U-06
  EXPECT_EQ(
      set("public_key=" + key(1) + "\nallowed_ip=10.1.0.0/16\nreplace_allowed_ips=true\nallowed_ip=10.2.0.0/16\n" +
          "public_key=" + key(2) + "\nallowed_ip=10.3.0.0/16\n"),
      0);
  EXPECT_EQ(allowed_ips_of(key(1)), "10.2.0.0/16");
  EXPECT_EQ(set("public_key=" + key(2) + "\nreplace_allowed_ips=true\n"), 0);
  EXPECT_EQ(allowed_ips_of(key(1)), "10.2.0.0/16");
  EXPECT_EQ(allowed_ips_of(key(2)), "");
}

TEST_F(Uapi, AllowedIpsAreListedInTheOrderOfTheirLastInsertion) {
  EXPECT_EQ(set("public_key=" + key(1) +
                "\nallowed_ip=10.3.0.1/16\nallowed_ip=::/0\nallowed_ip=10.1.0.0/16\nallowed_ip=0.0.0.0/0\n"),
            0);
  EXPECT_EQ(allowed_ips_of(key(1)), "10.3.0.0/16 ::/0 10.1.0.0/16 0.0.0.0/0");
  EXPECT_EQ(set("public_key=" + key(1) + "\nallowed_ip=10.3.255.255/16\n"), 0);
  EXPECT_EQ(allowed_ips_of(key(1)), "::/0 10.1.0.0/16 0.0.0.0/0 10.3.0.0/16");
}

TEST_F(Uapi, AnAllowedIpMovesToWhoeverNamesItLast) {
  EXPECT_EQ(set("public_key=" + key(1) + "\nallowed_ip=10.1.0.0/16\nallowed_ip=10.2.0.0/16\npublic_key=" + key(2) +
                "\nallowed_ip=10.1.0.0/16\n"),
            0);
  EXPECT_EQ(allowed_ips_of(key(1)), "10.2.0.0/16");
  EXPECT_EQ(allowed_ips_of(key(2)), "10.1.0.0/16");
}

TEST_F(Uapi, AMinusRemovesExactlyThatPrefixOfItsOwner) {
  ASSERT_EQ(set("public_key=" + key(1) + "\nallowed_ip=10.1.0.0/16\nallowed_ip=10.0.0.0/8\npublic_key=" + key(2) +
                "\nallowed_ip=10.2.0.0/16\n"),
            0);
  EXPECT_EQ(
      set("public_key=" + key(1) + "\nallowed_ip=-10.1.2.3/16\nallowed_ip=-10.2.0.0/16\nallowed_ip=-10.0.0.0/9\n"), 0);
  EXPECT_EQ(allowed_ips_of(key(1)), "10.0.0.0/8");
  EXPECT_EQ(allowed_ips_of(key(2)), "10.2.0.0/16");
}

TEST_F(Uapi, TheOwnKeyAsPeerIsAccepted) {  // U-07
  const std::string own = hex_of_public_key(key(9));
  ASSERT_EQ(set("private_key=" + key(9) + "\n"), 0);
  EXPECT_EQ(
      set("public_key=" + own + "\nallowed_ip=10.0.0.0/8\nendpoint=192.0.2.1:1\npersistent_keepalive_interval=5\n" +
          "preshared_key=" + key(1) + "\nreplace_allowed_ips=true\npublic_key=" + key(2) + "\n"),
      0);
  EXPECT_EQ(tunnel_.peers().size(), 1u);
  EXPECT_EQ(set("public_key=" + own + "\nallowed_ip=10.0.0.0/33\n"), -EINVAL) << "values are looked at all the same";
  EXPECT_EQ(set("public_key=" + own + "\nremove=true\n"), 0);
  EXPECT_EQ(set("public_key=" + own + "\nupdate_only=true\n"), 0);
}

TEST_F(Uapi, AKeyThatBecomesOurOwnRemovesItsPeer) {  // U-07
  const std::string own = hex_of_public_key(key(9));
  ASSERT_EQ(set("public_key=" + own + "\nallowed_ip=10.0.0.0/8\npublic_key=" + key(2) + "\n"), 0);
  EXPECT_EQ(set("private_key=" + key(9) + "\n"), 0);
  EXPECT_EQ(tunnel_.peers().size(), 1u);
  EXPECT_EQ(allowed_ips_of(own), "no such peer");
}

TEST_F(Uapi, ThePrivateKeyIsShownClamped) {  // U-08
  EXPECT_EQ(set("private_key=" + std::string(64, 'f') + "\n"), 0);
  EXPECT_EQ(get(), "private_key=f8" + std::string(60, 'f') + "7f\n");
  EXPECT_EQ(set("private_key=" + kZero + "\n"), 0);
  EXPECT_EQ(get(), "");
}

TEST_F(Uapi, APresharedKeyOfZerosIsNone) {  // U-09
  ASSERT_EQ(set("public_key=" + key(1) + "\npreshared_key=" + key(5) + "\n"), 0);
  EXPECT_EQ(set("public_key=" + key(1) + "\npreshared_key=" + kZero + "\n"), 0);
  EXPECT_TRUE(contains(get(), "preshared_key=" + kZero));
}

TEST_F(Uapi, ManyAllowedIps) {  // U-10
  constexpr unsigned kPeers = 512, kEach = 255;
  std::string request = "set=1\nreplace_peers=true\n";
  for (unsigned p = 0; p < kPeers; ++p) {
    request += "public_key=" + key(p) + "\nreplace_allowed_ips=true\n";
    for (unsigned i = 0; i < kEach; ++i)
      request += "allowed_ip=" + std::to_string(10 + p / 256) + "." + std::to_string(p % 256) + "." +
                 std::to_string(i) + ".0/24\n";
  }
  request += "\n";
  std::string reply;
  for (size_t at = 0; at < request.size(); at += 65536)  // as a socket would hand it over
    ASSERT_TRUE(session_.feed(std::string_view(request).substr(at, 65536), reply));
  EXPECT_EQ(reply, "errno=0\n\n");
  gateway_.step();
  const std::string dump = get();
  EXPECT_EQ(count(dump, "allowed_ip="), 130'560u);
  EXPECT_EQ(count(dump, "public_key="), kPeers);
  EXPECT_TRUE(contains(dump, "allowed_ip=11.255.253.0/24\nallowed_ip=11.255.254.0/24\n"));
  EXPECT_EQ(set("replace_peers=true\n"), 0);
  EXPECT_EQ(get(), "");
}

TEST_F(Uapi, MorePeersThanThereIsRoomForAreRefused) {
  std::string lines;
  for (unsigned p = 0; p < 4096; ++p) lines += "public_key=" + key(p) + "\n";
  EXPECT_EQ(set(lines), 0);
  EXPECT_EQ(set("public_key=" + key(5000) + "\n"), -ENOMEM);
  EXPECT_EQ(tunnel_.peers().size(), 4096u);
}

TEST_F(Uapi, TheReplyToASetComesInOnePieceAtItsEnd) {  // U-14
  std::string output;
  const std::string request = "set=1\nfwmark=1\nbad=1\npublic_key=" + key(1) + "\n\n";
  for (size_t i = 0; i < request.size(); ++i) {
    EXPECT_EQ(output, "");
    ASSERT_TRUE(session_.feed(request.substr(i, 1), output));
  }
  EXPECT_EQ(output, "errno=-22\n\n");
}

TEST_F(Uapi, WgctrlsRequest) {  // U-18
  ASSERT_EQ(set("public_key=" + key(3) + "\n"), 0);
  EXPECT_EQ(
      set("private_key=" + key(9) + "\nlisten_port=12912\nfwmark=0\nreplace_peers=true\npublic_key=" + key(1) +
          "\npreshared_key=" + key(7) + "\nendpoint=[abcd:23::33%2]:51820\nreplace_allowed_ips=true\n" +
          "allowed_ip=192.168.4.4/32\npublic_key=" + key(2) + "\nupdate_only=true\nendpoint=182.122.22.19:3233\n" +
          "persistent_keepalive_interval=111\nreplace_allowed_ips=true\nallowed_ip=192.168.4.6/32\npublic_key=" +
          key(3) + "\nremove=true\n"),
      0);
  EXPECT_EQ(tunnel_.peers().size(), 1u);
}

TEST_F(Uapi, AScopeIsShownAsItsInterface) {
  EXPECT_EQ(set("public_key=" + key(1) + "\nendpoint=[fe80::1%1]:5\n"), 0);
  EXPECT_TRUE(contains(get(), "endpoint=[fe80::1%lo]:5\n"));
  EXPECT_EQ(set("public_key=" + key(1) + "\nendpoint=[fe80::2%lo]:6\n"), 0);
  EXPECT_TRUE(contains(get(), "endpoint=[fe80::2%lo]:6\n"));
  EXPECT_EQ(set("public_key=" + key(1) + "\nendpoint=[fe80::2%nosuch]:6\n"), -EINVAL);
}

TEST_F(Uapi, PipelinedOperationsAreAllAnswered) {
  EXPECT_EQ(ask("set=1\nfwmark=1\n\nget=1\n\nset=1\nbad\nfwmark=3\n\nget=1\n\n"),
            "errno=0\n\nfwmark=1\nerrno=0\n\nerrno=-71\n\nfwmark=1\nerrno=0\n\n");
}

TEST_F(Uapi, AfterAFailedSetTheNextOneStartsAfresh) {
  ASSERT_EQ(set("public_key=" + key(1) + "\nbad=1\n"), -EINVAL);
  EXPECT_EQ(set("fwmark=4\n"), 0) << "a device's key: no peer is selected any more";
}

TEST_F(Uapi, WhatIsNoOperationEndsTheConversation) {
  for (const char* first : {"\n", "get=2\n", "set=1 \n", "SET=1\n", "hello\n"}) {
    UapiSession session(tunnel_);
    std::string output;
    EXPECT_FALSE(session.feed(first, output)) << first;
    EXPECT_EQ(output, "") << first;
  }
}

TEST_F(Uapi, GetHasToBeFollowedByAnEmptyLine) {
  EXPECT_EQ(ask("get=1\nfwmark=1\n"), "errno=-22\n\n");
  EXPECT_FALSE(open_);
}

TEST_F(Uapi, ALineWithoutEndEndsTheConversation) {  // U-17
  std::string output;
  ASSERT_TRUE(session_.feed("set=1\nallowed_ip=", output));
  bool open = true;
  size_t fed = 0;
  for (; open && fed < 100'000; fed += 100) open = session_.feed(std::string(100, '1'), output);
  EXPECT_FALSE(open);
  EXPECT_LE(fed, UapiSession::kMaxLine + 100);
  EXPECT_EQ(output, "");
  UapiSession another(tunnel_);
  EXPECT_FALSE(another.feed("set=1\nallowed_ip=" + std::string(UapiSession::kMaxLine, '1') + "\n\n", output));
}

TEST_F(Uapi, HalfASetIsAppliedUpToItsLastWholeLine) {  // U-16
  std::string output;
  {
    UapiSession gone(tunnel_);
    ASSERT_TRUE(gone.feed("set=1\nfwmark=5\nlisten_port=77", output));
  }
  EXPECT_EQ(get(), "fwmark=5\n");
}

TEST_F(Uapi, APeerMayVanishWhileItIsBeingSet) {
  UapiSession slow(tunnel_);
  std::string output;
  ASSERT_TRUE(slow.feed("set=1\npublic_key=" + key(1) + "\nallowed_ip=10.1.0.0/16\n", output));
  EXPECT_EQ(set("public_key=" + key(1) + "\nremove=true\n"), 0);
  for (int i = 0; i < 4; ++i) gateway_.step();  // beyond its grace period
  ASSERT_TRUE(slow.feed("endpoint=192.0.2.1:1\nallowed_ip=10.2.0.0/16\npreshared_key=" + key(2) + "\n\n", output));
  EXPECT_EQ(output, "errno=0\n\n");
  EXPECT_EQ(tunnel_.peers().size(), 0u);
  EXPECT_EQ(get(), "");
}

TEST_F(Uapi, SwitchingKeepaliveOnSendsOneAtTheEndOfTheBlock) {  // T-14, I-02
  UapiSession session(gateway_.tunnel());
  std::string output;
  ASSERT_TRUE(session.feed("set=1\nprivate_key=" + key(9) + "\npublic_key=" + hex_of_public_key(key(8)) +
                               "\npersistent_keepalive_interval=25\nendpoint=198.51.100.2:51820\n",
                           output));
  gateway_.step();
  EXPECT_EQ(gateway_.wan().receive(), std::nullopt) << "the block has not ended";
  ASSERT_TRUE(session.feed("\n", output));
  gateway_.step();
  gateway_.step();
  const auto frame = gateway_.wan().receive();
  ASSERT_TRUE(frame);
  EXPECT_EQ(type_of(*frame), MessageType::kInitiation);
  EXPECT_EQ(gateway_.drop_names(), std::vector<std::string>{});
}

}  // namespace
}  // namespace sluice::test
