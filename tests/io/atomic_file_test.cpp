// Files and folders that appear whole or not at all.
#include "base/atomic_file.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mapped_file.hpp"
#include "base/temporary_name.hpp"
#include "harness/expect_error.hpp"
#include "io/io_support.hpp"

namespace wick::test {

namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

TEST(AtomicFile, AppearsAtItsCommit) {
  const TempFolder folder;
  const auto path = folder.write("f", "old");
  {
    detail::AtomicFile file(path);
    file.write("new ");
    file.write("content");
    EXPECT_EQ(read_file(path), "old");
    EXPECT_EQ(folder.names().size(), 2U);
    file.commit();
    EXPECT_EQ(read_file(path), "new content");
  }
  EXPECT_EQ(read_file(path), "new content");
  EXPECT_EQ(folder.names(), Names{"f"});
}

TEST(AtomicFile, WithoutACommitNothingStays) {
  const TempFolder folder;
  const auto path = folder.write("f", "old");
  {
    detail::AtomicFile(path).write("new");
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(folder.names(), Names{"f"});
}

TEST(AtomicFile, SeveralWritersOfOnePathDoNotMeet) {
  const TempFolder folder;
  detail::AtomicFile first(folder.path() / "f");
  detail::AtomicFile second(folder.path() / "f");
  first.write("first");
  second.write("second");
  second.commit();
  first.commit();
  EXPECT_EQ(read_file(folder.path() / "f"), "first");
  EXPECT_EQ(folder.names(), Names{"f"});
}

TEST(AtomicFile, TargetsThatAreNoFile) {
  const TempFolder folder;
  expect_error(ErrorKind::kIo, {"not an ordinary file"},
               [&] { detail::AtomicFile file(folder.path()); });
  expect_error(ErrorKind::kIo, {"not the name of a file"},
               [&] { detail::AtomicFile file(folder.path() / ""); });
  expect_error(ErrorKind::kIo, {"/dev/null"}, [] { detail::AtomicFile file("/dev/null"); });
}

TEST(AtomicFile, ASymbolicLinkIsReplacedNotFollowed) {
  const TempFolder folder;
  const auto file = folder.write("file", "kept");
  fs::create_symlink(file, folder.path() / "link");
  detail::write_file_atomically(folder.path() / "link", "new");
  EXPECT_EQ(read_file(file), "kept");
  EXPECT_EQ(read_file(folder.path() / "link"), "new");
  EXPECT_FALSE(fs::is_symlink(folder.path() / "link"));
}

TEST(AtomicFolder, AppearsAtItsCommit) {
  const TempFolder folder;
  const fs::path target = folder.path() / "checkpoint-1";
  {
    detail::AtomicFolder work(target);
    std::ofstream(work.staging() / "a") << "1";
    fs::create_directory(work.staging() / "sub");
    std::ofstream(work.staging() / "sub" / "b") << "2";
    EXPECT_FALSE(fs::exists(target));
    work.commit();
  }
  EXPECT_EQ(read_file(target / "a"), "1");
  EXPECT_EQ(read_file(target / "sub" / "b"), "2");
  EXPECT_EQ(folder.names(), Names{"checkpoint-1"});
}

TEST(AtomicFolder, WithoutACommitNothingStays) {
  const TempFolder folder;
  {
    const detail::AtomicFolder work(folder.path() / "c");
    std::ofstream(work.staging() / "a") << "1";
  }
  EXPECT_TRUE(folder.names().empty());
}

TEST(AtomicFolder, ATargetThatIsThereStays) {
  const TempFolder folder;
  fs::create_directory(folder.path() / "c");
  const auto old_file = folder.write("c/kept", "old");
  {
    detail::AtomicFolder work(folder.path() / "c/");
    expect_error(ErrorKind::kIo, {"there already"}, [&] { work.commit(); });
  }
  EXPECT_EQ(read_file(old_file), "old");
  EXPECT_EQ(folder.names(), Names{"c"});
  expect_error(ErrorKind::kIo, {"cannot be created"},
               [&] { detail::AtomicFolder work(folder.path() / "absent" / "c"); });
}

TEST(AtomicFolder, LeftoversOfDeadProcessesAreRemoved) {
  const TempFolder folder;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const std::string dead = std::to_string(child);
  fs::create_directory(folder.path() / ("c.tmp-" + dead + "-1"));
  folder.write("c.tmp-" + dead + "-1/part", "x");
  folder.write("f.tmp-" + dead + "-2", "x");
  folder.write("f.tmp-1-1", "of a process that runs");
  folder.write("notes.tmp-x-1", "not one of ours");
  const detail::AtomicFolder living(folder.path() / "c");
  detail::AtomicFolder::remove_stale(folder.path());
  EXPECT_EQ(folder.names(),
            (Names{"f.tmp-1-1", "notes.tmp-x-1", living.staging().filename().string()}));
}

TEST(TemporaryName, IsStaleOnlyWhenNobodyUsesIt) {
  const std::string own = std::to_string(::getpid());
  std::string name;
  {
    const detail::TemporaryName living("f");
    name = living.path().string();
    EXPECT_FALSE(detail::is_stale_temporary(name));
  }
  EXPECT_TRUE(detail::is_stale_temporary(name));
  EXPECT_TRUE(detail::is_stale_temporary("f.tmp-" + own + "-999999"));
  for (const char* other :
       {"f", "f.tmp-", "f.tmp-1", "f.tmp-0-1", "f.tmp--1", "f.tmp-99999999999-1", "f.tmp-1-x"}) {
    EXPECT_FALSE(detail::is_stale_temporary(other)) << other;
  }
}

TEST(MappedFile, WritesDoNotReachTheFile) {
  const TempFolder folder;
  const auto path = folder.write("f", "abc");
  const auto mapped = detail::MappedFile::open(path);
  ASSERT_EQ(mapped->text(), "abc");
  mapped->bytes()[0] = std::byte{'x'};
  EXPECT_EQ(mapped->text(), "xbc");
  EXPECT_EQ(read_file(path), "abc");
  EXPECT_TRUE(detail::MappedFile::open(folder.write("e", ""))->bytes().empty());
}

TEST(MappedFile, DroppedPagesAreReadAgain) {
  const TempFolder folder;
  const std::string content(100'000, 'z');
  const auto mapped = detail::MappedFile::open(folder.write("f", content));
  EXPECT_EQ(mapped->text(), content);
  mapped->drop_pages(mapped->bytes().subspan(3, 90'000));
  mapped->drop_pages({});
  EXPECT_EQ(mapped->text(), content);
}

}  // namespace

}  // namespace wick::test
