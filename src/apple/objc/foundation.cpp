#include "apple/objc/foundation.hpp"

#include "apple/objc/message.hpp"
#include "apple/objc/structs.hpp"

namespace wick::apple::objc {
namespace {

constexpr UInteger kUtf8 = 4;  // NSUTF8StringEncoding

// NOLINTBEGIN(readability-identifier-naming): messages are objects that are called like functions
constexpr Message<NSString, '-', "initWithBytes:length:encoding:",
                  Owned<NSString>(const void*, UInteger, UInteger)>
    init_with_bytes;
constexpr Message<NSString, '-', "UTF8String", const char*()> utf8_string;
constexpr Message<NSString, '-', "lengthOfBytesUsingEncoding:", UInteger(UInteger)> length_of_bytes;
constexpr Message<NSArray, '-', "initWithObjects:count:", Owned<NSArray>(Object* const*, UInteger)>
    init_with_objects;
constexpr Message<NSError, '-', "code", Integer()> code;
constexpr Message<NSError, '-', "domain", NSString*()> domain;
constexpr Message<NSError, '-', "localizedDescription", NSString*()> description;
constexpr Message<NSProcessInfo, '+', "processInfo", NSProcessInfo*()> process_info;
constexpr Message<NSProcessInfo, '-',
                  "isOperatingSystemAtLeastVersion:", bool(NSOperatingSystemVersion)>
    is_at_least;
constexpr Message<NSProcessInfo, '-', "operatingSystemVersionString", NSString*()> version_string;
// NOLINTEND(readability-identifier-naming)

}  // namespace

Ref<NSString> make_string(std::string_view text) {
  // A length of zero still wants a pointer.
  const void* bytes = text.empty() ? "" : text.data();
  try {
    return make<NSString>(init_with_bytes, bytes, text.size(), kUtf8);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kBackend) throw;
    throw Error(ErrorKind::kArgument, "NSString", "the text must be UTF-8");
  }
}

std::string to_std_string(NSString* text) {
  if (text == nullptr) return {};
  const AutoreleaseScope scope;
  const char* bytes = utf8_string(text);
  return bytes == nullptr ? std::string() : std::string(bytes, length_of_bytes(text, kUtf8));
}

Ref<NSArray> make_array(std::span<Object* const> objects) {
  return make<NSArray>(init_with_objects, objects.data(), objects.size());
}

Error to_error(NSError* error, ErrorKind kind, std::string op, std::string_view what) {
  if (error == nullptr) {
    return {kind, std::move(op), std::string(what) + ": no reason was given"};
  }
  const AutoreleaseScope scope;
  return {kind, std::move(op),
          std::string(what) + ": " + to_std_string(description(error)) + " (" +
              to_std_string(domain(error)) + " " + std::to_string(code(error)) + ")"};
}

std::string system_version() {
  const AutoreleaseScope scope;
  return to_std_string(version_string(process_info()));
}

bool system_is_at_least(long major, long minor) {
  const AutoreleaseScope scope;
  return is_at_least(process_info(), {major, minor, 0});
}

}  // namespace wick::apple::objc
