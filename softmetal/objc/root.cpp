#include "softmetal/objc/root.hpp"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "softmetal/objc/class_builder.hpp"
#include "softmetal/objc/gnu_runtime.hpp"
#include "softmetal/softmetal.hpp"

namespace softmetal {
namespace {

struct Instance {
  Class* isa;
  std::atomic<long> references;
  State* state;     // owned
  Class* original;  // what it was before it became a zombie
};

Instance* instance_of(Object* object) { return reinterpret_cast<Instance*>(object); }

std::atomic<OnFault> action_on_fault{OnFault::kAbort};
Class* zombie_class = nullptr;
thread_local CallScope* innermost_call = nullptr;

// Never destroyed: objects may be released while the process ends.
struct Registry {
  std::mutex mutex;
  std::unordered_map<Class*, long> live;
  std::deque<Object*> zombies;
  std::vector<std::string> late_faults;
};
Registry& registry() {
  static Registry* const made = new Registry;
  return *made;
}

// A destroyed instance keeps its place until this many later ones have gone, so that a message to it finds the zombie.
constexpr std::size_t kZombies = 4096;

void destroy(Object* object) {
  Instance* instance = instance_of(object);
  delete instance->state;
  instance->state = nullptr;
  Registry& all = registry();
  Object* oldest = nullptr;
  {
    const std::lock_guard lock(all.mutex);
    --all.live[instance->original];
    instance->isa = zombie_class;
    all.zombies.push_back(object);
    if (all.zombies.size() > kZombies) {
      oldest = all.zombies.front();
      all.zombies.pop_front();
    }
  }
  if (oldest != nullptr) object_dispose(oldest);
}

// ---- autorelease pools: one stack of objects a thread, and where each pool begins in it
struct Pools {
  std::vector<Object*> objects;
  std::vector<std::size_t> begins;
};
Pools& pools() {
  thread_local Pools of_thread;
  return of_thread;
}
void* push_pool() {
  pools().begins.push_back(pools().objects.size());
  return reinterpret_cast<void*>(pools().begins.size());
}
void pop_pool(void* token) {
  Pools& all = pools();
  if (all.begins.size() != reinterpret_cast<std::size_t>(token)) {
    fault("autorelease pools are popped in another order than they were pushed");
  }
  const std::size_t begin = all.begins.back();
  while (all.objects.size() > begin) {
    Object* last = all.objects.back();
    all.objects.pop_back();
    release(last);
  }
  all.begins.pop_back();
}

[[noreturn]] void unknown_selector(Object* receiver, Selector* selector) {
  const CallScope call(receiver, selector);
  if (instance_of(receiver)->isa == zombie_class) {
    fault("message '" + std::string(sel_getName(selector)) + "' sent to a deallocated " +
          class_getName(instance_of(receiver)->original));
  }
  fault("unrecognized selector");
}
SoftmetalImplementation forward(Object*, Selector*) {
  return reinterpret_cast<SoftmetalImplementation>(&unknown_selector);
}

// ---- methods of NSObject
Object* class_alloc(Object* cls) { return allocate(reinterpret_cast<Class*>(cls)); }
Object* object_init(Object* self) { return self; }
bool object_responds(Object* self, Selector* selector) {
  return class_respondsToSelector(instance_of(self)->isa, selector) != 0;
}
std::uint64_t object_count(Object* self) {
  return static_cast<std::uint64_t>(instance_of(self)->references.load());
}

}  // namespace

Fault::~Fault() = default;
void on_fault(OnFault action) { action_on_fault = action; }

CallScope::CallScope(Object* receiver, Selector* selector)
    : receiver_(receiver), selector_(selector), outer_(innermost_call) {
  innermost_call = this;
}
CallScope::~CallScope() { innermost_call = outer_; }

std::string class_name_of(Object* object) {
  Instance* instance = instance_of(object);
  Class* cls = instance->isa == zombie_class ? instance->original : instance->isa;
  // The receiver of a class method is the class itself, whose own class is the metaclass.
  return class_getName(cls);
}

std::string current_call() {
  if (innermost_call == nullptr) return "softmetal";
  Object* receiver = innermost_call->receiver_;
  const bool of_class = class_isMetaClass(instance_of(receiver)->isa) != 0;
  return std::string(of_class ? "+[" : "-[") + class_name_of(receiver) + " " +
         sel_getName(innermost_call->selector_) + "]";
}

void fault(const std::string& what) {
  const std::string text = current_call() + ": " + what;
  if (action_on_fault == OnFault::kThrow) throw Fault(text);
  std::fprintf(stderr, "softmetal: %s\n", text.c_str());
  std::abort();
}

void fault_late(const std::string& what) noexcept {
  const std::string text = current_call() + ": " + what;
  if (action_on_fault == OnFault::kAbort) {
    std::fprintf(stderr, "softmetal: %s\n", text.c_str());
    std::abort();
  }
  const std::lock_guard lock(registry().mutex);
  registry().late_faults.push_back(text);
}

std::vector<std::string> late_faults() {
  const std::lock_guard lock(registry().mutex);
  return std::exchange(registry().late_faults, {});
}

Object* allocate(Class* cls) {
  Object* object = class_createInstance(cls, 0);
  Instance* instance = instance_of(object);
  instance->references.store(1, std::memory_order_relaxed);
  instance->state = nullptr;
  instance->original = cls;
  const std::lock_guard lock(registry().mutex);
  ++registry().live[cls];
  return object;
}

void attach_state(Object* object, std::unique_ptr<State> state) {
  Instance* instance = instance_of(object);
  if (instance->state != nullptr) fault("an object is initialised twice");
  state->self_ = object;
  instance->state = state.release();
}

Object* make_instance(Class* cls, std::unique_ptr<State> state) {
  Object* object = allocate(cls);
  attach_state(object, std::move(state));
  return object;
}

State* state_of(Object* object) {
  if (instance_of(object)->isa == zombie_class) {
    fault("a deallocated " + class_name_of(object) + " is used");
  }
  return instance_of(object)->state;
}

Object* retain(Object* object) {
  if (object == nullptr) return nullptr;
  if (instance_of(object)->isa == zombie_class) {
    fault("message 'retain' sent to a deallocated " + class_name_of(object));
  }
  instance_of(object)->references.fetch_add(1, std::memory_order_relaxed);
  return object;
}

void release(Object* object) {
  if (object == nullptr) return;
  if (instance_of(object)->isa == zombie_class) {
    fault("message 'release' sent to a deallocated " + class_name_of(object));
  }
  const long before = instance_of(object)->references.fetch_sub(1, std::memory_order_acq_rel);
  if (before == 1) destroy(object);
}

Object* autorelease(Object* object) {
  if (object == nullptr) return nullptr;
  if (pools().begins.empty()) {
    const std::string name = class_name_of(object);
    release(object);
    fault("a " + name + " is autoreleased with no pool in place: it would leak");
  }
  pools().objects.push_back(object);
  return object;
}

PoolScope::PoolScope() { push_pool(); }
PoolScope::~PoolScope() { pop_pool(reinterpret_cast<void*>(pools().begins.size())); }

std::map<std::string, long> live_objects() {
  const std::lock_guard lock(registry().mutex);
  std::map<std::string, long> found;
  for (const auto& [cls, count] : registry().live) {
    if (count != 0) found[class_getName(cls)] += count;
  }
  return found;
}

long live_object_count() {
  long sum = 0;
  for (const auto& [name, count] : live_objects()) sum += count;
  return sum;
}

void register_root() {
  __objc_msg_forward2 = forward;
  ClassBuilder<"NSObject">("NSObject", nullptr)
      .class_method<"alloc", &class_alloc>()
      .method<"init", &object_init>()
      .method<"retain", static_cast<Object* (*)(Object*)>(&retain)>()
      .method<"release", static_cast<void (*)(Object*)>(&release)>()
      .method<"autorelease", static_cast<Object* (*)(Object*)>(&autorelease)>()
      .method<"retainCount", &object_count>()
      .method<"respondsToSelector:", &object_responds>()
      .done();
  zombie_class = ClassBuilder<"NSObject">("SoftmetalZombie", nullptr).done();
}

}  // namespace softmetal

extern "C" {
SOFTMETAL_API softmetal::Object* objc_retain(softmetal::Object* object) {
  return softmetal::retain(object);
}
SOFTMETAL_API void objc_release(softmetal::Object* object) { softmetal::release(object); }
SOFTMETAL_API void* objc_autoreleasePoolPush() { return softmetal::push_pool(); }
SOFTMETAL_API void objc_autoreleasePoolPop(void* token) { softmetal::pop_pool(token); }
}
