#include "softmetal/objc/foundation.hpp"

#include "apple/objc/structs.hpp"
#include "softmetal/objc/class_builder.hpp"

namespace softmetal {
namespace {

constexpr std::uint64_t kUtf8 = 4;  // NSUTF8StringEncoding

class ErrorState final : public State {
 public:
  ErrorState(std::string domain_name, std::int64_t error_code, std::string description)
      : domain(std::move(domain_name)), code(error_code), text(std::move(description)) {}
  const std::string domain;
  const std::int64_t code;
  const std::string text;
};

class DictionaryState final : public State {
 public:
  DictionaryState(const std::vector<Object*>& keys, const std::vector<Object*>& values)
      : keys_(keys), values_(values) {}
  const std::vector<Object*>& keys() const { return keys_.objects(); }
  const std::vector<Object*>& values() const { return values_.objects(); }

 private:
  ArrayState keys_;
  ArrayState values_;
};

Class* string_class = nullptr;
Class* error_class = nullptr;
Class* array_class = nullptr;
Class* number_class = nullptr;
Class* dictionary_class = nullptr;
Class* data_class = nullptr;
Class* process_class = nullptr;

/// Whether the bytes are UTF-8: shortest forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0x80   ? 0
                             : lead < 0xC2 ? 9
                             : lead < 0xE0 ? 1
                             : lead < 0xF0 ? 2
                             : lead < 0xF5 ? 3
                                           : 9;
    if (more == 9 || i + more >= text.size()) return false;
    std::uint32_t point = more == 0 ? lead : lead & (0x3Fu >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0u) != 0x80u) return false;
      point = (point << 6) | (next & 0x3Fu);
    }
    const bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
    if (overlong || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return false;
    i += more + 1;
  }
  return true;
}

// ---- NSString
Object* string_with_utf8(Object*, const char* text) {
  if (text == nullptr) fault("the C string may not be NULL");
  if (!is_utf8(text)) return nullptr;
  return string_object(text);
}
Object* string_init_bytes(Object* self, const void* bytes, std::uint64_t length,
                          std::uint64_t encoding) {
  if (encoding != kUtf8) fault("only UTF-8 (4) is known, got encoding " + std::to_string(encoding));
  std::string text(static_cast<const char*>(bytes), length);
  if (!is_utf8(text)) {
    release(self);
    return nullptr;
  }
  return initialise<StringState>(self, std::move(text));
}
const char* string_utf8(StringState& self) { return self.text().c_str(); }
std::uint64_t string_bytes(StringState& self, std::uint64_t encoding) {
  if (encoding != kUtf8) fault("only UTF-8 (4) is known, got encoding " + std::to_string(encoding));
  return self.text().size();
}

// ---- NSError
std::int64_t error_code(ErrorState& self) { return self.code; }
Object* error_domain(ErrorState& self) { return string_object(self.domain); }
Object* error_text(ErrorState& self) { return string_object(self.text); }

// ---- NSArray
std::vector<Object*> take(Object* const* objects, std::uint64_t count) {
  std::vector<Object*> taken(objects, objects + count);
  for (const Object* object : taken) {
    if (object == nullptr) fault("an element may not be nil");
  }
  return taken;
}
Object* array_with_object(Object*, Object* object) { return array_object(take(&object, 1)); }
Object* array_with_objects(Object*, Object** objects, std::uint64_t count) {
  return array_object(take(objects, count));
}
Object* array_init(Object* self, Object** objects, std::uint64_t count) {
  return initialise<ArrayState>(self, take(objects, count));
}
std::uint64_t array_count(ArrayState& self) { return self.objects().size(); }
Object* array_at(ArrayState& self, std::uint64_t index) {
  if (index >= self.objects().size()) {
    fault("index " + std::to_string(index) + " is beyond " + std::to_string(self.objects().size()) +
          " objects");
  }
  return self.objects()[index];
}

// ---- NSNumber
Object* number_with_unsigned(Object*, std::uint64_t value) {
  return make_autoreleased<NumberState>(number_class, static_cast<double>(value));
}
Object* number_with_double(Object*, double value) {
  return make_autoreleased<NumberState>(number_class, value);
}
std::uint64_t number_unsigned(NumberState& self) {
  return static_cast<std::uint64_t>(self.value());
}
double number_double(NumberState& self) { return self.value(); }

// ---- NSDictionary
Object* dictionary_with(Object*, Object** objects, Object** keys, std::uint64_t count) {
  return make_autoreleased<DictionaryState>(dictionary_class, take(keys, count),
                                            take(objects, count));
}
std::uint64_t dictionary_count(DictionaryState& self) { return self.keys().size(); }
Object* dictionary_keys(DictionaryState& self) { return array_object(self.keys()); }

// ---- NSData
std::vector<char> bytes_of(const void* bytes, std::uint64_t length) {
  const char* begin = static_cast<const char*>(bytes);
  return {begin, begin + length};
}
Object* data_with(Object*, const void* bytes, std::uint64_t length) {
  return make_autoreleased<DataState>(data_class, bytes_of(bytes, length));
}
Object* data_init(Object* self, const void* bytes, std::uint64_t length) {
  return initialise<DataState>(self, bytes_of(bytes, length));
}
const void* data_bytes(DataState& self) { return self.bytes().data(); }
std::uint64_t data_length(DataState& self) { return self.bytes().size(); }

// ---- NSProcessInfo: every version that is asked about is there
class ProcessState final : public State {};
Object* process_info(Object*) {
  static Object* const only = make_owned<ProcessState>(process_class);
  return only;
}
bool process_is_at_least(ProcessState&, wick::apple::objc::NSOperatingSystemVersion) {
  return true;
}

Object* process_version(ProcessState&) { return string_object("softmetal"); }

}  // namespace

ArrayState::ArrayState(const std::vector<Object*>& objects) : objects_(objects) {
  for (Object* object : objects_) retain(object);
}
ArrayState::~ArrayState() {
  for (Object* object : objects_) release(object);
}

Object* string_object(const std::string& text) {
  return make_autoreleased<StringState>(string_class, text);
}
Object* array_object(const std::vector<Object*>& objects) {
  return make_autoreleased<ArrayState>(array_class, objects);
}
Object* make_error(const std::string& domain, std::int64_t code, const std::string& text) {
  return make_owned<ErrorState>(error_class, domain, code, text);
}
void give_error(Object** error, const std::string& domain, std::int64_t code,
                const std::string& text) {
  if (error != nullptr) *error = autorelease(make_error(domain, code, text));
}

std::vector<std::pair<std::string, std::string>> string_pairs(Object* dictionary) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (dictionary == nullptr) return pairs;
  const auto& map = state<DictionaryState>(dictionary);
  for (std::size_t i = 0; i < map.keys().size(); ++i) {
    Object* value = map.values()[i];
    const auto* number = dynamic_cast<NumberState*>(state_of(value));
    const std::string text = number != nullptr
                                 ? std::to_string(static_cast<std::int64_t>(number->value()))
                                 : state<StringState>(value).text();
    pairs.emplace_back(state<StringState>(map.keys()[i]).text(), text);
  }
  return pairs;
}

void register_foundation() {
  string_class = ClassBuilder<"NSString">("NSString", "NSObject")
                     .class_method<"stringWithUTF8String:", &string_with_utf8>()
                     .method<"initWithBytes:length:encoding:", &string_init_bytes>()
                     .method<"UTF8String", &string_utf8>()
                     .method<"lengthOfBytesUsingEncoding:", &string_bytes>()
                     .done();
  error_class = ClassBuilder<"NSError">("NSError", "NSObject")
                    .method<"code", &error_code>()
                    .method<"domain", &error_domain>()
                    .method<"localizedDescription", &error_text>()
                    .done();
  array_class = ClassBuilder<"NSArray">("NSArray", "NSObject")
                    .class_method<"arrayWithObject:", &array_with_object>()
                    .class_method<"arrayWithObjects:count:", &array_with_objects>()
                    .method<"initWithObjects:count:", &array_init>()
                    .method<"count", &array_count>()
                    .method<"objectAtIndex:", &array_at>()
                    .done();
  number_class = ClassBuilder<"NSNumber">("NSNumber", "NSObject")
                     .class_method<"numberWithUnsignedInteger:", &number_with_unsigned>()
                     .class_method<"numberWithDouble:", &number_with_double>()
                     .method<"unsignedIntegerValue", &number_unsigned>()
                     .method<"doubleValue", &number_double>()
                     .done();
  dictionary_class = ClassBuilder<"NSDictionary">("NSDictionary", "NSObject")
                         .class_method<"dictionaryWithObjects:forKeys:count:", &dictionary_with>()
                         .method<"count", &dictionary_count>()
                         .method<"allKeys", &dictionary_keys>()
                         .done();
  data_class = ClassBuilder<"NSData">("NSData", "NSObject")
                   .class_method<"dataWithBytes:length:", &data_with>()
                   .method<"initWithBytes:length:", &data_init>()
                   .method<"bytes", &data_bytes>()
                   .method<"length", &data_length>()
                   .done();
  process_class = ClassBuilder<"NSProcessInfo">("NSProcessInfo", "NSObject")
                      .class_method<"processInfo", &process_info>()
                      .method<"isOperatingSystemAtLeastVersion:", &process_is_at_least>()
                      .method<"operatingSystemVersionString", &process_version>()
                      .done();
}

}  // namespace softmetal
