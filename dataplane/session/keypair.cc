#include "dataplane/session/keypair.h"

#include "dataplane/session/slab.h"

namespace sluice {
namespace {

constinit Slab sending_keys(sizeof(SendingKey)), keypairs(sizeof(Keypair));

}  // namespace

void* SendingKey::operator new(size_t) { return sending_keys.allocate(); }
void SendingKey::operator delete(void* key) noexcept { sending_keys.release(key); }
void* Keypair::operator new(size_t) { return keypairs.allocate(); }
void Keypair::operator delete(void* keypair) noexcept { keypairs.release(keypair); }

}  // namespace sluice
