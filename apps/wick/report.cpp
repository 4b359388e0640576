#include "report.hpp"
#include "base/atomic_file.hpp"
namespace wick::cli {
void write_report(const std::filesystem::path& path, const Report& report) {
  detail::write_file_atomically(path, report.title);
}
}  // namespace wick::cli
