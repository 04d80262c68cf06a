// Runs a fuzz target without libFuzzer: over the files named on the command line, or over seeded random inputs.
//   NAME_fuzz ROUNDS MAX_LENGTH     ROUNDS random inputs, and as many mutations of them; always the same ones
//   NAME_fuzz FILE...               each file once: reproduces what libFuzzer found
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "tests/support/seeded_rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Input = std::vector<uint8_t>;
using sluice::test::SeededRng;

// An exact copy on the heap, so that sanitizers see every access outside.
void run(const Input& input) {
  const Input exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

uint32_t below(SeededRng& rng, size_t bound) { return rng.below(static_cast<uint32_t>(bound)); }

// Short inputs are as likely as long ones: the interesting lengths of a parser are small.
Input random_input(SeededRng& rng, size_t max_length) {
  const size_t limit = rng.below(2) == 0 ? std::min<size_t>(max_length, 64) : max_length;
  Input input(below(rng, limit + 1));
  rng.fill(std::as_writable_bytes(std::span(input)));
  return input;
}

void mutate(Input& input, SeededRng& rng, size_t max_length) {
  constexpr uint8_t kInteresting[] = {0x00, 0x01, 0x10, 0x20, 0x40, 0x7f, 0x80, 0xfe, 0xff};
  switch (input.empty() ? 3 : rng.below(5)) {
    case 0:
      input[below(rng, input.size())] ^= static_cast<uint8_t>(1u << rng.below(8));
      break;
    case 1:
      input[below(rng, input.size())] = kInteresting[below(rng, std::size(kInteresting))];
      break;
    case 2:
      input.resize(below(rng, input.size()));
      break;
    case 3:
      if (input.size() < max_length) input.push_back(static_cast<uint8_t>(rng.below(256)));
      break;
    default:
      input.insert(input.end(), input.begin(), input.begin() + below(rng, input.size()));
  }
  if (input.size() > max_length) input.resize(max_length);
}

void replay_random(unsigned long rounds, size_t max_length) {
  SeededRng rng;
  run({});
  for (unsigned long round = 0; round < rounds; ++round) {
    Input input = random_input(rng, max_length);
    run(input);
    for (uint32_t left = 1 + rng.below(4); left > 0; --left) mutate(input, rng, max_length);
    run(input);
  }
}

int replay_files(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
      return EXIT_FAILURE;
    }
    run(Input(std::istreambuf_iterator<char>(file), {}));
  }
  return EXIT_SUCCESS;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty()) {
    std::fprintf(stderr, "usage: %s ROUNDS MAX_LENGTH | FILE...\n", argv[0]);
    return 2;
  }
  if (arguments.size() == 2 && is_number(arguments[0]) && is_number(arguments[1])) {
    replay_random(std::stoul(arguments[0]), std::stoul(arguments[1]));
    return EXIT_SUCCESS;
  }
  return replay_files(arguments);
}
