#pragma once

#include <cstddef>

#include "softmetal/objc/root.hpp"

// GCC's libobjc, declared by hand: its own headers define names (id, BOOL, nil) that get in the way of C++.

extern "C" {
using SoftmetalImplementation = void (*)();
softmetal::Class* objc_allocateClassPair(softmetal::Class* parent, const char* name,
                                         std::size_t extra);
void objc_registerClassPair(softmetal::Class* cls);
softmetal::Object* objc_getClass(const char* name);
unsigned char class_addMethod(softmetal::Class* cls, softmetal::Selector* selector,
                              SoftmetalImplementation implementation, const char* types);
unsigned char class_addIvar(softmetal::Class* cls, const char* name, std::size_t size,
                            unsigned char log2_alignment, const char* type);
unsigned char class_respondsToSelector(softmetal::Class* cls, softmetal::Selector* selector);
softmetal::Object* class_createInstance(softmetal::Class* cls, std::size_t extra);
unsigned char class_isMetaClass(softmetal::Class* cls);
const char* class_getName(softmetal::Class* cls);
softmetal::Object* object_dispose(softmetal::Object* object);
const char* sel_getName(softmetal::Selector* selector);
softmetal::Selector* sel_registerTypedName(const char* name, const char* types);
extern SoftmetalImplementation (*__objc_msg_forward2)(softmetal::Object* receiver,
                                                      softmetal::Selector* selector);
}
