#include <fmt/format.h>

#include <utility>

#include "base/json.hpp"
#include "base/json_events.hpp"
#include "base/quote.hpp"

namespace wick::detail {

namespace {

// Builds the tree. An object's keys are looked up in its own map, so that large vocabularies cost n log n.
class TreeReader final : public JsonEvents {
 public:
  using JsonEvents::JsonEvents;

  Json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }

  bool key(string_t& name) override {
    auto& object = open_.back()->get_ref<Json::object_t&>();
    const auto [place, is_new] = object.try_emplace(name);
    if (!is_new) fail_at(string_start(), fmt::format("the key {} is there twice", quote(name)));
    member_ = &place->second;
    return true;
  }

 private:
  void begin_object() override { open_.push_back(&place(Json::object())); }
  void begin_array() override { open_.push_back(&place(Json::array())); }
  void finish_object() override { open_.pop_back(); }
  void finish_array() override { open_.pop_back(); }

  bool put(Json value) {
    place(std::move(value));
    return true;
  }

  Json& place(Json value) {
    if (open_.empty()) return root_ = std::move(value);
    Json& parent = *open_.back();
    if (parent.is_object()) return *member_ = std::move(value);
    auto& list = parent.get_ref<Json::array_t&>();
    list.push_back(std::move(value));
    return list.back();
  }

  Json root_;
  std::vector<Json*> open_;
  Json* member_ = nullptr;  // where the value of the key that was read last goes
};

class KeyReader final : public JsonEvents {
 public:
  KeyReader(std::string_view text, std::string_view member)
      : JsonEvents(text, ""), member_(member) {}

  std::vector<std::string> take() { return std::move(keys_); }

  bool key(string_t& name) override {
    if (depth() == 1) inside_ = name == member_;
    if (depth() == 2 && inside_) keys_.push_back(name);
    return true;
  }

 private:
  std::string_view member_;
  std::vector<std::string> keys_;
  bool inside_ = false;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view where) {
  TreeReader reader(text, where);
  reader.read();
  return reader.take();
}

std::vector<std::string> keys_in_order(std::string_view text, std::string_view member) {
  KeyReader reader(text, member);
  reader.read();
  return reader.take();
}

}  // namespace wick::detail
