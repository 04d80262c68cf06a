// The text forms of single values, as the TOML file has them. Errors say what is wrong and what is allowed, without the
// field's name: the caller knows it. No file is read, no TOML is known here.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "config/model.h"
#include "dataplane/base/result.h"

namespace sluice::config {

Result<std::string> parse_gateway_name(std::string_view text);
Result<std::string> parse_engine_name(std::string_view text);  // its form; engines are known at start
Result<std::string> parse_absolute_path(std::string_view text);
Result<std::string> parse_interface_name(std::string_view text);  // as Linux allows: IFNAMSIZ, no slash, colon or space
Result<Device> parse_device(std::string_view text);
Result<std::string> parse_devargs(std::string_view text);
Result<InterfaceAddress> parse_own_address(std::string_view text);  // unicast, with a prefix length
Result<Prefix> parse_destination(std::string_view text);
Result<IpAddress> parse_gateway_address(std::string_view text);
Result<HostPort> parse_host_port(std::string_view text);
Result<Prefix> parse_allowed_ip(std::string_view text);  // as `wg`: a missing length means one host
Result<std::string> parse_peer_name(std::string_view text);
Result<PublicKey> parse_public_key(std::string_view text);

// Fields whose values are words.
template <class Enum>
struct Word {
  std::string_view text;
  Enum value;
};
inline constexpr std::array<Word<Idle>, 2> kIdleWords{{{"poll", Idle::kPoll}, {"adaptive", Idle::kAdaptive}}};
inline constexpr std::array<Word<Hugepages>, 2> kHugepagesWords{{{"auto", Hugepages::kAuto}, {"off", Hugepages::kOff}}};
inline constexpr std::array<Word<RouteInstall>, 2> kRoutesWords{
    {{"auto", RouteInstall::kAuto}, {"off", RouteInstall::kOff}}};
inline constexpr std::array<Word<ReversePathFilter>, 3> kReversePathWords{
    {{"off", ReversePathFilter::kOff}, {"loose", ReversePathFilter::kLoose}, {"strict", ReversePathFilter::kStrict}}};
inline constexpr std::array<Word<Steering>, 2> kSteeringWords{{{"auto", Steering::kAuto}, {"off", Steering::kOff}}};
inline constexpr std::array<Word<BondMode>, 2> kBondWords{
    {{"active-backup", BondMode::kActiveBackup}, {"lacp", BondMode::kLacp}}};
// Fields whose values are numbers or words.
inline constexpr std::array<Word<std::optional<uint16_t>>, 1> kMtuWords{{{"auto", std::nullopt}}};
inline constexpr std::array<Word<std::optional<uint8_t>>, 2> kDscpWords{{{"copy", std::nullopt}, {"clear", 0}}};

// The text in double quotes, as TOML: everything is escaped that would break or forge a line.
std::string in_quotes(std::string_view text);

// The same for messages: long text is cut.
std::string excerpt(std::string_view text);

// The candidate with the smallest edit distance, case ignored; empty if none is near enough to be meant.
std::string_view nearest(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace sluice::config
