#include "dataplane/crypto/aead_ipsecmb.h"

#include <intel-ipsec-mb.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "dataplane/base/handle.h"
#include "dataplane/wire/messages.h"

namespace sluice {
namespace {

using Manager = Handle<IMB_MGR, free_mb_mgr>;

using InitManager = void (*)(IMB_MGR*);

void init_auto(IMB_MGR* manager) { init_mb_mgr_auto(manager, nullptr); }

Manager make_manager(InitManager init) {
  Manager manager(alloc_mb_mgr(0));
  if (!manager) return nullptr;
  init(manager.get());
  if (imb_get_errno(manager.get()) != 0) return nullptr;  // instructions are missing
  return manager;
}

// What all jobs of one direction have in common.
IMB_JOB make_template([[maybe_unused]] IMB_MGR* manager, IMB_CIPHER_DIRECTION direction) {
  IMB_JOB job{};
  job.cipher_direction = direction;
  job.chain_order = direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
  job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
  job.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
  job.key_len_in_bytes = 32;
  job.iv_len_in_bytes = 12;
  job.auth_tag_output_len_in_bytes = kTagSize;
#if IMB_VERSION_NUM > IMB_VERSION(1, 3, 0)
  imb_set_session(manager, &job);  // later versions dispatch bursts by the suite number that this stores in the job
#endif
  return job;
}

// What the library derives from a key (Poly1305 key, keystream) it clears itself when built with SAFE_DATA, as Debian's
// is; what it is given, the engine wipes. Copies and wiping cost about 10 ns a packet, of 260 at 64 bytes.
class IpsecMbEngine final : public AeadEngine {
 public:
  explicit IpsecMbEngine(Manager manager)
      : manager_(std::move(manager)),
        seal_template_(make_template(manager_.get(), IMB_DIR_ENCRYPT)),
        open_template_(make_template(manager_.get(), IMB_DIR_DECRYPT)) {}

  std::string_view name() const noexcept override { return kIpsecMbEngine; }

  void seal(std::span<SealJob> jobs, Sums sums) noexcept override {
    in_batches(jobs, [&](std::span<SealJob> batch) {
      seal_batch(batch);
      if (sums == Sums::kWanted) add_up(batch);
    });
  }

  void open(std::span<OpenJob> jobs, Sums sums) noexcept override {
    in_batches(jobs, [&](std::span<OpenJob> batch) {
      if (sums == Sums::kWanted) add_up(batch);
      open_batch(batch);
    });
  }

 private:
  // Jobs per library call, at most 128. Measured from 8 to 128: no difference; 32 job structs are 6 KB of the L1 cache.
  static constexpr size_t kBatch = 32;
  static_assert(kBatch <= IMB_MAX_BURST_SIZE);

  // What the library reads and writes for one job besides the text. Wiped after each batch, hence no initialisers.
  struct alignas(64) Slot {
    std::array<std::byte, 48> key;  // a copy: the library's AVX2 code reads 16 bytes past a key, perhaps past its page
    std::array<std::byte, 4> nonce_prefix;  // always zero
    le64 nonce_counter;
    std::array<std::byte, kTagSize> tag;  // open: what the tag should be
  };
  static_assert(offsetof(Slot, nonce_counter) == offsetof(Slot, nonce_prefix) + 4);

  template <class Job, class Process>
  static void in_batches(std::span<Job> jobs, Process process) noexcept {
    for (; jobs.size() > kBatch; jobs = jobs.subspan(kBatch)) process(jobs.first(kBatch));
    if (!jobs.empty()) process(jobs);
  }

  void seal_batch(std::span<SealJob> batch) noexcept {
    take_library_jobs(batch.size());
    for (size_t i = 0; i < taken_; ++i) fill(i, seal_template_, batch[i], batch[i].tag);
    submit();
    for (size_t i = 0; i < batch.size(); ++i)
      if (!completed(i)) {  // plaintext must not leave under any circumstances
        wipe(batch[i].text);
        wipe({batch[i].tag, kTagSize});
      }
    wipe_slots();
  }

  void open_batch(std::span<OpenJob> batch) noexcept {
    take_library_jobs(batch.size());
    for (size_t i = 0; i < taken_; ++i) fill(i, open_template_, batch[i], slots_[i].tag.data());
    submit();
    for (size_t i = 0; i < batch.size(); ++i) {  // the library deciphers and computes the tag: to judge is our part
      batch[i].ok = completed(i) && tags_equal(slots_[i].tag.data(), batch[i].tag);
      if (!batch[i].ok) wipe(batch[i].text);
    }
    wipe_slots();
  }

  // Gives as many jobs as wanted, since none are pending between calls.
  void take_library_jobs(size_t wanted) noexcept {
    taken_ = IMB_GET_NEXT_BURST(manager_.get(), static_cast<uint32_t>(wanted), library_jobs_.data());
  }

  template <class Job>
  void fill(size_t i, const IMB_JOB& common, const Job& job, std::byte* tag) noexcept {
    Slot& slot = slots_[i];
    std::ranges::copy(job.key->bytes(), slot.key.begin());
    slot.nonce_counter = job.nonce;
    IMB_JOB& out = *library_jobs_[i];
    out = common;
    out.enc_keys = slot.key.data();
    out.dec_keys = slot.key.data();
    out.src = reinterpret_cast<const uint8_t*>(job.text.data());
    out.dst = reinterpret_cast<uint8_t*>(job.text.data());
    out.msg_len_to_cipher_in_bytes = job.text.size();
    out.msg_len_to_hash_in_bytes = job.text.size();
    out.iv = reinterpret_cast<const uint8_t*>(slot.nonce_prefix.data());
    out.auth_tag_output = reinterpret_cast<uint8_t*>(tag);
  }

  // ChaCha20-Poly1305 jobs complete within the call, in order (unlike AES-CBC, say, nothing waits for more lanes).
  void submit() noexcept {
    completed_ = IMB_SUBMIT_BURST_NOCHECK(manager_.get(), static_cast<uint32_t>(taken_), library_jobs_.data());
  }
  bool completed(size_t i) const noexcept { return i < completed_ && library_jobs_[i]->status == IMB_STATUS_COMPLETED; }

  // Keys, and the right tags of forged texts.
  void wipe_slots() noexcept { wipe(std::as_writable_bytes(std::span(slots_).first(taken_))); }

  static bool tags_equal(const std::byte* a, const std::byte* b) noexcept {
    return crypto_verify_16(reinterpret_cast<const unsigned char*>(a), reinterpret_cast<const unsigned char*>(b)) == 0;
  }

  const Manager manager_;
  const IMB_JOB seal_template_, open_template_;
  std::array<IMB_JOB*, kBatch> library_jobs_{};
  std::array<Slot, kBatch> slots_{};
  size_t taken_ = 0, completed_ = 0;  // of the batch in progress
};

std::unique_ptr<AeadEngine> make(InitManager init) {
  Manager manager = make_manager(init);
  if (!manager) return nullptr;
  return std::make_unique<IpsecMbEngine>(std::move(manager));
}

}  // namespace

std::unique_ptr<AeadEngine> make_ipsec_mb_engine() { return make(init_auto); }
std::unique_ptr<AeadEngine> make_ipsec_mb_engine_avx2() { return make(init_mb_mgr_avx2); }

}  // namespace sluice
