#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace wick::detail {

/// A number that differs when a byte, its place or the size differs; the same on every machine. Finds damage, not
/// forgery.
std::uint64_t digest(std::span<const std::byte> bytes) noexcept;

/// A file's size and digest, as checkpoints record them: "4096:00c0ffee…". Throws Error kIo.
std::string file_digest(const std::filesystem::path& path);

}  // namespace wick::detail
