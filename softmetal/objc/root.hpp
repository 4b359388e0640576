#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "apple/objc/encoding.hpp"

// The root class: instances, reference counts, autorelease pools, zombies, and what a wrong call does.

namespace softmetal {

using wick::apple::Object;
using wick::apple::objc::Class;
using wick::apple::objc::Selector;

/// The C++ side of an instance. Its initialiser or factory makes it; it dies with the last reference.
class State {
 public:
  State() = default;
  virtual ~State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  /// The instance that this belongs to.
  Object* self() const { return self_; }

 private:
  friend void attach_state(Object* object, std::unique_ptr<State> state);
  Object* self_ = nullptr;
};

/// A wrong call: ends the process or throws Fault, with the class and selector that were called.
[[noreturn]] void fault(const std::string& what);

/// The same where nothing may be thrown, as in a destructor: the text is kept for late_faults().
void fault_late(const std::string& what) noexcept;

/// Says for fault() which method runs on this thread.
class CallScope {
 public:
  CallScope(Object* receiver, Selector* selector);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  friend std::string current_call();
  Object* receiver_;
  Selector* selector_;
  CallScope* outer_;
};

/// A fresh instance with one reference and no state.
Object* allocate(Class* cls);
/// Gives an instance its state. A second one is a fault: init was sent twice.
void attach_state(Object* object, std::unique_ptr<State> state);
/// allocate() and attach_state().
Object* make_instance(Class* cls, std::unique_ptr<State> state);
/// The state of an instance; null when it has none. A fault for a deallocated one.
State* state_of(Object* object);
/// The class that an object of ours has, for texts.
std::string class_name_of(Object* object);

Object* retain(Object* object);
void release(Object* object);
/// Puts the caller's reference into the pool of this thread. Without a pool: a fault, since it would leak.
Object* autorelease(Object* object);

/// The state of a wanted kind. A fault when the object is null, released, not initialised or of another class.
template <class S>
S& state(Object* object) {
  if (object == nullptr) fault("an argument may not be nil");
  auto* found = dynamic_cast<S*>(state_of(object));
  if (found == nullptr)
    fault("a " + class_name_of(object) + " is of the wrong class or not initialised");
  return *found;
}

/// One reference to an object of ours; empty for null.
template <class S>
class Hold {
 public:
  Hold() = default;
  explicit Hold(S* held) : state_(held) {
    if (state_ != nullptr) retain(state_->self());
  }
  Hold(const Hold& other) : Hold(other.state_) {}
  Hold(Hold&& other) noexcept : state_(other.state_) { other.state_ = nullptr; }
  Hold& operator=(Hold other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Hold() {
    if (state_ != nullptr) release(state_->self());
  }
  S* get() const { return state_; }
  S* operator->() const { return state_; }
  S& operator*() const { return *state_; }
  explicit operator bool() const { return state_ != nullptr; }
  Object* object() const { return state_ == nullptr ? nullptr : state_->self(); }

 private:
  S* state_ = nullptr;
};

/// Opens and drains a pool, for threads of our own.
class PoolScope {
 public:
  PoolScope();
  ~PoolScope();
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;
};

/// Registers NSObject. Called once, before any other class.
void register_root();

}  // namespace softmetal
