#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "apple/objc/encoding.hpp"
#include "apple/objc/selectors.hpp"
#include "softmetal/objc/root.hpp"

// Classes of the Objective-C runtime whose methods are C++ functions. A method that the SDK does not have, or has with
// another prototype, does not compile.

namespace softmetal {

namespace detail {

template <class S>
concept StateType =
    !std::is_same_v<S, Selector> && !std::is_same_v<S, Class> && std::is_base_of_v<State, S>;

/// How an argument arrives: a state by reference or by pointer (where nil is allowed) comes as its object.
template <class T>
struct Argument {
  using Wire = T;
  static T take(Wire value) { return value; }
};
template <StateType S>
struct Argument<S&> {
  using Wire = Object*;
  static S& take(Object* object) { return state<S>(object); }
};
template <StateType S>
struct Argument<S*> {
  using Wire = Object*;
  static S* take(Object* object) { return object == nullptr ? nullptr : &state<S>(object); }
};

template <auto F>
struct Method;
template <class R, class Self, class... A, R (*F)(Self, A...)>
struct Method<F> {
  static R call(Object* self, Selector* selector, typename Argument<A>::Wire... arguments) {
    const CallScope scope(self, selector);
    return F(Argument<Self>::take(self), Argument<A>::take(arguments)...);
  }
  static constexpr const char* encoding() {
    return wick::apple::objc::kMethodEncoding<R, typename Argument<A>::Wire...>.text;
  }
};

template <wick::apple::objc::FixedString Owner>
constexpr const wick::apple::objc::SelectorRow* find_in(char kind, std::string_view selector) {
  return wick::apple::objc::find_selector(Owner.view(), kind, selector);
}

Class* begin_class(const char* name, const char* parent);
void add_method(Class* cls, bool of_class, const char* selector, void (*implementation)(),
                const char* encoding);
void end_class(Class* cls);
/// Notes a class that stands for one of the SDK's classes or protocols; the first one stays.
void note_owner(const char* name, Class* cls);
/// The class that stands for it; null where there is none.
Class* class_of_owner(const std::string& name);

}  // namespace detail

/// Owners: the classes and protocols of the SDK whose methods this class has.
template <wick::apple::objc::FixedString... Owners>
class ClassBuilder {
 public:
  /// `parent` is null for a root.
  ClassBuilder(const char* name, const char* parent) : cls_(detail::begin_class(name, parent)) {
    (detail::note_owner(Owners.text, cls_), ...);
  }

  /// F is `R (*)(Self, A...)`; Self is the instance's state by reference, or Object* where it has none yet.
  template <wick::apple::objc::FixedString Name, auto F>
  ClassBuilder& method() {
    return add<'-', Name, F>();
  }
  /// The same for a message to the class; Self is Object*.
  template <wick::apple::objc::FixedString Name, auto F>
  ClassBuilder& class_method() {
    return add<'+', Name, F>();
  }
  /// Registers the class.
  Class* done() {
    detail::end_class(cls_);
    return cls_;
  }

 private:
  template <char Kind, wick::apple::objc::FixedString Name, auto F>
  ClassBuilder& add() {
    constexpr bool kKnown = ((detail::find_in<Owners>(Kind, Name.view()) != nullptr) || ...);
    static_assert(kKnown, "the SDK has no such selector");
    constexpr bool kExact =
        ((detail::find_in<Owners>(Kind, Name.view()) != nullptr &&
          detail::find_in<Owners>(Kind, Name.view())->encoding == detail::Method<F>::encoding()) ||
         ...);
    static_assert(!kKnown || kExact, "the SDK has this selector with another prototype");
    detail::add_method(cls_, Kind == '+', Name.text,
                       reinterpret_cast<void (*)()>(&detail::Method<F>::call),
                       detail::Method<F>::encoding());
    return *this;
  }

  Class* cls_;
};

/// What an initialiser does: gives `self` its state and answers it.
template <class S, class... A>
Object* initialise(Object* self, A&&... arguments) {
  attach_state(self, std::make_unique<S>(std::forward<A>(arguments)...));
  return self;
}
/// What a factory whose result is not owned does.
template <class S, class... A>
Object* make_autoreleased(Class* cls, A&&... arguments) {
  return autorelease(make_instance(cls, std::make_unique<S>(std::forward<A>(arguments)...)));
}
/// What a factory whose result is owned does.
template <class S, class... A>
Object* make_owned(Class* cls, A&&... arguments) {
  return make_instance(cls, std::make_unique<S>(std::forward<A>(arguments)...));
}

}  // namespace softmetal
