// Short notation for models in tests: text in, values out. Bad text stops the test.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/linux/fib_builder.h"
#include "control/linux/network_model.h"

namespace sluice::test {

inline IpAddress ip(std::string_view text) { return parse_address(text).value(); }
inline Prefix net(std::string_view text) { return parse_prefix(text).value(); }
inline Mac mac(std::string_view text) { return parse_mac(text).value(); }

// The interfaces that every test here has.
inline constexpr int kLo = 1, kWan = 2, kLan = 3, kWg0 = 4, kMgmt = 5;
inline const Mac kWanMac = mac("02:00:00:00:00:02"), kLanMac = mac("02:00:00:00:00:03");
inline const Mac kRouterMac = mac("02:aa:00:00:00:01"), kHostMac = mac("02:bb:00:00:00:05");

inline OwnInterfaces own_interfaces() {
  return {.ports = {{kWan, PortId(0)}, {kLan, PortId(1)}}, .tunnels = {{kWg0, TunnelId(0)}}};
}

inline void put_links(NetworkModel& model) {
  model.put_link({kLo, "lo", true, 65536, {}});
  model.put_link({kWan, "wan", true, 1500, kWanMac});
  model.put_link({kLan, "lan", true, 1500, kLanMac});
  model.put_link({kWg0, "wg0", true, 1420, {}});
  model.put_link({kMgmt, "mgmt", true, 1500, mac("02:00:00:00:00:05")});
}

inline Route via(std::string_view prefix, int interface, std::string_view gateway = {}, uint32_t metric = 0) {
  return {.prefix = net(prefix), .metric = metric, .hops = {{interface, gateway.empty() ? IpAddress{} : ip(gateway)}}};
}

inline Route of_type(std::string_view prefix, Route::Type type, Route::Table table = Route::Table::kMain) {
  return {.prefix = net(prefix), .table = table, .type = type};
}

inline void put_address(NetworkModel& model, int interface, std::string_view address) {
  model.put_address({.interface = interface, .address = parse_interface_address(address).value()});
}

inline void put_neighbour(NetworkModel& model, int interface, std::string_view address, const Mac& mac,
                          Neighbour::State state = Neighbour::State::kReachable) {
  model.put_neighbour({ip(address), interface}, {state, mac});
}

}  // namespace sluice::test
