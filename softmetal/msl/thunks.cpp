#include "softmetal/msl/thunks.hpp"

#include <charconv>
#include <stdexcept>

namespace softmetal::msl {
namespace {

constexpr int kSlots = 31;

/// [[attribute]] to the expression that has it, of msl::rt::ThreadPlace.
const std::map<std::string, std::string>& builtins() {
  static const std::map<std::string, std::string> all{
      {"thread_position_in_grid", "p.in_grid"},
      {"thread_position_in_threadgroup", "p.in_group"},
      {"threadgroup_position_in_grid", "p.group"},
      {"threads_per_threadgroup", "p.threads_per_group"},
      {"threadgroups_per_grid", "p.groups_per_grid"},
      {"threads_per_grid", "p.threads_per_grid"},
      {"thread_index_in_threadgroup", "{p.index_in_group, 0, 0}"},
      {"thread_index_in_simdgroup", "{p.index_in_simd, 0, 0}"},
      {"simdgroup_index_in_threadgroup", "{p.simd_in_group, 0, 0}"},
      {"simdgroups_per_threadgroup", "{p.simds_per_group, 0, 0}"},
      {"threads_per_simdgroup", "{msl::rt::kSimdWidth, 0, 0}"}};
  return all;
}

int slot_of(const KernelDeclaration& kernel, const Attribute& attribute) {
  int slot = -1;
  const char* end = attribute.argument.data() + attribute.argument.size();
  const auto read = std::from_chars(attribute.argument.data(), end, slot);
  if (read.ec != std::errc() || read.ptr != end || slot < 0 || slot >= kSlots) {
    throw std::runtime_error("program_source: error: kernel " + kernel.host_name + ": [[" +
                             attribute.name + "(" + attribute.argument +
                             ")]] is not between 0 and 30");
  }
  return slot;
}

/// Everything that a function uses, and what that uses.
std::set<std::string> closure(const std::string& function, const UsesByFunction& uses) {
  std::set<std::string> found;
  std::vector<std::string> open{function};
  while (!open.empty()) {
    const std::string name = open.back();
    open.pop_back();
    if (!found.insert(name).second) continue;
    const auto body = uses.find(name);
    if (body != uses.end()) open.insert(open.end(), body->second.begin(), body->second.end());
  }
  return found;
}

std::string list(const std::string& name, const std::vector<std::string>& values) {
  std::string text = "static const std::uint32_t " + name + "[] = {";
  for (const std::string& value : values) text += value + ", ";
  return text + "0};\n";
}

class KernelThunk {
 public:
  KernelThunk(const KernelDeclaration& kernel, std::size_t number)
      : kernel_(kernel), number_(std::to_string(number)) {}

  /// The entry function; fills the record's fields.
  std::string entry() {
    std::string text =
        "using msl_p" + number_ + " = msl::rt::Parameters<decltype(&" + kernel_.callee +
        ")>;\nstatic void msl_entry" + number_ +
        "(void* const* b, void* const* g, const msl::rt::ThreadPlace& p) { (void)b; (void)g; "
        "(void)p; " +
        kernel_.callee + "(";
    for (std::size_t i = 0; i < kernel_.parameters.size(); ++i) {
      text += (i == 0 ? "" : ", ") + argument(kernel_.parameters[i], i);
    }
    return text + "); }\n";
  }

  std::string record(const std::map<std::string, ConstantDeclaration>& constants,
                     const UsesByFunction& uses, std::string& lists) const {
    std::vector<std::string> locals;
    std::vector<std::string> used;
    for (const std::string& name : closure(kernel_.function, uses)) {
      if (name[0] == '#') locals.push_back(name.substr(1));
      const auto constant = constants.find(name);
      if (constant != constants.end() && asked_before_use(name, uses)) continue;
      if (constant != constants.end()) used.push_back(constant->second.index);
    }
    lists += list("msl_locals" + number_, locals) + list("msl_constants" + number_, used);
    const std::string threads = kernel_.max_threads.empty() ? "1024" : kernel_.max_threads;
    return "{\"" + kernel_.host_name + "\", msl_entry" + number_ + ", " + std::to_string(buffers_) +
           "u, " + (written_.empty() ? "0u" : written_) + ", " + std::to_string(threadgroup_) +
           "u, " + threads + ", {" + min_bytes_ + "}, msl_locals" + number_ + ", " +
           std::to_string(locals.size()) + ", msl_constants" + number_ + ", " +
           std::to_string(used.size()) + "},\n";
  }

 private:
  /// A constant that the kernel asks about may be left without a value.
  bool asked_before_use(const std::string& name, const UsesByFunction& uses) const {
    return closure(kernel_.function, uses).count("?" + name) != 0;
  }

  std::string argument(const Attribute& attribute, std::size_t i) {
    const std::string type = "typename msl_p" + number_ + "::at<" + std::to_string(i) + ">";
    if (attribute.name == "buffer") {
      const int slot = slot_of(kernel_, attribute);
      buffers_ |= 1u << slot;
      written_ += (written_.empty() ? "" : " | ") + ("(msl::rt::may_write<" + type + ">() ? " +
                                                     std::to_string(1u << slot) + "u : 0u)");
      min_bytes_ += "[" + std::to_string(slot) + "] = msl::rt::min_bytes<" + type + ">(), ";
      return "msl::rt::buffer<" + type + ">(b[" + std::to_string(slot) + "])";
    }
    if (attribute.name == "threadgroup") {
      const int slot = slot_of(kernel_, attribute);
      threadgroup_ |= 1u << slot;
      return "msl::rt::buffer<" + type + ">(g[" + std::to_string(slot) + "])";
    }
    const auto builtin = builtins().find(attribute.name);
    if (builtin == builtins().end()) {
      throw std::runtime_error("program_source: error: kernel " + kernel_.host_name +
                               ": the attribute [[" + attribute.name + "]] is not known here");
    }
    return "msl::rt::builtin<" + type + ">(" + builtin->second + ")";
  }

  const KernelDeclaration& kernel_;
  std::string number_;
  std::uint32_t buffers_ = 0;
  std::uint32_t threadgroup_ = 0;
  std::string written_;
  std::string min_bytes_;
};

}  // namespace

std::string make_thunks(const std::vector<KernelDeclaration>& kernels,
                        const std::map<std::string, ConstantDeclaration>& constants,
                        const UsesByFunction& uses) {
  std::string text = "\n#line 1 \"thunks\"\n#undef device\n#undef constant\n#undef thread\n";
  std::string lists;
  std::string records;
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    KernelThunk thunk(kernels[i], i);
    text += thunk.entry();
    records += thunk.record(constants, uses, lists);
  }
  std::string constant_records;
  for (const auto& [name, constant] : constants) {
    constant_records += "{\"" + name + "\", " + constant.index + ", msl::rt::data_type<" +
                        constant.type + ">(), sizeof(" + constant.type + "), [] { return (void*)&" +
                        name + "; }},\n";
  }
  return text + lists + "static const msl::rt::Kernel msl_kernels[] = {\n" + records +
         "{}};\nstatic const msl::rt::Constant msl_constants[] = {\n" + constant_records +
         "{}};\nextern \"C\" __attribute__((visibility(\"default\"))) const msl::rt::Library "
         "msl_library = {msl_kernels, " +
         std::to_string(kernels.size()) + ", msl_constants, " + std::to_string(constants.size()) +
         ", &msl::rt::first_local, &msl::rt::runtime};\n";
}

}  // namespace softmetal::msl
