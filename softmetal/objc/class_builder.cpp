#include "softmetal/objc/class_builder.hpp"

#include <functional>
#include <map>
#include <string>

#include "softmetal/objc/gnu_runtime.hpp"

namespace softmetal::detail {

Class* begin_class(const char* name, const char* parent) {
  Class* base = parent == nullptr ? nullptr : reinterpret_cast<Class*>(objc_getClass(parent));
  Class* cls = objc_allocateClassPair(base, name, 0);
  if (cls == nullptr) fault(std::string("the class ") + name + " is there already");
  if (parent == nullptr) {
    // What root.cpp calls Instance.
    constexpr unsigned char kPointerAlignment = 3;
    class_addIvar(cls, "isa", sizeof(void*), kPointerAlignment, "#");
    class_addIvar(cls, "references", sizeof(long), kPointerAlignment, "q");
    class_addIvar(cls, "state", sizeof(void*), kPointerAlignment, "^v");
    class_addIvar(cls, "original", sizeof(void*), kPointerAlignment, "#");
  }
  return cls;
}

void add_method(Class* cls, bool of_class, const char* selector, void (*implementation)(),
                const char* encoding) {
  // The first word of an object is its class; that of a class is the metaclass, which has the class methods.
  Class* owner = of_class ? *reinterpret_cast<Class**>(cls) : cls;
  if (class_addMethod(owner, sel_registerTypedName(selector, encoding), implementation, encoding) ==
      0) {
    fault(std::string("the method ") + selector + " is there already");
  }
}

namespace {

// Written while the classes are registered, before anybody else can ask.
std::map<std::string, Class*, std::less<>>& owners() {
  static std::map<std::string, Class*, std::less<>> classes;
  return classes;
}

}  // namespace

void note_owner(const char* name, Class* cls) { owners().emplace(name, cls); }

Class* class_of_owner(const std::string& name) {
  const auto found = owners().find(name);
  return found == owners().end() ? nullptr : found->second;
}

void end_class(Class* cls) { objc_registerClassPair(cls); }

}  // namespace softmetal::detail
