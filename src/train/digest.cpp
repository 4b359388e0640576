#include "train/digest.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/mapped_file.hpp"
#include "train/shuffle.hpp"

namespace wick::detail {

namespace {

constexpr std::size_t kWordBytes = 8;
constexpr std::size_t kPieceBytes = std::size_t{1} << 22;
constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15U;

// Up to eight bytes as a number, the first one lowest.
std::uint64_t word_of(std::span<const std::byte> bytes) noexcept {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    word |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  }
  return word;
}

}  // namespace

std::uint64_t digest(std::span<const std::byte> bytes) noexcept {
  std::uint64_t hash = spread_bits(bytes.size() + kFactor);
  while (bytes.size() >= kWordBytes) {
    // Both steps can be undone, so a single wrong word always shows.
    hash = (hash ^ word_of(bytes.first<kWordBytes>())) * kFactor;
    hash ^= hash >> 32;
    bytes = bytes.subspan(kWordBytes);
  }
  return spread_bits(hash ^ word_of(bytes));
}

std::string file_digest(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  std::span<const std::byte> left = file->bytes();
  std::uint64_t hash = 0;
  // Piece by piece, so that a large file does not count as memory of the process.
  while (!left.empty()) {
    const auto piece = left.first(std::min(left.size(), kPieceBytes));
    hash = spread_bits(hash ^ digest(piece));
    file->drop_pages(piece);
    left = left.subspan(piece.size());
  }
  return fmt::format("{}:{:016x}", file->bytes().size(), hash);
}

}  // namespace wick::detail
