#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace wick::cli {

/// Prepares the process for a rough world: standard streams that are closed cannot be taken for files opened later, and a
/// write to a closed pipe or beyond the limit of a file's size fails with an error instead of a signal.
void prepare_process();

/// Prints results. Throws Error kIo when standard output cannot take them.
void print_out(std::string_view text);
/// Makes sure that what was printed has arrived. Throws Error kIo.
void flush_out();
/// Prints a message on standard error, which may be closed: nothing depends on it.
void print_note(std::string_view text);
/// A JSON value as one line for print_out(). What is no number is null, what is no UTF-8 becomes U+FFFD.
std::string json_line(const nlohmann::json& json);

/// From now on SIGINT and SIGTERM are noted; a second one ends the process at once with exit code 130.
void watch_interrupts();
/// Waits until standard input can be read. False when an interrupt is noted first, whichever thread it reached.
bool wait_for_input();
/// True once one has come.
bool is_interrupted();
/// Takes note that it was obeyed: the next one is a first one again.
void forget_interrupt();

}  // namespace wick::cli
