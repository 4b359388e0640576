#include "train_ranks.hpp"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "base/platform.hpp"
#include "command.hpp"
#include "output.hpp"
#include "runtime/socket.hpp"
#include "train_output.hpp"

namespace wick::cli {

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void fail(const std::string& rule) {
  throw Error(ErrorKind::kArgument, "train", rule);
}

bool is_number(const std::string& text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c); });
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// Each part needs a null-terminated array of pointers that outlives the call.
std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

std::string text_of(std::FILE* file) {
  std::string text;
  std::rewind(file);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text += static_cast<char>(c);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

struct Rank {
  int number = 0;
  Device device;
  pid_t pid = -1;
  File messages;  // of all but the first, which speaks for itself
  bool is_running = false;
  int status = 0;
  bool is_ended = false;  // by us
};

// The processes of a run; those still there when it is destroyed are killed.
class Ranks {
 public:
  explicit Ranks(const TrainFlags& flags) : flags_(flags) {}
  ~Ranks() {
    signal_all(SIGKILL);
    for (const Rank& rank : ranks_) {
      if (rank.is_running) ::waitpid(rank.pid, nullptr, 0);
    }
  }
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  void start(const std::vector<Device>& devices, std::vector<std::string> command_line) {
    ranks_.reserve(devices.size());
    RankOptions options{.size = static_cast<int>(devices.size())};
    options.port = detail::Socket::listen(options.address, 0).port();
    const std::string program = detail::program_path();
    command_line.insert(command_line.begin(), program);
    for (options.rank = 0; options.rank < options.size; ++options.rank) {
      options.local_rank = options.rank;
      start_one(program, command_line, options, devices[static_cast<std::size_t>(options.rank)]);
    }
  }

  int wait() {
    constexpr std::chrono::milliseconds kPause{20};
    while (reap()) {
      pass_interrupt_on();
      end_what_is_left();
      std::this_thread::sleep_for(kPause);
    }
    if (culprit_ != nullptr) return report();
    const bool is_stopped = std::ranges::any_of(ranks_, [](const Rank& rank) {
      return WIFSIGNALED(rank.status) || WEXITSTATUS(rank.status) == kInterrupted;
    });
    return is_stopped ? kInterrupted : kSuccess;
  }

 private:
  void start_one(const std::string& program, std::vector<std::string>& words,
                 const RankOptions& options, Device device) {
    Rank rank{.number = options.rank, .device = device};
    std::vector<std::string> variables = environment_of_rank(options);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    // A group of its own: Ctrl-C reaches this process, which passes it on once.
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    if (options.rank > 0) {
      rank.messages.reset(std::tmpfile());
      if (rank.messages != nullptr) {
        ::posix_spawn_file_actions_adddup2(&actions, ::fileno(rank.messages.get()), STDERR_FILENO);
      }
    }
    const int problem = ::posix_spawn(&rank.pid, program.c_str(), &actions, &attributes,
                                      pointers(words).data(), pointers(variables).data());
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    if (problem != 0) {
      throw Error(
          ErrorKind::kBackend, "ranks",
          fmt::format("rank {} cannot be started: {}", options.rank, std::strerror(problem)));
    }
    rank.is_running = true;
    ranks_.push_back(std::move(rank));
  }

  // Notes what has ended; false when nothing runs any more.
  bool reap() {
    bool is_any_running = false;
    for (Rank& rank : ranks_) {
      if (!rank.is_running) continue;
      rank.is_running = ::waitpid(rank.pid, &rank.status, WNOHANG) != rank.pid;
      is_any_running = is_any_running || rank.is_running;
      if (!rank.is_running) note_end(rank);
    }
    return is_any_running;
  }

  // A rank whose neighbour is gone fails too: the first is the cause, but for a signal, which no neighbour sends.
  void note_end(const Rank& rank) {
    const bool is_signal = WIFSIGNALED(rank.status);
    const bool is_interrupt = is_signal && is_passed_on_ && WTERMSIG(rank.status) == SIGINT;
    const int code = is_signal ? 0 : WEXITSTATUS(rank.status);
    const bool is_fine = !is_signal && (code == kSuccess || code == kInterrupted);
    if (rank.is_ended || is_interrupt || is_fine) return;
    if (culprit_ == nullptr) failed_at_ = Clock::now();
    const bool is_cause = culprit_ == nullptr || (is_signal && !WIFSIGNALED(culprit_->status));
    if (is_cause) culprit_ = &rank;
  }

  void pass_interrupt_on() {
    if (is_passed_on_ || !is_interrupted()) return;
    is_passed_on_ = true;
    signal_all(SIGINT);
  }

  // The others notice by themselves that one is gone; who does not is ended.
  void end_what_is_left() {
    constexpr std::chrono::seconds kToNotice{2};
    constexpr std::chrono::seconds kToEnd{7};
    if (culprit_ == nullptr) return;
    const auto passed = Clock::now() - failed_at_;
    if (passed < kToNotice) return;
    for (Rank& rank : ranks_) rank.is_ended = rank.is_ended || rank.is_running;
    if (!is_asked_to_end_) signal_all(SIGTERM);
    is_asked_to_end_ = true;
    if (passed > kToEnd) signal_all(SIGKILL);
  }

  void signal_all(int number) const {
    for (const Rank& rank : ranks_) {
      if (rank.is_running) ::kill(rank.pid, number);
    }
  }

  // Flags and files are the same for all ranks, which refuse them alike; any of them may be the first to end.
  bool is_said_by_first(int code) const {
    const bool is_common = code == kUsage || code == kFileAccess || code == kFileContent;
    const int status = ranks_[0].status;
    return is_common && WIFEXITED(status) && WEXITSTATUS(status) == code;
  }

  int report() const {
    const Rank& rank = *culprit_;
    const bool is_signal = WIFSIGNALED(rank.status);
    const int code = is_signal ? kFailure : WEXITSTATUS(rank.status);
    const std::string end = is_signal
                                ? fmt::format("was killed by signal {} ({})", WTERMSIG(rank.status),
                                              ::strsignal(WTERMSIG(rank.status)))
                                : fmt::format("ended with exit code {}", code);
    std::string text = fmt::format("wick: rank {} (pid {}, {}) {}; all ranks were ended\n",
                                   rank.number, rank.pid, to_string(rank.device), end);
    const bool has_more_to_say = rank.messages && !is_said_by_first(code);
    const std::string said = has_more_to_say ? text_of(rank.messages.get()) : "";
    if (!said.empty()) text += "its last message: " + said + "\n";
    if (const auto checkpoint = Trainer::latest_checkpoint(flags_.output_dir)) {
      text += fmt::format("the last whole checkpoint is {}; to go on:\n  {}\n",
                          checkpoint->string(), resume_command(flags_));
    } else {
      text += "no checkpoint was written yet\n";
    }
    print_note(text);
    return code;
  }

  const TrainFlags& flags_;
  std::vector<Rank> ranks_;
  const Rank* culprit_ = nullptr;  // whose end ended the run
  Clock::time_point failed_at_;
  bool is_passed_on_ = false;
  bool is_asked_to_end_ = false;
};

}  // namespace

std::vector<Device> parse_devices(const std::string& text) {
  std::vector<Device> list;
  for (const std::string& part : split_list(text)) {
    if (is_number(part) && list.empty()) fail("--devices begins with a kind, as in cuda:0,1");
    const std::string name =
        is_number(part) ? fmt::format("{}:{}", to_string(list.back().type), part) : part;
    list.push_back(parse_device(name));
    const Device& last = list.back();
    if (last.type != list[0].type) fail("--devices takes devices of one kind, got " + text);
    const bool is_twice = std::count(list.begin(), list.end(), last) > 1;
    if (is_twice && last.type != DeviceType::kCpu) {
      fail("--devices names " + to_string(last) + " twice");
    }
  }
  if (text != "cuda") return list;
  std::vector<Device> present;
  for (const Device device : devices()) {
    if (device.type == DeviceType::kCuda) present.push_back(device);
  }
  return present.empty() ? list : present;
}

Device device_of_rank(const TrainFlags& flags, const RankOptions& rank) {
  if (flags.devices.empty()) {
    Device device = parse_device(flags.device);
    if (flags.device == "cuda") device.index = rank.local_rank;
    return device;
  }
  const std::vector<Device> list = parse_devices(flags.devices);
  if (static_cast<std::size_t>(rank.local_rank) < list.size()) {
    return list[static_cast<std::size_t>(rank.local_rank)];
  }
  fail(fmt::format("--devices {} has no device for local rank {}", flags.devices, rank.local_rank));
}

int run_ranks(const TrainFlags& flags, const std::vector<Device>& devices,
              const std::vector<std::string>& command_line) {
  watch_interrupts();
  Ranks ranks(flags);
  ranks.start(devices, command_line);
  return ranks.wait();
}

}  // namespace wick::cli
