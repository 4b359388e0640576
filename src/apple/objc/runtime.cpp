#include "apple/objc/runtime.hpp"

#include <string>

#include "wick/base/error.hpp"

extern "C" {
// NOLINTBEGIN(readability-identifier-naming): the runtime's names
wick::apple::objc::Selector* sel_registerName(const char* name);  // SAFETY: declares, does not call
wick::apple::Object* objc_getClass(const char* name);
wick::apple::Object* objc_retain(wick::apple::Object* object);
void objc_release(wick::apple::Object* object);
void* objc_autoreleasePoolPush();
void objc_autoreleasePoolPop(void* pool);
#if !defined(__APPLE__)
void softmetal_load();
#endif
// NOLINTEND(readability-identifier-naming)
}

namespace wick::apple {

namespace detail {
void retain(Object* object) noexcept {
  if (object != nullptr) objc_retain(object);
}
void release(Object* object) noexcept {
  if (object != nullptr) objc_release(object);
}
}  // namespace detail

AutoreleaseScope::AutoreleaseScope() noexcept : pool_(objc_autoreleasePoolPush()) {}
AutoreleaseScope::~AutoreleaseScope() { objc_autoreleasePoolPop(pool_); }

namespace objc {

std::string normalised_encoding(const char* encoding) {
  std::string kept;
  bool is_name = false;  // of a struct, up to its '=': its letters mean nothing
  for (const char c : std::string_view(encoding == nullptr ? "" : encoding)) {
    if (c == '{' || c == '=' || c == '}') is_name = c == '{';
    if (is_name || std::string_view("0123456789rnNoORVA").find(c) == std::string_view::npos)
      kept += c;
  }
  return kept;
}

Selector* register_selector(const char* name) {
  // SAFETY: the runtime copies the name.
  return sel_registerName(name);
}

Object* find_class(std::string_view name) {
#if !defined(__APPLE__)
  softmetal_load();  // its classes are there from its first use on
#endif
  Object* found = objc_getClass(std::string(name).c_str());
  if (found == nullptr) {
    throw Error(ErrorKind::kUnsupported, std::string(name), "this system has no such class", {},
                "it may need a later version of macOS");
  }
  return found;
}

void throw_nil_receiver(std::string_view owner, std::string_view selector) {
  throw Error(ErrorKind::kArgument, std::string(owner),
              "'" + std::string(selector) + "' was sent to an object that is empty or moved from");
}

void throw_nil_result(std::string_view owner, std::string_view selector) {
  throw Error(ErrorKind::kBackend, std::string(owner),
              "'" + std::string(selector) + "' made no object");
}

}  // namespace objc
}  // namespace wick::apple
