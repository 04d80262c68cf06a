#include "config/load.h"

#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "config/parse.h"
#include "config/validate.h"
#include "dataplane/base/handle.h"
#include "dataplane/base/result.h"

namespace sluice::config {
namespace {

constexpr size_t kLargestFile = 512u << 20;  // a million peers are about 250 MB

// The text of a configuration may hold keys: it is wiped when it dies.
struct FileText {
  std::string text;
  bool open_to_others = false;

  FileText() = default;
  FileText(FileText&&) = default;
  FileText& operator=(FileText&&) = delete;
  ~FileText() { wipe(std::as_writable_bytes(std::span(text))); }
};

Error system_error(const std::string& what) {
  return Error{what + ": " + std::generic_category().message(errno), errno};
}

Result<FileText> read_file(const std::string& path) {
  const Handle<FILE, fclose> file(fopen(path.c_str(), "rbe"));
  if (!file) return system_error("cannot open the configuration");
  struct stat status;
  if (fstat(fileno(file.get()), &status) != 0) return system_error("cannot examine the configuration");
  if (S_ISDIR(status.st_mode)) return Error{"is a directory; give a file"};

  FileText result;
  result.open_to_others = (status.st_mode & (S_IRWXG | S_IRWXO)) != 0;
  // At once where the size is known, so that growing leaves no copies behind.
  size_t size = static_cast<size_t>(std::max<off_t>(status.st_size, 4096)) + 1;
  for (size_t length = 0;;) {
    result.text.resize(size);
    length += fread(result.text.data() + length, 1, size - length, file.get());
    if (ferror(file.get())) return system_error("cannot read the configuration");
    if (length > kLargestFile) return Error{"is larger than 512 MiB"};
    if (length < size) {
      result.text.resize(length);
      return result;
    }
    size *= 2;
  }
}

void warn_of_open_secrets(const Model& model, Report& report) {
  static constexpr std::string_view kWarning =
      "a key stands in a file that others can read; `chmod 600` it or use a key file";
  for (const Tunnel& tunnel : model.tunnels) {
    if (tunnel.origin.has("private-key"))
      report.warning(tunnel.origin.of("private-key"), "tunnel.private-key", std::string(kWarning));
    for (const Peer& peer : tunnel.peers) {
      if (peer.origin.has("preshared-key"))
        report.warning(peer.origin.of("preshared-key"), "tunnel.peer.preshared-key", std::string(kWarning));
    }
  }
}

void fill_in_workers(Gateway& gateway, const Machine& machine) {
  if (!gateway.workers.empty()) return;
  gateway.workers = machine.cpus;
  if (gateway.workers.size() > 1) gateway.workers.erase(gateway.workers.begin());
  if (gateway.workers.size() > kMaxWorkers) gateway.workers.resize(kMaxWorkers);
}

Loaded load_text(std::string_view text, const std::string& path, const Machine& machine, bool open_to_others) {
  Report report(path);
  Model model = parse(text, path, report);
  validate(model, machine, report);
  if (open_to_others) warn_of_open_secrets(model, report);
  fill_in_workers(model.gateway, machine);

  for (Tunnel& tunnel : model.tunnels)
    for (Peer& peer : tunnel.peers) peer.origin.forget_fields();

  Loaded loaded;
  if (!report.has_errors()) loaded.model = std::make_shared<const Model>(std::move(model));
  loaded.errors = report.take_errors();
  loaded.warnings = report.take_warnings();
  return loaded;
}

}  // namespace

Machine this_machine() {
  Machine machine;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return Machine{{0}};
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) machine.cpus.push_back(cpu);
  return machine;
}

Loaded load_text(std::string_view text, const std::string& path, const Machine& machine) {
  return load_text(text, path, machine, false);
}

Loaded load(const std::string& path, const Machine& machine) {
  const Result<FileText> file = read_file(path);
  if (file) return load_text(file->text, path, machine, file->open_to_others);
  Loaded failed;
  failed.errors.push_back({path, {}, "", file.error().what});
  return failed;
}

}  // namespace sluice::config
