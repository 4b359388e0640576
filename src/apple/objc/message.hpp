#pragma once

#include <algorithm>
#include <atomic>
#include <string_view>
#include <type_traits>
#include <utility>

#include "apple/objc/encoding.hpp"
#include "apple/objc/runtime.hpp"
#include "apple/objc/selectors.hpp"
#include "apple/objc/tags.hpp"

// The only message sends. A message is a type: who has it, selector, exact prototype and ownership together, checked
// against the table of the SDK when it is compiled. Nothing here casts a selector or a prototype at run time.

namespace wick::apple::objc {

/// Marks a result that comes with a reference (+1).
template <class T>
struct Owned {};

namespace detail {

template <class R>
struct Result {
  using Raw = R;
  static constexpr bool kOwned = false;
  static R wrap(R raw) { return raw; }
};
template <>
struct Result<void> {
  using Raw = void;
  static constexpr bool kOwned = false;
};
template <class T>
struct Result<Owned<T>> {
  using Raw = T*;
  static constexpr bool kOwned = true;
  static Ref<T> wrap(T* raw) { return Ref<T>::adopt(raw); }
};

constexpr std::size_t count_colons(std::string_view selector) {
  return static_cast<std::size_t>(std::count(selector.begin(), selector.end(), ':'));
}

/// Calls what the message reaches.
template <class R, class... A>
#if defined(__clang__)
// A method takes every object by a pointer to its own class: the same call, but another type for the sanitizer.
__attribute__((no_sanitize("function")))
#endif
R send(Object* receiver, Selector* selector, A... arguments) {
  using Function = R (*)(Object*, Selector*, A...);
  // SAFETY: R and A are the prototype of the table's row: Message asserts it.
  const auto function = reinterpret_cast<Function>(find_implementation(receiver, selector));
  return function(receiver, selector, arguments...);
}

}  // namespace detail

/// `Kind` is '-' for a message to an instance of Owner (or of what inherits from it), '+' for one to the class.
template <class Owner, char Kind, FixedString Name, class Signature>
class Message;

template <class Owner, char Kind, FixedString Name, class R, class... A>
class Message<Owner, Kind, Name, R(A...)> {
  using Wrapper = detail::Result<R>;
  using Raw = typename Wrapper::Raw;
  static constexpr const SelectorRow* kRow = find_selector(Owner::kName, Kind, Name.view());
  static_assert(detail::count_colons(Name.view()) == sizeof...(A),
                "a selector has as many colons as its message has arguments");
  static_assert(kRow != nullptr, "the SDK has no such selector");
  static_assert(kRow == nullptr || kRow->encoding == kMethodEncoding<Raw, A...>.view(),
                "the SDK has this selector with another prototype");
  static_assert(kRow == nullptr || kRow->returns_owned() == Wrapper::kOwned,
                "Owned<> must be written exactly where the result comes with a reference");

 public:
  static constexpr std::string_view name() { return Name.view(); }
  static constexpr std::string_view owner() { return Owner::kName; }

  /// The runtime's selector, looked up once.
  static Selector* selector() {
    static std::atomic<Selector*> cached{nullptr};
    Selector* found = cached.load(std::memory_order_acquire);
    if (found == nullptr) [[unlikely]] {
      found = register_selector(Name.text);
      cached.store(found, std::memory_order_release);
    }
    return found;
  }

  /// Sends to an instance.
  auto operator()(Owner* receiver, std::type_identity_t<A>... arguments) const
    requires(Kind == '-')
  {
    if (receiver == nullptr) [[unlikely]]
      throw_nil_receiver(owner(), name());
    return send(receiver, arguments...);
  }

  /// Sends to the class Owner.
  auto operator()(std::type_identity_t<A>... arguments) const
    requires(Kind == '+')
  {
    return send(class_object(), arguments...);
  }

 private:
  static Object* class_object() {
    static Object* const found = find_class(owner());
    return found;
  }
  static auto send(Object* receiver, A... arguments) {
    if constexpr (std::is_void_v<Raw>) {
      detail::send<void, A...>(receiver, selector(), arguments...);
    } else {
      return Wrapper::wrap(detail::send<Raw, A...>(receiver, selector(), arguments...));
    }
  }
};

namespace messages {
// NOLINTNEXTLINE(readability-identifier-naming): called like a function
inline constexpr Message<NSObject, '-', "respondsToSelector:", bool(Selector*)> responds_to;
}  // namespace messages

/// Whether the object understands a message that not every version of the system has.
template <class M>
bool responds_to(NSObject* object, const M&) {
  return messages::responds_to(object, M::selector());
}

/// alloc, then the initialiser, which takes over what alloc made. Throws Error kBackend when it answers nil.
template <class T, class Owner, FixedString Name, class R, class... A>
Ref<T> make(const Message<Owner, '-', Name, Owned<R>(A...)>& init,
            std::type_identity_t<A>... arguments) {
  static_assert(std::is_base_of_v<Owner, T>, "T does not inherit this initialiser");
  static_assert(find_selector(Owner::kName, '-', Name.view())->family == "init");
  static constexpr Message<NSObject, '+', "alloc", Owned<NSObject>()> kAlloc;
  static Object* const cls = find_class(T::kName);
  Ref<T> fresh = Ref<T>::adopt(static_cast<T*>(
      detail::send<Object*>(cls, std::remove_cvref_t<decltype(kAlloc)>::selector())));
  if (!fresh) throw_nil_result(T::kName, "alloc");
  Ref<R> made = init(fresh.get(), arguments...);
  // The initialiser has taken over what alloc gave, also where it answers nil or another object.
  static_cast<void>(std::move(fresh).leak());
  if (!made) throw_nil_result(T::kName, Name.view());
  return Ref<T>::adopt(static_cast<T*>(std::move(made).leak()));
}

}  // namespace wick::apple::objc
