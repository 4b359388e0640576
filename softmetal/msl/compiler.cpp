#include "softmetal/msl/compiler.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "softmetal/metal/statistics.hpp"
#include "softmetal/msl/shim_text.hpp"
#include "softmetal/msl/translate.hpp"

extern char** environ;

namespace softmetal::msl {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}
std::string compiler() { return environment("SOFTMETAL_CXX", SOFTMETAL_DEFAULT_CXX); }

fs::path cache_folder() {
  const std::string chosen = environment("SOFTMETAL_CACHE", "");
  if (!chosen.empty()) return chosen;
  const std::string base = environment("XDG_CACHE_HOME", "");
  if (!base.empty()) return fs::path(base) / "softmetal";
  const std::string home = environment("HOME", "");
  return home.empty() ? fs::temp_directory_path() / ("softmetal-" + std::to_string(geteuid()))
                      : fs::path(home) / ".cache" / "softmetal";
}

std::string read_file(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}
void write_file(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (!file) throw CompileError("softmetal cannot write " + path.string());
}

/// A folder of our own that goes with this object.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (fs::temp_directory_path() / "softmetal-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw CompileError("softmetal cannot make a folder like " + name);
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }
  /// What the compiler said, without the name of this folder.
  std::string read_log() const {
    std::string text = read_file(path_ / "log");
    const std::string prefix = path_.string() + "/";
    for (std::size_t at = text.find(prefix); at != std::string::npos; at = text.find(prefix, at)) {
      text.erase(at, prefix.size());
    }
    return text;
  }

 private:
  fs::path path_;
};

using Arguments = std::vector<std::string>;

/// Runs a command; whether it succeeded. What it says goes to `log`.
bool run_command(const Arguments& arguments, const fs::path& log) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    throw CompileError("softmetal cannot run " + arguments[0] + ": " + std::strerror(failed));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

constexpr std::uint64_t kFnvBasis = 14695981039346656037ull;
std::uint64_t hash(const std::string& text, std::uint64_t value) {
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return value;
}

/// Names a library by everything that it is made from.
std::string cache_name(const CompileRequest& request) {
  std::string all = request.source + '\0' + compiler() + '\0' + SOFTMETAL_KERNEL_FLAGS + '\0';
  for (const auto& [name, value] : request.macros) all += name + '=' + value + '\0';
  for (const ShimFile& file : kShimFiles) all += std::string(file.text) + '\0';
  all += SOFTMETAL_TRANSLATOR_HASH;
  char name[48];
  std::snprintf(name, sizeof name, "%016llx%016llx.so",
                static_cast<unsigned long long>(hash(all, kFnvBasis)),
                static_cast<unsigned long long>(hash(all, kFnvBasis ^ 0x9E3779B97F4A7C15ull)));
  return name;
}

/// The headers that a source may include say nothing yet: their names are known when the C++ is compiled.
void write_headers(const fs::path& shim, const fs::path& empty) {
  fs::create_directories(shim);
  fs::create_directories(empty);
  for (const ShimFile& file : kShimFiles) write_file(shim / file.name, file.text);
  for (const char* name :
       {"metal_stdlib", "metal_simdgroup", "metal_simdgroup_matrix", "metal_atomic", "metal_math",
        "metal_common", "metal_geometric", "metal_integer", "metal_compute", "metal_relational"}) {
    write_file(empty / name, "");
  }
}

std::string preprocess(const CompileRequest& request, const ScratchFolder& folder) {
  write_file(folder / "program_source", request.source);
  Arguments arguments{compiler(),
                      "-E",
                      "-undef",
                      "-nostdinc",
                      "-x",
                      "c++",
                      "-std=c++17",
                      "-D__METAL__=1",
                      "-D__METAL_VERSION__=310",
                      "-D__METAL_MACOS__=1",
                      "-DINFINITY=__builtin_inff()",
                      "-DNAN=__builtin_nanf(\"\")",
                      "-DFLT_MAX=3.402823466e+38F",
                      "-DFLT_MIN=1.175494351e-38F",
                      "-DM_PI_F=3.14159265358979323846F",
                      "-DM_SQRT1_2_F=0.70710678118654752440F",
                      "-DM_2_SQRTPI_F=1.12837916709551257390F"};
  for (const auto& [name, value] : request.macros) arguments.push_back("-D" + name + "=" + value);
  for (const std::string& more :
       {"-I" + (folder / "empty").string(), (folder / "program_source").string(), std::string("-o"),
        (folder / "kernels.ii").string()}) {
    arguments.push_back(more);
  }
  if (!run_command(arguments, folder / "log")) throw CompileError(folder.read_log());
  return read_file(folder / "kernels.ii");
}

/// Checks address spaces and language, then makes the library.
void compile_cpp(const ScratchFolder& folder) {
  const Arguments common{compiler(),
                         "-std=c++20",
                         "-x",
                         "c++",
                         "-fno-math-errno",
                         "-Werror=return-type",
                         "-Werror=uninitialized",
                         "-Werror=pre-c++17-compat",
                         "-Wno-c99-designator",
                         "-Wno-unused-value",
                         "-fvisibility=hidden",
                         "-isystem",
                         (folder / "shim").string()};
  Arguments check = common;
  check.insert(check.end(),
               {"-DMSL_ADDRESS_SPACES", "-fsyntax-only", (folder / "kernels.cpp").string()});
  if (!run_command(check, folder / "log")) throw CompileError(folder.read_log());
  Arguments build = common;
  std::istringstream flags(SOFTMETAL_KERNEL_FLAGS);
  for (std::string flag; flags >> flag;) build.push_back(flag);
  build.insert(build.end(), {"-O2", "-fPIC", "-shared", (folder / "kernels.cpp").string(), "-o",
                             (folder / "kernels.so").string()});
  if (!run_command(build, folder / "log")) throw CompileError(folder.read_log());
}

/// Keeps the cache from growing for ever: the oldest go first.
void prune(const fs::path& folder) {
  constexpr std::size_t kKept = 512;
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto time = entry.last_write_time(error);
    if (!error && entry.path().extension() == ".so") files.emplace_back(time, entry.path());
  }
  if (files.size() <= kKept) return;
  std::sort(files.begin(), files.end());
  for (std::size_t i = 0; i < files.size() - kKept; ++i) fs::remove(files[i].second, error);
}

/// Makes the cache's folder. Throws CompileError when somebody else could put a library there.
void open_cache(const fs::path& folder) {
  if (fs::create_directories(folder)) fs::permissions(folder, fs::perms::owner_all);
  struct stat info{};
  if (stat(folder.c_str(), &info) != 0 || info.st_uid != geteuid() ||
      (info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw CompileError("softmetal: its cache " + folder.string() +
                       " must belong to this user, and nobody else may write there");
  }
}

}  // namespace

fs::path compile(const CompileRequest& request) {
  const fs::path cache = cache_folder();
  open_cache(cache);
  const fs::path target = cache / cache_name(request);
  if (fs::exists(target)) return target;
  ++statistics().shader_compiles;
  const ScratchFolder folder;
  write_headers(folder / "shim", folder / "empty");
  write_file(folder / "kernels.cpp", translate(preprocess(request, folder)));
  compile_cpp(folder);
  const fs::path fresh = cache / (target.filename().string() + ".tmp-" + std::to_string(getpid()));
  fs::copy_file(folder / "kernels.so", fresh, fs::copy_options::overwrite_existing);
  fs::rename(fresh, target);  // whole or absent, also where two processes do the same
  prune(cache);
  return target;
}

}  // namespace softmetal::msl
