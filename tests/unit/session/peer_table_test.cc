#include "dataplane/session/peer_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace sluice {
namespace {

Peer* peer_in(PeerTable& table) {
  Peer* peer = table.make();
  table.publish(*peer);
  return peer;
}

TEST(PeerTable, FindsWhatIsPublished) {
  PeerTable table(4);
  const Peer *a = peer_in(table), *b = peer_in(table);
  EXPECT_EQ(table.find(a->id), a);
  EXPECT_EQ(table.find(b->id), b);
  EXPECT_EQ(table.at(a->id.slot), a);
  EXPECT_EQ(table.bytes_in_use(), 2 * (sizeof(Peer) + sizeof(PeerRest)));
}

TEST(PeerTable, PeersLieInWholeLines) {
  PeerTable table(2);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(reinterpret_cast<uintptr_t>(table.make()) % alignof(Peer), 0u);
}

TEST(PeerTable, UnknownIdsMiss) {
  PeerTable table(2);
  EXPECT_EQ(table.find(PeerId{}), nullptr);
  EXPECT_EQ(table.find(PeerId{0, 0}), nullptr);
  EXPECT_EQ(table.at(0), nullptr);
  EXPECT_EQ(table.at(2), nullptr);                   // just beyond the table
  EXPECT_EQ(table.at(UINT32_MAX), nullptr);          // what a prefix look-up gives when nothing matches
  EXPECT_EQ(table.find(table.make()->id), nullptr);  // not published
}

TEST(PeerTable, WithdrawnSlotIsNotReusedBeforeItsPeerIsDestroyed) {
  PeerTable table(1);
  Peer* a = peer_in(table);
  table.withdraw(a->id);
  EXPECT_EQ(table.find(a->id), nullptr);
  EXPECT_EQ(table.make(), nullptr);  // the grace period still runs
  table.destroy(*a);
  EXPECT_EQ(table.bytes_in_use(), 0u);
  EXPECT_NE(table.make(), nullptr);
}

TEST(PeerTable, StaleIdMissesTheNextPeerOfItsSlot) {
  PeerTable table(1);
  Peer* a = peer_in(table);
  const PeerId stale = a->id;
  a->last_sent_any = 7;
  table.withdraw(stale);
  table.destroy(*a);
  const Peer* b = peer_in(table);
  ASSERT_EQ(b->id.slot, stale.slot);
  EXPECT_NE(b->id.generation, stale.generation);
  EXPECT_EQ(b->last_sent_any, 0) << "nothing is left of the one before";
  EXPECT_EQ(table.find(stale), nullptr);
  EXPECT_EQ(table.find(b->id), b);
  table.withdraw(stale);  // a stale id withdraws nobody
  EXPECT_EQ(table.find(b->id), b);
}

// A word of the table holds the bits of 64 peers.
TEST(PeerTable, NeighboursDoNotMind) {
  PeerTable table(130);
  std::vector<Peer*> peers;
  for (int i = 0; i < 130; ++i) peers.push_back(peer_in(table));
  for (size_t i = 0; i < peers.size(); i += 3) table.withdraw(peers[i]->id);
  for (size_t i = 0; i < peers.size(); ++i) EXPECT_EQ(table.find(peers[i]->id), i % 3 == 0 ? nullptr : peers[i]) << i;
}

TEST(PeerTable, FullIsAnAnswer) {
  PeerTable table(3);
  for (int i = 0; i < 3; ++i) EXPECT_NE(table.make(), nullptr);
  EXPECT_EQ(table.make(), nullptr);
}

}  // namespace
}  // namespace sluice
