#include "apple/objc/method_check.hpp"

#include "apple/objc/encoding.hpp"
#include "apple/objc/runtime.hpp"

// Declared by hand as in runtime.cpp: what both runtimes answer about their classes.
extern "C" {
// NOLINTBEGIN(readability-identifier-naming): the runtime's names
struct ObjcMethod;
wick::apple::Object* objc_getClass(const char* name);
ObjcMethod* class_getInstanceMethod(wick::apple::Object* cls,
                                    wick::apple::objc::Selector* selector);
ObjcMethod* class_getClassMethod(wick::apple::Object* cls, wick::apple::objc::Selector* selector);
const char* method_getTypeEncoding(ObjcMethod* method);
#if defined(__APPLE__)
struct ObjcProtocol;
struct ObjcMethodDescription {
  wick::apple::objc::Selector* name;
  char* types;
};
ObjcProtocol* objc_getProtocol(const char* name);
ObjcMethodDescription protocol_getMethodDescription(ObjcProtocol* protocol,
                                                    wick::apple::objc::Selector* selector,
                                                    bool is_required, bool is_instance);
#else
void softmetal_load();
wick::apple::Object* softmetal_class_of(const char* protocol);
#endif
// NOLINTEND(readability-identifier-naming)
}

namespace wick::apple {

namespace objc {

namespace {

const char* encoding_in_class(Object* cls, char kind, Selector* selector) {
  ObjcMethod* const method =
      kind == '-' ? class_getInstanceMethod(cls, selector) : class_getClassMethod(cls, selector);
  return method == nullptr ? nullptr : method_getTypeEncoding(method);
}

#if defined(__APPLE__)
const char* encoding_in_protocol(const char* name, char kind, Selector* selector) {
  ObjcProtocol* const protocol = objc_getProtocol(name);
  if (protocol == nullptr) return nullptr;
  const bool is_instance = kind == '-';
  const char* const required =
      protocol_getMethodDescription(protocol, selector, true, is_instance).types;
  if (required != nullptr) return required;
  return protocol_getMethodDescription(protocol, selector, false, is_instance).types;
}
#else
// GCC's runtime makes no protocols: softmetal has a class in the place of each.
const char* encoding_in_protocol(const char* name, char kind, Selector* selector) {
  Object* const cls = softmetal_class_of(name);
  return cls == nullptr ? nullptr : encoding_in_class(cls, kind, selector);
}
#endif

}  // namespace

MethodCheck check_method(const SelectorRow& row) {
#if !defined(__APPLE__)
  softmetal_load();
#endif
  const std::string owner(row.owner);
  Selector* const selector = register_selector(std::string(row.selector).c_str());
  Object* const cls = objc_getClass(owner.c_str());
  const char* const encoding = cls != nullptr
                                   ? encoding_in_class(cls, row.kind, selector)
                                   : encoding_in_protocol(owner.c_str(), row.kind, selector);
  MethodCheck check{row.owner, row.kind, row.selector, row.encoding, {}, MethodState::kMissing};
  if (encoding == nullptr) return check;
  check.found = normalised_encoding(encoding);
  check.state = check.found == row.encoding ? MethodState::kSame : MethodState::kOther;
  return check;
}

}  // namespace objc

std::vector<MethodCheck> check_methods() {
  std::vector<MethodCheck> checks;
  for (const objc::SelectorRow& row : objc::kSelectorRows)
    checks.push_back(objc::check_method(row));
  return checks;
}

}  // namespace wick::apple
