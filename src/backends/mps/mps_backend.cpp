#include "backends/mps/mps_backend.hpp"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "backends/mps/mps_backends.hpp"
#include "backends/mps/mps_kernels.hpp"
#include "backends/mps/tuner.hpp"
#include "wick/base/error.hpp"
#include "wick/runtime/settings.hpp"

namespace wick::mps {

namespace {

// The system's GPU; or why Wick cannot use one.
std::optional<apple::metal::Device> usable_device(std::string& reason) {
  auto found = apple::metal::Device::system_default();
  if (!found) {
    reason = "Metal knows no GPU here";
  } else if (!found->supports_mps()) {
    reason = found->name() + " cannot run Metal Performance Shaders";
  } else if (!found->has_unified_memory()) {
    reason = found->name() + " does not share memory with the CPU";
  }
  return found;
}

// A buffer on pages of the host.
class SharedPages {
 public:
  SharedPages(MemoryMap& map, apple::metal::Buffer buffer) : map_(map), buffer_(std::move(buffer)) {
    map_.add(buffer_);
  }
  ~SharedPages() { map_.remove(buffer_.contents(), buffer_.length()); }
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;

 private:
  MemoryMap& map_;
  apple::metal::Buffer buffer_;
};

}  // namespace

MpsBackend::MpsBackend()
    : system_(*this),
      allocator_({DeviceType::kMps, 0}, system_),
      default_stream_(std::make_shared<MpsStream>(*this)) {}

MpsBackend::~MpsBackend() { allocator_.empty_cache(); }

std::string MpsBackend::description() const {
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  read_ways();
  std::string measured;
  if (const std::size_t count = ways_.table().size(); count > 0) {
    measured = fmt::format(", {} ways as measured", count);
  }
  if (!ways_problem_.empty()) measured = ", what was measured is ignored: " + ways_problem_;
  return fmt::format("{}, {:.1f} GiB to work with{}", metal().name(),
                     static_cast<double>(metal().recommended_working_set()) / kGiB, measured);
}

const KernelTable& MpsBackend::kernels() const noexcept {
  static constexpr KernelTable kTable{
#define WICK_KERNEL(id, Args)                  \
  .id = [](Stream& stream, const Args& args) { \
    const OpScope scope(#id);                  \
    return mps::id(stream, args);              \
  },
#include "runtime/op_catalog.def"
  };
  return kTable;
}

std::shared_ptr<Stream> MpsBackend::make_stream() { return std::make_shared<MpsStream>(*this); }

std::unique_ptr<Event> MpsBackend::make_event() { return std::make_unique<MpsEvent>(); }

std::span<const std::string_view> MpsBackend::variants(std::string_view kernel) const noexcept {
  return ways_of(kernel);
}

namespace {

std::optional<std::filesystem::path> ways_file() {
  const auto folder = user_cache_folder();
  if (!folder) return std::nullopt;
  return *folder / "mps-ways.json";
}

Machine machine_of(const apple::metal::Device& device) {
  return {.device = device.name(), .system = apple::metal::system_version()};
}

}  // namespace

// What cannot be read is as good as not there: the documented choice holds, and description() says why.
void MpsBackend::read_ways() const {
  std::call_once(ways_read_, [this] {
    const auto file = ways_file();
    if (!file) return;
    try {
      ways_.use(load_ways(*file, machine_of(metal())));
    } catch (const Error& error) {
      ways_problem_ = error.what();
    }
  });
}

std::string_view MpsBackend::best_way(const CallShape& shape) {
  read_ways();
  return ways_.best(shape);
}

TuneReport MpsBackend::tune(const std::function<void()>& work, const TuneOptions& options) {
  if (options.rounds < 1) {
    throw Error(ErrorKind::kArgument, "tune",
                fmt::format("rounds must be at least 1, got {}", options.rounds));
  }
  const auto file = ways_file();
  if (!file) {
    throw Error(ErrorKind::kIo, "tune", "there is no folder for the result", {},
                "set XDG_CACHE_HOME or HOME to an absolute path");
  }
  read_ways();
  ways_.listen();
  try {
    work();
  } catch (...) {
    ways_.heard();
    throw;
  }
  const WayChoice::Calls calls = ways_.heard();
  WayTable table = ways_.table();
  TuneReport report{.calls = measure_ways(*this, calls, options, table), .file = *file};
  report.note = store_ways(*file, machine_of(metal()), table);
  ways_.use(std::move(table));
  return report;
}

const apple::metal::Device& MpsBackend::metal() const {
  std::call_once(metal_made_, [this] {
    std::string reason;
    auto found = usable_device(reason);
    if (!reason.empty()) throw Error(ErrorKind::kDevice, "mps", reason);
    metal_ = std::move(found);
  });
  return *metal_;
}

const apple::metal::CommandQueue& MpsBackend::queue() {
  std::call_once(queue_made_, [this] { queue_ = metal().queue(); });
  return *queue_;
}

void MpsBackend::copy_from_host(Stream& stream, void* device_dst, const void* host_src,
                                std::size_t bytes) {
  mps_stream(stream).upload(device_dst, host_src, bytes);
}

// Memory that is shared needs no transfer, only the end of the work that writes it.
void MpsBackend::copy_to_host(Stream& stream, void* host_dst, const void* device_src,
                              std::size_t bytes) {
  stream.synchronize();
  if (bytes > 0) std::memcpy(host_dst, device_src, bytes);
}

// Metal wants whole pages: those that hold a byte of the memory are the process's own, and nothing reads what lies beside
// it. The owner lives until Metal lets go of the buffer, which may be after the last tensor.
std::shared_ptr<void> MpsBackend::share_host_memory(std::span<std::byte> memory,
                                                    const std::shared_ptr<void>& owner) {
  const std::size_t page = apple::metal::page_size();
  // SAFETY: the address is only looked at for its low bits.
  const std::size_t before = reinterpret_cast<std::uintptr_t>(memory.data()) % page;
  const std::size_t length = (before + memory.size() + page - 1) / page * page;
  try {
    return std::make_shared<SharedPages>(
        memory_, metal().wrap_memory({memory.data() - before, length},
                                     [kept = owner]() mutable { kept.reset(); }));
  } catch (const Error&) {
    return nullptr;  // Metal refuses the pages: what is on them is copied
  }
}

std::vector<std::unique_ptr<Backend>> make_backends(std::vector<std::string>& absent) {
#if defined(__APPLE__)  // elsewhere software Metal has a device, and nobody has to ask it
  std::string reason;
  usable_device(reason);
  if (!reason.empty()) {
    absent.push_back("mps: " + reason);
    return {};
  }
#else
  static_cast<void>(absent);
#endif
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::make_unique<MpsBackend>());
  return backends;
}

}  // namespace wick::mps
