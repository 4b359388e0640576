// Writing: the order, the padding, and that a failure loses nothing.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>

#include "harness/expect_error.hpp"
#include "io/io_support.hpp"
#include "wick/base/float16.hpp"
#include "wick/io/safetensors.hpp"

namespace wick::test {

namespace {

Tensor floats(std::vector<float> values) {
  const auto size = static_cast<std::int64_t>(values.size());
  return Tensor::from_values(values, Shape{size});
}

TEST(SaveSafetensors, WritesWhatTheFormatsOwnWriterWrites) {
  const TempFolder folder;
  const auto path = folder.path() / "f.safetensors";
  const NamedTensors tensors{
      {"b", floats({1, 2})},
      {"a", floats({3})},
      {"flag", Tensor::from_bytes(std::as_bytes(std::span("\x01", 1)), DType::kBool, Shape{1})},
      {"half", Tensor::from_values(std::vector<BFloat16>{BFloat16(1.0F)}, Shape{1, 1})},
      {"ids", Tensor::from_values(std::vector<std::int64_t>{-1}, Shape{})},
      {"none", Tensor::empty(Shape{0, 2}, DType::kF32)}};
  save_safetensors(path, tensors);
  // Largest elements first, then by name; padded with spaces to a multiple of eight.
  std::string header = R"({"__metadata__":{"format":"pt"},)"
                       R"("ids":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                       R"("a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                       R"("b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]},)"
                       R"("none":{"dtype":"F32","shape":[0,2],"data_offsets":[20,20]},)"
                       R"("half":{"dtype":"BF16","shape":[1,1],"data_offsets":[20,22]},)"
                       R"("flag":{"dtype":"BOOL","shape":[1],"data_offsets":[22,23]}})";
  while (header.size() % 8 != 0) header += ' ';
  const std::string data = std::string(8, '\xFF') + std::string("\x00\x00\x40\x40", 4) +
                           std::string("\x00\x00\x80\x3F\x00\x00\x00\x40", 8) +
                           std::string("\x80\x3F", 2) + "\x01";
  EXPECT_EQ(read_file(path), safetensors(header, data));
  EXPECT_EQ(folder.names(), std::set<std::string>{"f.safetensors"});
}

TEST(SaveSafetensors, WithoutMetadataThereIsNone) {
  const TempFolder folder;
  save_safetensors(folder.path() / "f", {}, {});
  EXPECT_EQ(read_file(folder.path() / "f"), safetensors("{}      "));
}

// What a reader gives is written back byte for byte.
TEST(SaveSafetensors, EveryFixtureRoundTripsByteForByte) {
  const TempFolder folder;
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(
           std::filesystem::path(WICK_TEST_FIXTURES) / "models")) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafetensorsFile file = SafetensorsFile::open(entry.path());
    NamedTensors tensors;
    bool has_all = true;
    for (const auto& [name, info] : file.tensors()) {
      has_all = has_all && info.dtype != "F64";
      if (has_all) tensors.emplace_back(name, file.tensor(name));
    }
    if (!has_all) continue;  // Wick has no tensor of F64
    save_safetensors(folder.path() / "copy", tensors, file.metadata());
    EXPECT_EQ(read_file(folder.path() / "copy"), read_file(entry.path())) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 10);
}

TEST(SaveSafetensors, ReplacesAFileThatItsOwnTensorsLieIn) {
  const TempFolder folder;
  const auto path = folder.path() / "f";
  save_safetensors(path, {{"w", floats({1, 2, 3})}});
  const Tensor mapped = SafetensorsFile::open(path).tensor("w");
  save_safetensors(path, {{"w", mapped}, {"x", floats({9})}});
  EXPECT_EQ(mapped.to_vector<float>(), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(SafetensorsFile::open(path).tensor("w").to_vector<float>(),
            (std::vector<float>{1, 2, 3}));
}

TEST(SaveSafetensors, NamesAreWrittenAsJson) {
  const TempFolder folder;
  const std::string name = "a\"b\\c\n\u00E9\u4E2D";
  save_safetensors(folder.path() / "f", {{name, floats({1})}}, {{"key\"", "value\t"}});
  const SafetensorsFile file = SafetensorsFile::open(folder.path() / "f");
  EXPECT_TRUE(file.contains(name));
  EXPECT_EQ(file.metadata().at("key\""), "value\t");
}

TEST(SaveSafetensors, BadNamesAndTensorsAreRefusedBeforeAnythingIsWritten) {
  const TempFolder folder;
  const auto refused = [&](const NamedTensors& tensors, const std::string& part) {
    expect_error(ErrorKind::kArgument, {"save_safetensors", part},
                 [&] { save_safetensors(folder.path() / "f", tensors); });
  };
  refused({{"", floats({1})}}, "empty");
  refused({{"__metadata__", floats({1})}}, "__metadata__");
  refused({{"a", floats({1})}, {"b", floats({1})}, {"a", floats({1})}}, "\"a\" is there twice");
  refused({{"a", Tensor()}}, "\"a\" is undefined");
  refused({{"a\xFF", floats({1})}}, "not UTF-8");
  EXPECT_TRUE(folder.names().empty());
}

// Runs `body` in a process of its own and gives its exit status.
int in_child(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool fails_with(const std::filesystem::path& path, const std::vector<std::string>& parts) {
  try {
    save_safetensors(path, {{"w", floats(std::vector<float>(100'000, 1))}});
  } catch (const Error& error) {
    const std::string text = error.what();
    bool has_all = error.kind() == ErrorKind::kIo && text.find(path.string()) != std::string::npos;
    for (const std::string& part : parts) has_all = has_all && text.find(part) != std::string::npos;
    return has_all;
  }
  return false;
}

// As on a full disk: the write fails half way.
TEST(SaveSafetensors, AFailingWriteLeavesTheOldFileAndNothingElse) {
  const TempFolder folder;
  const auto path = folder.path() / "f";
  save_safetensors(path, {{"w", floats({1, 2, 3})}});
  const std::string before = read_file(path);
  EXPECT_EQ(in_child([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{.rlim_cur = 65536, .rlim_max = 65536};
              return ::setrlimit(RLIMIT_FSIZE, &limit) == 0 && fails_with(path, {"File too large"});
            }),
            0);
  EXPECT_EQ(read_file(path), before);
  EXPECT_EQ(folder.names(), std::set<std::string>{"f"});
}

TEST(SaveSafetensors, AFolderThatCannotBeWrittenIsNamed) {
  const TempFolder folder;
  const auto path = folder.path() / "f";
  save_safetensors(path, {{"w", floats({1})}});
  const std::string before = read_file(path);
  ASSERT_EQ(::chmod(folder.path().c_str(), 0555), 0);
  EXPECT_EQ(in_child([&] {
              // Root may write anywhere: become somebody else.
              if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return false;
              return fails_with(path, {"cannot be created", "Permission denied"});
            }),
            0);
  ASSERT_EQ(::chmod(folder.path().c_str(), 0755), 0);
  EXPECT_EQ(read_file(path), before);
  EXPECT_EQ(folder.names(), std::set<std::string>{"f"});
}

TEST(SaveSafetensors, PlacesThatAreNoFileAreRefused) {
  const TempFolder folder;
  const auto file = folder.write("file", "x");
  EXPECT_TRUE(fails_with(folder.path() / "absent" / "f", {"No such file"}));
  EXPECT_TRUE(fails_with(file / "f", {"Not a directory"}));
  EXPECT_TRUE(fails_with(folder.path(), {"not an ordinary file"}));
  EXPECT_EQ(folder.names(), std::set<std::string>{"file"});
}

// Killed at any moment, the path names one whole file or the other.
TEST(SaveSafetensors, AKilledWriterLeavesOneWholeFile) {
  const TempFolder folder;
  const auto path = folder.path() / "f";
  const Tensor old_values = floats(std::vector<float>(50'000, 1));
  const Tensor new_values = floats(std::vector<float>(50'000, 2));
  for (int i = 0; i < 20; ++i) {
    save_safetensors(path, {{"w", old_values}});
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) save_safetensors(path, {{"w", new_values}});
    }
    ::usleep(static_cast<useconds_t>(i) * 300);
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    const auto values = SafetensorsFile::open(path).tensor("w").to_vector<float>();
    ASSERT_EQ(values.size(), 50'000U);
    EXPECT_EQ(values, std::vector<float>(50'000, values[0]));
  }
}

}  // namespace

}  // namespace wick::test
