#include "dataplane/session/peer_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace sluice {
namespace {

std::unique_ptr<Peer> peer_in(PeerTable& table) {
  auto peer = std::make_unique<Peer>();
  peer->id = table.reserve().value();
  table.publish(peer.get());
  return peer;
}

TEST(PeerTable, FindsWhatIsPublished) {
  PeerTable table(4);
  const auto a = peer_in(table), b = peer_in(table);
  EXPECT_EQ(table.find(a->id), a.get());
  EXPECT_EQ(table.find(b->id), b.get());
  EXPECT_EQ(table.at(a->id.slot), a.get());
}

TEST(PeerTable, UnknownIdsMiss) {
  PeerTable table(2);
  EXPECT_EQ(table.find(PeerId{}), nullptr);
  EXPECT_EQ(table.find(PeerId{0, 0}), nullptr);
  EXPECT_EQ(table.at(0), nullptr);
  EXPECT_EQ(table.at(2), nullptr);           // just beyond the table
  EXPECT_EQ(table.at(UINT32_MAX), nullptr);  // what a prefix look-up gives when nothing matches
  const PeerId reserved = table.reserve().value();
  EXPECT_EQ(table.find(reserved), nullptr);  // reserved, not published
}

TEST(PeerTable, WithdrawnSlotIsNotReusedBeforeRelease) {
  PeerTable table(1);
  const auto a = peer_in(table);
  table.withdraw(a->id);
  EXPECT_EQ(table.find(a->id), nullptr);
  EXPECT_FALSE(table.reserve());  // the grace period still runs
  table.release(a->id);
  EXPECT_TRUE(table.reserve());
}

TEST(PeerTable, StaleIdMissesTheNextPeerOfItsSlot) {
  PeerTable table(1);
  const auto a = peer_in(table);
  table.withdraw(a->id);
  table.release(a->id);
  const auto b = peer_in(table);
  ASSERT_EQ(b->id.slot, a->id.slot);
  EXPECT_NE(b->id.generation, a->id.generation);
  EXPECT_EQ(table.find(a->id), nullptr);
  EXPECT_EQ(table.find(b->id), b.get());
  table.withdraw(a->id);  // a stale id withdraws nobody
  EXPECT_EQ(table.find(b->id), b.get());
}

TEST(PeerTable, FullIsAnAnswer) {
  PeerTable table(3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(table.reserve());
  EXPECT_FALSE(table.reserve());
}

}  // namespace
}  // namespace sluice
