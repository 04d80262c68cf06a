// One steering rule as DPDK's generic flow API has it (rte_flow.h): what it matches, and the queue that takes it.
#pragma once

#include <rte_flow.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/base/net.h"

namespace sluice {

// Data messages (type 4) of an outer family to a listen port whose receiver index has these lowest bits.
struct SteeringRule {
  Family family = Family::kIpv4;
  uint16_t listen_port = 0;
  uint32_t index = 0;  // within the mask
  uint32_t index_mask = 0;
  uint16_t queue = 0;

  bool operator==(const SteeringRule&) const = default;
};

// How a driver wants to be told of the bytes behind a UDP header, which have no name in the API. From the sources of
// DPDK's drivers; none of these NICs was at hand. (net_mlx5 has flexible items instead, on BlueField alone: not here.)
enum class RawForm : uint8_t {
  // ETH / IPV4 or IPV6 / UDP / RAW: the item holds the bytes behind the UDP header. net_i40e (flexible payload: an even
  // offset and length, at most two words that are masked in part), and what the API's documentation describes.
  kPayload,
  // RAW alone: the item holds a whole frame, and its mask, as hexadecimal digits. net_ice and net_iavf, whose own
  // parser of frames finds the headers in it ("protocol agnostic flow offloading").
  kFrameAsText,
};
RawForm raw_form_of(std::string_view driver) noexcept;

// What rte_flow_validate and rte_flow_create are given; points into itself. Items that matter to a driver only by
// being there have neither specification nor mask. Fragments match none: these NICs see packets of another kind in
// them, and have no UDP header to look at in most.
class FlowRule {
 public:
  FlowRule(const SteeringRule& rule, RawForm form);
  FlowRule(const FlowRule&) = delete;
  FlowRule& operator=(const FlowRule&) = delete;

  const rte_flow_attr* attributes() const noexcept { return &attributes_; }
  const rte_flow_item* pattern() const noexcept { return pattern_.data(); }
  const rte_flow_action* actions() const noexcept { return actions_.data(); }

 private:
  void match_payload(const SteeringRule& rule);
  void match_frame(const SteeringRule& rule);

  rte_flow_attr attributes_{};
  std::array<rte_flow_item, 5> pattern_{};
  std::array<rte_flow_action, 2> actions_{};
  rte_flow_item_udp udp_{}, udp_mask_{};
  rte_flow_item_raw raw_{}, raw_mask_{};
  rte_flow_action_queue queue_{};
  std::string bytes_, bytes_mask_;
};

}  // namespace sluice
