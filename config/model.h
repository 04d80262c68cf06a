// The configuration as values: what load() (load.h) makes of a TOML file, validated as a whole. Nobody changes a model
// after it was loaded; control keeps the running one as shared_ptr<const Model>, and a reload compares two (diff.h).
// Names of fields are the TOML keys with `_` for `-`; each comment gives what is allowed and the default.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/base/keys.h"
#include "dataplane/base/net.h"

namespace sluice::config {

// 1-based, as editors count; line 0: not from a file.
struct Position {
  uint32_t line = 0;
  uint32_t column = 0;
  auto operator<=>(const Position&) const = default;
};

// Where a table and its fields stand in the file, so that whoever finds something wrong with a value later (validation,
// starting a port) can still point at it. Takes no part in comparisons. Keys are the TOML keys, string literals. Of a
// peer only the table is left once the file was found sound: there are many of them, and nothing more to say.
class Origin {
 public:
  static constexpr uint32_t kWhole = 0xffffffff;  // the field itself, not one of its array's elements

  Origin() = default;
  explicit Origin(Position table) : table_(table) {}
  void note(std::string_view key, Position at, uint32_t index = kWhole) { fields_.push_back({key, index, at}); }
  void expect(size_t fields) { fields_.reserve(fields); }
  void forget_fields() { fields_ = std::vector<Field>(); }
  bool has(std::string_view key) const;
  // The element's place, else the field's, else the table's: always the nearest that is known.
  Position of(std::string_view key, uint32_t index = kWhole) const;
  Position table() const { return table_; }

 private:
  struct Field {
    std::string_view key;
    uint32_t index;
    Position at;
  };
  Position table_;
  std::vector<Field> fields_;
};

inline constexpr size_t kMaxWorkers = 128;     // DPDK's lcores as Debian builds it
inline constexpr unsigned kMinMtu = 1280;      // what IPv6 asks of every link
inline constexpr unsigned kMaxPortMtu = 9216;  // jumbo frames
inline constexpr unsigned kOverheadIpv4 = 60;  // IPv4 20, UDP 8, message header 16, tag 16
inline constexpr unsigned kOverheadIpv6 = 80;
inline constexpr unsigned kMaxTunnelMtu = kMaxPortMtu - kOverheadIpv4;

enum class Idle : uint8_t {
  kPoll,      // workers never sleep
  kAdaptive,  // workers sleep when idle and wake on traffic
};

enum class Hugepages : uint8_t {
  kAuto,  // used when the machine has them
  kOff,
};

// [gateway], the whole table is optional.
struct Gateway {
  std::string name = "sluice";    // 1..63 of A-Z a-z 0-9 . _ -; names the API socket
  std::vector<unsigned> workers;  // CPUs, one worker each; default all but the lowest, which is for Linux and control;
                                  // the only one where there is no other. Once loaded 1..kMaxWorkers
  Idle idle = Idle::kAdaptive;    // "poll" | "adaptive"
  bool spread = true;             // workers with time to spare help one that is saturated with its packets' cipher
  std::string engine = "auto";    // "auto" or an engine's name; whether this CPU has it is known at start
  Hugepages hugepages = Hugepages::kAuto;  // "auto" | "off"
  uint32_t memory = 0;  // MiB for packet buffers and tables, 64..1048576; 0: what ports and workers need
  std::string run_directory = "/run/sluice";  // absolute; holds NAME.sock
  Origin origin;

  std::string socket_path() const { return run_directory + "/" + name + ".sock"; }
};

enum class DeviceKind : uint8_t {
  kPci,         // pci:0000:3b:00.0
  kAfPacket,    // af_packet:eth1
  kAfXdp,       // af_xdp:eth1
  kMemif,       // memif:/run/x.sock,role=client
  kVhost,       // vhost:/path
  kVirtioUser,  // virtio_user:/path
  kTap,         // tap:NAME
  kRing,        // ring:NAME
  kPcap,        // pcap:IN,OUT
  kNull,        // null
  kDpdk,        // any other DPDK virtual device by its own name, passed on as it is: net_bonding0
};
inline constexpr unsigned kDeviceKinds = 11;

struct Device {
  DeviceKind kind = DeviceKind::kNull;
  std::string argument;  // what follows "kind:"; for kDpdk the device's name; for kPci in full, lower case
  bool operator==(const Device&) const = default;
};
std::string_view name_of(DeviceKind kind);    // "af_packet"; "dpdk" for kDpdk
std::string to_string(const Device& device);  // as in TOML
// The kernel interface that this device takes its packets from (af_packet, af_xdp), else empty.
std::string_view kernel_interface(const Device& device);

// Which sources a port believes (RFC 3704): those that a route leads back to, and whether by the same port.
enum class ReversePathFilter : uint8_t {
  kOff,
  kLoose,   // there is a route to the source
  kStrict,  // the route to the source leaves by the port that the packet came in by
};

enum class Steering : uint8_t {
  kAuto,  // data messages arrive at the worker that their receiver index names, where the device can do that
  kOff,
};

enum class BondMode : uint8_t {
  kActiveBackup,  // one member carries everything; another takes over when its link goes down
  kLacp,          // 802.3ad: all members carry, flow by flow, as agreed with the switch
};
inline constexpr size_t kMaxBondMembers = 8;

// [[port]]
struct Port {
  std::string name;                         // Linux interface name of the port's mirror: required
  Device device;                            // required, unless one of the next two is there
  std::string parent;                       // a port with a device: this one is a VLAN on its cable, which `vlan` names
  std::vector<Device> members;              // 2..8 devices that are one port (a bond)
  BondMode bond = BondMode::kActiveBackup;  // "active-backup" | "lacp"; with members only
  std::string devargs;                      // appended to the driver's own arguments, not interpreted
  std::vector<InterfaceAddress> addresses;  // put on the mirror
  uint16_t mtu = 1500;                      // of IP packets, kMinMtu..kMaxPortMtu
  uint16_t queues = 0;                      // receive queues, 1..64; 0: one per worker
  Steering steering = Steering::kAuto;      // "auto" | "off"
  ReversePathFilter reverse_path_filter = ReversePathFilter::kOff;  // "off" | "loose" | "strict"
  std::optional<uint16_t> vlan;  // 1..4094: the 802.1Q tag of all its frames; none: they carry none
  Origin origin;
};

// [[route]]: at least one of via and dev.
struct Route {
  Prefix to;                     // required
  std::optional<IpAddress> via;  // of the same family as `to`
  std::string dev;               // a port's or tunnel's name; empty: Linux chooses by `via`
  Origin origin;

  bool operator==(const Route& other) const { return to == other.to && via == other.via && dev == other.dev; }
};
std::string to_string(const Route& route);  // as `ip route` writes it: "10.0.0.0/8 via 192.0.2.1 dev wan"

// A remote's address as written: numeric (no brackets around IPv6 here) or a name that control resolves, again and
// again.
struct HostPort {
  std::string host;
  uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
};
std::string to_string(const HostPort& endpoint);  // brackets around IPv6, as parse_endpoint() (base/net.h) takes it

// [[tunnel.peer]]
struct Peer {
  std::string name;                  // optional, unique in its tunnel
  PublicKey public_key;              // required, unique in its tunnel: the peer's identity across reloads
  PresharedKey preshared_key;        // preshared-key or preshared-key-file; all zero: none
  std::string preshared_key_file;    // as written, for rendering; empty if the key stands in the TOML or there is none
  std::optional<HostPort> endpoint;  // none: learned from the peer's packets
  std::vector<Prefix> allowed_ips;  // host bits masked; in no other peer of the tunnel unless it has shared-allowed-ips
  uint16_t persistent_keepalive = 0;  // seconds, 1..65535 or "off"; 0: off
  Origin origin;

  std::string display_name() const { return name.empty() ? to_base64(public_key.bytes) : name; }
};

enum class RouteInstall : uint8_t {
  kAuto,  // kernel routes for every peer's allowed-ips on the tunnel's interface, as wg-quick does
  kOff,   // the operator or a routing daemon does it
};

// [[tunnel]]
struct Tunnel {
  std::string name;                         // Linux interface name of the tunnel's TUN: required
  PrivateKey private_key;                   // private-key or private-key-file: one is required. Clamped
  std::string private_key_file;             // as written, for rendering; empty if the key stands in the TOML
  uint16_t listen_port = 0;                 // 0..65535; 0: chosen at random at start
  std::vector<InterfaceAddress> addresses;  // put on the TUN
  std::optional<uint16_t> mtu;  // inner, kMinMtu..kMaxTunnelMtu, and small enough for the largest port; none, "auto":
                                // what the routes to the peers leave
  bool mss_clamp = false;       // TCP MSS of SYNs in and out is lowered to what the tunnel carries
  bool path_mtu_probe = false;  // paths to peers are measured by padded pings, so that none is a black hole
  std::optional<uint8_t> dscp = 0;  // of outer data packets, 0..63, "clear": 0; none, "copy": the inner packet's
  RouteInstall routes = RouteInstall::kAuto;  // "auto" | "off"
  // Peers may have the same allowed-ips; a route via a peer's own address in the tunnel chooses it.
  bool shared_allowed_ips = false;
  uint32_t fwmark = 0;  // of outer packets, as policy rules see them; "off" or 0: none
  std::vector<Peer> peers;
  Origin origin;
};

struct Model {
  std::string file;  // the path it was loaded from
  Gateway gateway;
  std::vector<Port> ports;
  std::vector<Route> routes;
  std::vector<Tunnel> tunnels;
};

}  // namespace sluice::config
