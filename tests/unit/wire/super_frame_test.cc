#include "dataplane/wire/super_frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "dataplane/wire/tcp.h"
#include "tests/support/hex.h"
#include "tests/support/vectors.h"

namespace sluice {
namespace {

using namespace test;
using Packets = std::vector<std::vector<std::byte>>;

struct Case {
  std::string name;
  VnetHeader header;
  std::vector<std::byte> packet;
  Packets segments;
  bool merges;
};

std::vector<Case> cases() {
  const auto vectors = load_vectors("super_frames.json");
  std::vector<Case> all;
  for (const auto& c : vectors["cases"]) {
    Case one{c["name"], {}, from_hex(c["packet"].get<std::string>()), {}, c["merges"]};
    one.header = {.flags = VnetHeader::kNeedsChecksum,
                  .type = c["type"],
                  .segment_size = c["segment_size"],
                  .checksum_start = c["checksum_start"],
                  .checksum_offset = c["checksum_offset"]};
    for (const auto& segment : c["segments"]) one.segments.push_back(from_hex(segment.get<std::string>()));
    all.push_back(std::move(one));
  }
  return all;
}

Packets cut(const Segmentation& plan) {
  Packets segments;
  for (unsigned i = 0; i < plan.count(); ++i) {
    segments.emplace_back(plan.size(i));
    plan.write(i, segments.back());
  }
  return segments;
}

// What the groups stand for, as the port writes them.
struct Merged {
  std::vector<VnetHeader> headers;
  Packets packets;
};
Merged merge(Packets& packets, bool udp = true) {
  const std::vector<Bytes> views(packets.begin(), packets.end());
  Coalescer coalescer;
  Merged merged;
  for (const Coalescer::Group& group : coalescer.coalesce(views, udp)) {
    std::vector<std::byte> whole = packets[group.first];
    unsigned count = 1;
    for (uint8_t p = group.first; p != group.last; ++count) {
      p = coalescer.next(p);
      whole.insert(whole.end(), packets[p].begin() + group.headers, packets[p].end());
    }
    EXPECT_EQ(count, group.count);
    merged.headers.push_back(group.header);
    merged.packets.push_back(std::move(whole));
  }
  return merged;
}

TEST(Segmentation, GivesTheSegmentsThatScapySays) {
  size_t seen = 0;
  for (Case& c : cases()) {
    const auto plan = Segmentation::plan(c.header, c.packet);
    ASSERT_TRUE(plan) << c.name;
    EXPECT_EQ(cut(*plan), c.segments) << c.name;
    ++seen;
  }
  EXPECT_EQ(seen, 10u);
}

TEST(Segmentation, APacketThatIsNotCutGetsItsChecksumOnly) {
  for (Case& c : cases()) {
    VnetHeader header = c.header;
    header.type = VnetHeader::kNone;
    std::vector<std::byte> packet = c.packet;
    const auto plan = Segmentation::plan(header, packet);
    ASSERT_TRUE(plan) << c.name;
    const Packets one = cut(*plan);
    ASSERT_EQ(one.size(), 1u);
    const bool ipv4 = version_of(one[0]) == Family::kIpv4;
    const ConstBytes l4 = ConstBytes(one[0]).subspan(ipv4 ? 20 : 40);
    const uint8_t protocol = static_cast<uint8_t>(one[0][ipv4 ? 9 : 6]);
    EXPECT_EQ(transport_checksum(source_of(one[0]), destination_of(one[0]), protocol, l4), 0) << c.name;
    const auto differences = std::inner_product(one[0].begin(), one[0].end(), c.packet.begin(), 0, std::plus<>(),
                                                [](std::byte a, std::byte b) { return a != b ? 1 : 0; });
    EXPECT_LE(differences, 2) << c.name;
  }
}

TEST(Segmentation, RefusesWhatContradictsThePacket) {
  const std::vector<Case> all = cases();
  for (const Case& c : all) {
    const auto refused = [&](auto change) {
      VnetHeader header = c.header;
      std::vector<std::byte> packet = c.packet;
      change(header, packet);
      return !Segmentation::plan(header, packet);
    };
    EXPECT_TRUE(refused([](VnetHeader& h, auto&) { h.segment_size = 0; })) << c.name;
    EXPECT_TRUE(refused([](VnetHeader& h, auto&) { h.type = 2; })) << c.name;
    EXPECT_TRUE(refused([](VnetHeader& h, auto&) { h.checksum_start = 8; })) << c.name;
    EXPECT_TRUE(refused([](VnetHeader& h, auto&) { h.checksum_start = UINT16_MAX; })) << c.name;
    EXPECT_TRUE(refused([](VnetHeader& h, auto& p) { h.checksum_start = static_cast<uint16_t>(p.size() - 4); }))
        << c.name;
    EXPECT_TRUE(refused([](VnetHeader&, auto& p) { p.resize(28); })) << c.name;
    EXPECT_TRUE(refused([](VnetHeader&, auto& p) { p[0] = std::byte{0x55}; })) << c.name;
    EXPECT_FALSE(refused([](VnetHeader&, auto&) {})) << c.name;
  }
}

TEST(Coalescer, PutsTogetherWhatWasCut) {
  for (Case& c : cases()) {
    Packets segments = c.segments;
    const Merged merged = merge(segments);
    if (!c.merges) {
      EXPECT_GT(merged.packets.size(), 1u) << c.name;
      continue;
    }
    ASSERT_EQ(merged.packets.size(), 1u) << c.name;
    EXPECT_EQ(merged.packets[0], c.packet) << c.name;
    EXPECT_EQ(merged.headers[0].type, c.header.type) << c.name;
    EXPECT_EQ(merged.headers[0].flags, VnetHeader::kNeedsChecksum) << c.name;
    EXPECT_EQ(merged.headers[0].segment_size, c.header.segment_size) << c.name;
    EXPECT_EQ(merged.headers[0].checksum_start, c.header.checksum_start) << c.name;
    EXPECT_EQ(merged.headers[0].checksum_offset, c.header.checksum_offset) << c.name;
  }
}

bool same_flow(ConstBytes a, ConstBytes b) {
  const size_t l4 = version_of(a) == Family::kIpv4 ? 20 : 40;
  return version_of(a) == version_of(b) && std::ranges::equal(a.subspan(l4, 4), b.subspan(l4, 4));
}

// Whatever is put together and cut again is what came in, of interleaved flows in the order of each.
TEST(Coalescer, FlowsBetweenEachOtherKeepTheirOrder) {
  const std::vector<Case> all = cases();
  Packets packets;
  for (size_t row = 0; row < 5; ++row)
    for (const Case& c : all)
      if (row < c.segments.size()) packets.push_back(c.segments[row]);
  const Packets before = packets;
  Merged merged = merge(packets);
  EXPECT_LT(merged.packets.size(), before.size());
  Packets after;
  for (size_t i = 0; i < merged.packets.size(); ++i) {
    const auto plan = Segmentation::plan(merged.headers[i], merged.packets[i]);
    ASSERT_TRUE(plan);
    for (auto& segment : cut(*plan)) after.push_back(std::move(segment));
  }
  EXPECT_EQ(after.size(), before.size());
  for (const Case& c : all) {
    const auto of_flow = [&](const Packets& packets_of_all) {
      Packets out;
      std::ranges::copy_if(packets_of_all, std::back_inserter(out),
                           [&](const auto& p) { return same_flow(p, c.packet); });
      return out;
    };
    EXPECT_EQ(of_flow(before), of_flow(after)) << c.name;
  }
}

TEST(Coalescer, LeavesApartWhatDiffers) {
  const std::vector<Case> all = cases();
  const Case& tcp = *std::find_if(all.begin(), all.end(), [](const Case& c) { return c.name == "tcp6-even"; });
  const auto parts = [&](auto change) {
    Packets two{tcp.segments[0], tcp.segments[1]};
    change(two);
    return merge(two).packets.size();
  };
  const auto reseal = [](std::vector<std::byte>& p) {  // a checksum that is right again
    auto* header = reinterpret_cast<TcpHeader*>(p.data() + 40);
    header->checksum = uint16_t{0};
    header->checksum = transport_checksum(source_of(p), destination_of(p), 6, ConstBytes(p).subspan(40));
  };
  EXPECT_EQ(parts([](Packets&) {}), 1u);
  EXPECT_EQ(parts([](Packets& p) { p[1][60] ^= std::byte{1}; }), 2u) << "a bad checksum, second";
  EXPECT_EQ(parts([](Packets& p) { p[0][60] ^= std::byte{1}; }), 2u) << "a bad checksum, first";
  EXPECT_EQ(parts([](Packets& p) { std::swap(p[0], p[1]); }), 2u) << "out of order";
  for (const size_t at : {40 + 3, 40 + 11, 40 + 15, 1, 7}) {  // port, acknowledgement, window, class, hop limit
    EXPECT_EQ(parts([&](Packets& p) {
                p[1][at] ^= std::byte{0x10};
                reseal(p[1]);
              }),
              2u)
        << at;
  }
  EXPECT_EQ(parts([&](Packets& p) {
              p[0][40 + 13] |= std::byte{TcpHeader::kPsh};
              reseal(p[0]);
            }),
            2u)
      << "pushed";
  EXPECT_EQ(parts([&](Packets& p) {
              p[1][40 + 13] |= std::byte{TcpHeader::kUrg};
              reseal(p[1]);
            }),
            2u)
      << "urgent";
}

TEST(Coalescer, UdpOnlyWhereTheKernelTakesIt) {
  for (const Case& c : cases()) {
    if (c.header.type != VnetHeader::kUdp) continue;
    Packets segments = c.segments;
    EXPECT_EQ(merge(segments, false).packets, c.segments) << c.name;
  }
}

}  // namespace
}  // namespace sluice
