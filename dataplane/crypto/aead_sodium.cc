#include "dataplane/crypto/aead_sodium.h"

#include <sodium.h>

#include "dataplane/crypto/primitives.h"

namespace sluice {
namespace {

unsigned char* raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
const unsigned char* raw(const std::byte* bytes) { return reinterpret_cast<const unsigned char*>(bytes); }

// libsodium forbids a null address, which an empty text may have; it then reads and writes nothing there.
unsigned char* address_of(std::span<std::byte> text) noexcept {
  static unsigned char nothing;
  return text.empty() ? &nothing : raw(text.data());
}

class SodiumEngine final : public AeadEngine {
 public:
  std::string_view name() const noexcept override { return kSodiumEngine; }

  void seal(std::span<SealJob> jobs, Sums sums) noexcept override {
    for (SealJob& job : jobs) {
      unsigned char* text = address_of(job.text);
      crypto_aead_chacha20poly1305_ietf_encrypt_detached(text, raw(job.tag), nullptr, text, job.text.size(), nullptr, 0,
                                                         nullptr, raw(aead_nonce(job.nonce).data()), job.key->data());
      if (sums == Sums::kWanted) add_up(std::span(&job, 1));
    }
  }

  void open(std::span<OpenJob> jobs, Sums sums) noexcept override {
    for (OpenJob& job : jobs) {
      if (sums == Sums::kWanted) add_up(std::span(&job, 1));
      unsigned char* text = address_of(job.text);
      job.ok = crypto_aead_chacha20poly1305_ietf_decrypt_detached(text, nullptr, text, job.text.size(), raw(job.tag),
                                                                  nullptr, 0, raw(aead_nonce(job.nonce).data()),
                                                                  job.key->data()) == 0;
      if (!job.ok) wipe(job.text);
    }
  }
};

}  // namespace

std::unique_ptr<AeadEngine> make_sodium_engine() { return std::make_unique<SodiumEngine>(); }

}  // namespace sluice
