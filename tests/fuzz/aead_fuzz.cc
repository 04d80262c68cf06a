// All AEAD engines do the same: the input is cut into a burst of messages, which every engine seals and opens, some of
// them damaged. Any difference in ciphertext, tag, verdict or resulting text ends the program.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/crypto/primitives.h"
#include "dataplane/crypto/select.h"
#include "tests/fuzz/require.h"

namespace sluice {
namespace {

// Takes bytes off the input's front; zero when there are none left.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> input) : rest_(input) {}
  bool empty() const { return rest_.empty(); }
  uint8_t byte() {
    const uint8_t value = rest_.empty() ? uint8_t{0} : rest_.front();
    if (!rest_.empty()) rest_ = rest_.subspan(1);
    return value;
  }
  std::vector<std::byte> bytes(size_t n) {
    const auto taken = std::as_bytes(rest_.first(std::min(n, rest_.size())));
    rest_ = rest_.subspan(taken.size());
    return {taken.begin(), taken.end()};
  }

 private:
  std::span<const uint8_t> rest_;
};

struct Message {
  Secret<32> key;
  uint64_t nonce = 0;
  size_t misalignment = 0;
  bool damaged = false;
  size_t damaged_bit = 0;
  std::vector<std::byte> text;
};

Message read_message(Reader& in) {
  Message m;
  std::ranges::fill(m.key.bytes(), static_cast<std::byte>(in.byte()));
  m.key.bytes()[0] = static_cast<std::byte>(in.byte());
  for (unsigned i = 0; i < 8; i += 4) m.nonce |= uint64_t{in.byte()} << (8 * i);
  m.misalignment = in.byte() % 64;
  m.damaged = (in.byte() & 3) == 0;
  m.damaged_bit = in.byte() * 37u;
  const size_t size = in.byte() * 8u + in.byte() % 8u;
  m.text = in.bytes(size);
  return m;
}

// What an engine made of the burst: texts and tags after sealing, verdicts and texts after opening.
struct Outcome {
  std::vector<std::vector<std::byte>> sealed, opened;
  std::vector<bool> ok;
};

Outcome process(AeadEngine& engine, const std::vector<Message>& messages) {
  Outcome outcome;
  std::vector<std::vector<std::byte>> buffers;
  std::vector<SealJob> seal;
  for (const Message& m : messages) {
    auto& buffer = buffers.emplace_back(m.misalignment + m.text.size() + kTagSize);  // exact: sanitizers see the end
    std::ranges::copy(m.text, buffer.begin() + static_cast<ptrdiff_t>(m.misalignment));
    const Bytes text = Bytes(buffer).subspan(m.misalignment, m.text.size());
    seal.push_back({&m.key, m.nonce, text, text.data() + text.size()});
  }
  engine.seal(seal, Sums::kWanted);

  std::vector<OpenJob> open;
  std::vector<uint32_t> arrived;  // their sums
  for (size_t i = 0; i < messages.size(); ++i) {
    const Bytes sealed = Bytes(buffers[i]).subspan(messages[i].misalignment);
    outcome.sealed.emplace_back(sealed.begin(), sealed.end());
    require(checksum_fold(seal[i].sum) == checksum_fold(checksum_add(sealed)), "a sealed message's sum is wrong");
    const size_t bit = messages[i].damaged_bit % (8 * sealed.size());
    if (messages[i].damaged) sealed[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    open.push_back({seal[i].key, seal[i].nonce, seal[i].text, seal[i].tag});
    arrived.push_back(checksum_add(sealed));
  }
  engine.open(open, Sums::kWanted);
  for (size_t i = 0; i < open.size(); ++i)
    require(checksum_fold(open[i].sum) == checksum_fold(arrived[i]), "an arrived message's sum is wrong");
  for (const OpenJob& job : open) {
    outcome.opened.emplace_back(job.text.begin(), job.text.end());
    outcome.ok.push_back(job.ok);
  }
  return outcome;
}

void require_right(const Outcome& outcome, const std::vector<Message>& messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    require(outcome.ok[i] == !messages[i].damaged, "a verdict is wrong");
    require(messages[i].damaged ? is_zero_constant_time(outcome.opened[i]) : outcome.opened[i] == messages[i].text,
            "an opened text is wrong");
  }
}

std::vector<std::unique_ptr<AeadEngine>> make_all() {
  require(crypto_init(), "no randomness");
  std::vector<std::unique_ptr<AeadEngine>> engines;
  for (const auto& name : available_engines()) engines.push_back(make_engine(name));
  require(engines.size() > 1, "there is only one");
  return engines;
}

}  // namespace
}  // namespace sluice

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  static const auto engines = make_all();
  Reader in({data, size});
  std::vector<Message> messages;
  while (!in.empty() && messages.size() < AeadEngine::kMaxBurst) messages.push_back(read_message(in));
  const Outcome expected = process(*engines.back(), messages);  // the reference comes last
  require_right(expected, messages);
  for (const auto& engine : engines) {
    const Outcome actual = process(*engine, messages);
    require(actual.sealed == expected.sealed, "sealed messages");
    require(actual.ok == expected.ok, "verdicts");
    require(actual.opened == expected.opened, "opened texts");
  }
  return 0;
}
