#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "softmetal/objc/root.hpp"

// NSString, NSError, NSArray, NSNumber, NSDictionary, NSData, NSProcessInfo: what crosses between Metal and its callers.

namespace softmetal {

class StringState final : public State {
 public:
  explicit StringState(std::string text) : text_(std::move(text)) {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// An array or the values of a dictionary.
class ArrayState final : public State {
 public:
  explicit ArrayState(const std::vector<Object*>& objects);
  ~ArrayState() override;
  const std::vector<Object*>& objects() const { return objects_; }
  /// The states of all elements. A fault when one is of another class.
  template <class S>
  std::vector<S*> states() const {
    std::vector<S*> found;
    for (Object* object : objects_) found.push_back(&state<S>(object));
    return found;
  }

 private:
  std::vector<Object*> objects_;
};

class NumberState final : public State {
 public:
  explicit NumberState(double value) : value_(value) {}
  double value() const { return value_; }

 private:
  double value_;
};

class DataState final : public State {
 public:
  explicit DataState(std::vector<char> bytes) : bytes_(std::move(bytes)) {}
  const std::vector<char>& bytes() const { return bytes_; }

 private:
  std::vector<char> bytes_;
};

/// An autoreleased NSString.
Object* string_object(const std::string& text);
/// An autoreleased NSArray.
Object* array_object(const std::vector<Object*>& objects);
/// Writes an autoreleased NSError where the caller asked for one.
void give_error(Object** error, const std::string& domain, std::int64_t code,
                const std::string& text);
/// An owned NSError.
Object* make_error(const std::string& domain, std::int64_t code, const std::string& text);
/// The pairs of a dictionary from strings to strings or whole numbers; nothing for null.
std::vector<std::pair<std::string, std::string>> string_pairs(Object* dictionary);

void register_foundation();

}  // namespace softmetal
