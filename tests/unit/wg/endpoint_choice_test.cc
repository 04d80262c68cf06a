#include "control/wg/endpoint_choice.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice::test {
namespace {

class EndpointChoiceTest : public testing::Test {
 protected:
  static Endpoint at(const char* address) { return {*parse_address(address), 51820, 0}; }
  std::optional<Endpoint> resolved(std::vector<Endpoint> addresses, const Endpoint& current, bool answers = false) {
    return choice.on_resolved(std::move(addresses), current, answers, usable);
  }
  std::optional<Endpoint> unanswered(const Endpoint& current) { return choice.on_unanswered(current, usable); }

  const Endpoint a = at("192.0.2.1"), b = at("192.0.2.2"), c = at("2001:db8::3"), elsewhere = at("198.51.100.9");
  std::set<Endpoint> unreachable;
  EndpointChoice::Usable usable = [this](const Endpoint& e) { return !unreachable.contains(e); };
  EndpointChoice choice;
};

TEST_F(EndpointChoiceTest, TheFirstAnswerCountsUnlessThePeerIsThereAlready) {
  EXPECT_EQ(EndpointChoice().on_resolved({a, b}, {}, false, usable), a);
  EXPECT_EQ(EndpointChoice().on_resolved({a, b}, elsewhere, true, usable), a);
  EXPECT_EQ(EndpointChoice().on_resolved({a, b}, b, false, usable), std::nullopt);
}

TEST_F(EndpointChoiceTest, AddressesWithoutARouteComeLast) {
  unreachable = {a};
  EXPECT_EQ(resolved({a, b}, {}), b);
  unreachable = {a, b};
  EXPECT_EQ(EndpointChoice().on_resolved({a, b}, {}, false, usable), a) << "the way may appear later";
}

TEST_F(EndpointChoiceTest, ANewAddressCountsForAPeerThatIsSilent) {
  resolved({a}, {});
  EXPECT_EQ(resolved({b, c}, a, true), std::nullopt);
  EXPECT_EQ(resolved({a}, a), std::nullopt);
  EXPECT_EQ(resolved({b, c}, a), b);
}

TEST_F(EndpointChoiceTest, APeerThatHasMovedByItselfIsNotCalledBack) {
  resolved({a}, {});
  EXPECT_EQ(resolved({b}, elsewhere), std::nullopt);
}

TEST_F(EndpointChoiceTest, EveryAddressHasItsTurn) {
  EXPECT_EQ(unanswered(a), std::nullopt) << "nothing is known yet";
  resolved({a, b, c}, {});
  EXPECT_EQ(unanswered(a), b);
  EXPECT_EQ(unanswered(b), c);
  EXPECT_EQ(unanswered(c), a);
  unreachable = {b};
  EXPECT_EQ(unanswered(a), c);
  unreachable = {b, c};
  EXPECT_EQ(unanswered(a), std::nullopt);
}

TEST_F(EndpointChoiceTest, WhereItWasLastHeardIsOneOfThem) {
  resolved({a, b}, {});
  EXPECT_EQ(unanswered(elsewhere), a);
  EXPECT_EQ(unanswered(a), b);
  EXPECT_EQ(unanswered(b), elsewhere);
  EXPECT_EQ(unanswered(elsewhere), a);
}

TEST_F(EndpointChoiceTest, AnAddressThatTheNameHasLostIsLeft) {
  resolved({a}, {});
  EXPECT_EQ(resolved({b}, a, true), std::nullopt);
  EXPECT_EQ(unanswered(a), b);
}

}  // namespace
}  // namespace sluice::test
