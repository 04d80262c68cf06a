#include "dataplane/crypto/montgomery.h"

#include <gmp.h>

namespace sluice {
namespace {

struct Integer {
  mpz_t value;
  Integer() noexcept { mpz_init(value); }
  Integer(const Integer&) = delete;
  Integer& operator=(const Integer&) = delete;
  ~Integer() { mpz_clear(value); }
};

struct FieldPrime : Integer {  // 2^255 - 19
  FieldPrime() noexcept {
    mpz_setbit(value, 255);
    mpz_sub_ui(value, value, 19);
  }
};

}  // namespace

PublicKey montgomery_form(EdwardsPoint point) noexcept {
  static const FieldPrime prime;
  point[31] &= std::byte{0x7f};
  Integer y, numerator, denominator, u;
  mpz_import(y.value, point.size(), -1, 1, 0, 0, point.data());  // little-endian, as below
  mpz_add_ui(numerator.value, y.value, 1);
  mpz_ui_sub(denominator.value, 1, y.value);
  mpz_invert(denominator.value, denominator.value, prime.value);
  mpz_mul(u.value, numerator.value, denominator.value);
  mpz_mod(u.value, u.value, prime.value);
  PublicKey key;
  mpz_export(key.bytes.data(), nullptr, -1, 1, 0, 0, u.value);
  return key;
}

}  // namespace sluice
