#include "tests/bench/openssl_engine.h"

#include <openssl/evp.h>

#include "dataplane/base/handle.h"
#include "dataplane/crypto/primitives.h"

namespace sluice::bench {
namespace {

using Context = Handle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;

unsigned char* octets(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

// One context per direction, with the cipher set once: only key and nonce change from packet to packet.
class OpensslEngine final : public AeadEngine {
 public:
  OpensslEngine() : seal_(EVP_CIPHER_CTX_new()), open_(EVP_CIPHER_CTX_new()) {
    EVP_EncryptInit_ex(seal_.get(), EVP_chacha20_poly1305(), nullptr, nullptr, nullptr);
    EVP_DecryptInit_ex(open_.get(), EVP_chacha20_poly1305(), nullptr, nullptr, nullptr);
  }
  std::string_view name() const noexcept override { return "openssl"; }

  void seal(std::span<SealJob> jobs, Sums sums) noexcept override {
    for (SealJob& job : jobs) {
      const AeadNonce nonce = aead_nonce(job.nonce);
      int done = 0;
      unsigned char* text = octets(job.text.data());
      EVP_EncryptInit_ex(seal_.get(), nullptr, nullptr, job.key->data(),
                         reinterpret_cast<const unsigned char*>(nonce.data()));
      EVP_EncryptUpdate(seal_.get(), text, &done, text, static_cast<int>(job.text.size()));
      EVP_EncryptFinal_ex(seal_.get(), text + done, &done);
      EVP_CIPHER_CTX_ctrl(seal_.get(), EVP_CTRL_AEAD_GET_TAG, kTagSize, job.tag);
    }
    if (sums == Sums::kWanted) add_up(jobs);
  }

  void open(std::span<OpenJob> jobs, Sums sums) noexcept override {
    if (sums == Sums::kWanted) add_up(jobs);
    for (OpenJob& job : jobs) {
      const AeadNonce nonce = aead_nonce(job.nonce);
      int done = 0;
      unsigned char* text = octets(job.text.data());
      EVP_DecryptInit_ex(open_.get(), nullptr, nullptr, job.key->data(),
                         reinterpret_cast<const unsigned char*>(nonce.data()));
      EVP_CIPHER_CTX_ctrl(open_.get(), EVP_CTRL_AEAD_SET_TAG, kTagSize, const_cast<std::byte*>(job.tag));
      EVP_DecryptUpdate(open_.get(), text, &done, text, static_cast<int>(job.text.size()));
      job.ok = EVP_DecryptFinal_ex(open_.get(), text + done, &done) == 1;
    }
  }

 private:
  Context seal_, open_;
};

}  // namespace

std::unique_ptr<AeadEngine> make_openssl_engine() { return std::make_unique<OpensslEngine>(); }

}  // namespace sluice::bench
