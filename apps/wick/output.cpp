#include "output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/json.hpp"
#include "exit_code.hpp"

namespace wick::cli {

namespace {

volatile std::sig_atomic_t interrupts = 0;
// A byte in this pipe stands for an interrupt: waiting for it misses none, and it wakes whoever waits.
std::array<int, 2> wake_pipe{-1, -1};

void on_interrupt(int) {
  interrupts = interrupts + 1;
  if (interrupts > 1) std::_Exit(kInterrupted);
  const int saved = errno;
  static_cast<void>(!::write(wake_pipe[1], "", 1));
  errno = saved;
}

[[noreturn]] void fail_to_print() {
  throw Error(ErrorKind::kIo, "standard output",
              std::string("cannot be written: ") + std::strerror(errno));
}

[[noreturn]] void fail_to_watch() {
  throw Error(ErrorKind::kInternal, "interrupts",
              std::string("cannot be handled: ") + std::strerror(errno));
}

}  // namespace

void prepare_process() {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    if (::fcntl(number, F_GETFD) != -1) continue;
    // The wrong way round: reading or writing it fails, as it should. open() takes the lowest free number.
    if (::open("/dev/null", number == STDIN_FILENO ? O_WRONLY : O_RDONLY) != number) std::abort();
  }
  std::signal(SIGPIPE, SIG_IGN);
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);
#endif
}

void print_out(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail_to_print();
}

void flush_out() {
  if (std::fflush(stdout) != 0) fail_to_print();
}

void print_note(std::string_view text) {
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
  static_cast<void>(std::fflush(stderr));
}

std::string json_line(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void watch_interrupts() {
  interrupts = 0;
  if (wake_pipe[0] == -1 && ::pipe(wake_pipe.data()) != 0) fail_to_watch();
  // oneDNN's generated code keeps values below the end of the stack, where a handler would write over them.
  static std::array<char, std::size_t{1} << 16> handler_stack;
  stack_t stack{};
  stack.ss_sp = handler_stack.data();
  stack.ss_size = handler_stack.size();
  if (::sigaltstack(&stack, nullptr) != 0) fail_to_watch();
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool is_interrupted() { return interrupts > 0; }

bool wait_for_input() {
  std::array<pollfd, 2> files{{{STDIN_FILENO, POLLIN, 0}, {wake_pipe[0], POLLIN, 0}}};
  while (!is_interrupted()) {
    const int ready = ::poll(files.data(), files.size(), -1);
    if (ready > 0 || (ready < 0 && errno != EINTR)) break;
  }
  return !is_interrupted();
}

void forget_interrupt() {
  char byte = 0;
  if (is_interrupted()) static_cast<void>(!::read(wake_pipe[0], &byte, 1));
  interrupts = 0;
}

}  // namespace wick::cli
