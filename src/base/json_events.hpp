#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace wick::detail {

/// What reads a JSON text event by event, without a tree: the base of every reader here. It keeps count of the depth
/// and of the byte that has been read last, and throws Error kParse for what no reader takes.
class JsonEvents : public nlohmann::json_sax<nlohmann::json> {
 public:
  static constexpr std::size_t kDeepest = 256;

  /// `text` must outlive this. `where` is the file for messages, `first_byte` the place of `text` in it.
  JsonEvents(std::string_view text, std::string_view where, std::size_t first_byte = 0)
      : text_(text), where_(where), first_byte_(first_byte) {}
  ~JsonEvents() override = default;
  JsonEvents(const JsonEvents&) = delete;
  JsonEvents& operator=(const JsonEvents&) = delete;

  /// Runs over the whole text. Throws Error kParse: `<where>: byte <n>: what was wrong`.
  void read();

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) final { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(std::size_t size) final;
  bool start_array(std::size_t size) final;
  bool end_object() final;
  bool end_array() final;
  bool parse_error(std::size_t position, const std::string& last_token,
                   const nlohmann::detail::exception& error) final;

 protected:
  virtual void begin_object() {}
  virtual void begin_array() {}
  virtual void finish_object() {}
  virtual void finish_array() {}

  /// How many objects and lists are open.
  std::size_t depth() const noexcept { return depth_; }
  const std::string& where() const noexcept { return where_; }
  /// Where the string that was read last begins: at its quote.
  std::size_t string_start() const noexcept;
  /// Throws Error kParse at a byte of the text; without one, at the byte after what was read last.
  [[noreturn]] void fail_at(std::size_t byte, std::string_view problem) const;
  [[noreturn]] void fail(std::string_view problem) const { fail_at(position_, problem); }

 private:
  void enter();

  std::string_view text_;
  std::string where_;
  std::size_t first_byte_;
  std::size_t position_ = 0;
  std::size_t depth_ = 0;
};

}  // namespace wick::detail
