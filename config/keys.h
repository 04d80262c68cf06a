// Secret keys from the file system and from text.
#pragma once

#include <string>
#include <string_view>

#include "dataplane/base/keys.h"
#include "dataplane/base/result.h"

namespace sluice::config {

// A file with one base64 key and nothing else but white space around it, as `wg genkey` writes it. Refused: anything
// but a regular file, and a file that group or others can read. The error names the file and the mending.
Result<Secret<32>> read_key_file(const std::string& path);

// The error does not repeat the text.
Result<Secret<32>> parse_secret_key(std::string_view text);

// The text without white space around it.
std::string_view trimmed(std::string_view text);

void clamp(PrivateKey& key);  // RFC 7748, section 5

PublicKey public_key_of(const PrivateKey& key);

}  // namespace sluice::config
