#include "config/keys.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

namespace sluice::config {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Error system_error(const std::string& what) {
  const int code = errno;
  return Error{what + ": " + std::generic_category().message(code), code};
}

Result<void> check_mode(const struct stat& status, const std::string& path) {
  if (!S_ISREG(status.st_mode)) return Error{"key file " + path + " is not a regular file"};
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) == 0) return {};
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", static_cast<unsigned>(status.st_mode & 07777));
  return Error{"key file " + path + " is open to others (mode " + mode + "); `chmod 600 " + path + "`"};
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  static constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

Result<Secret<32>> read_key_file(const std::string& path) {
  // Non-blocking, so that a named pipe is refused below rather than waited for.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) return system_error("cannot open key file " + path);
  struct stat status;
  if (fstat(file.get(), &status) != 0) return system_error("cannot examine key file " + path);
  if (const auto mode = check_mode(status, path); !mode) return mode.error();

  Secret<128> buffer;  // a key has 44 characters; what does not fit here is none
  const ssize_t length = read(file.get(), buffer.data(), Secret<128>::kSize);
  if (length < 0) return system_error("cannot read key file " + path);
  auto key = parse_secret_key(trimmed({reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(length)}));
  if (!key) return Error{"key file " + path + ": " + key.error().what};
  return key;
}

Result<Secret<32>> parse_secret_key(std::string_view text) {
  Secret<32> key;
  if (!key_from_base64(text, key.bytes()))
    return Error{"not a key: 44 characters of base64, as `sluice genkey` prints them"};
  return key;
}

void clamp(PrivateKey& key) {
  unsigned char* bytes = key.data();
  bytes[0] &= 248;
  bytes[31] = static_cast<unsigned char>((bytes[31] & 127) | 64);
}

PublicKey public_key_of(const PrivateKey& key) {
  PublicKey result;
  crypto_scalarmult_base(reinterpret_cast<unsigned char*>(result.bytes.data()), key.data());
  return result;
}

}  // namespace sluice::config
