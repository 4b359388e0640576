#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

// What a translated source ends with: one entry function and one record for each kernel.

namespace softmetal::msl {

struct Attribute {
  std::string name;
  std::string argument;
};

struct KernelDeclaration {
  std::string function;   // without template arguments
  std::string callee;     // with them
  std::string host_name;  // by which the library knows it
  std::string max_threads;
  std::vector<Attribute> parameters;
};

struct ConstantDeclaration {
  std::string name;
  std::string index;
  std::string type;
};

/// The names that each function's body has: functions, constants, "?constant" where it only asks whether one is
/// defined, and "#id" for arrays in threadgroup memory.
using UsesByFunction = std::map<std::string, std::set<std::string>>;

std::string make_thunks(const std::vector<KernelDeclaration>& kernels,
                        const std::map<std::string, ConstantDeclaration>& constants,
                        const UsesByFunction& uses);

}  // namespace softmetal::msl
