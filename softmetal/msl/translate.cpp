#include "softmetal/msl/translate.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

#include "softmetal/msl/lexer.hpp"
#include "softmetal/msl/thunks.hpp"

namespace softmetal::msl {
namespace {

const std::set<std::string, std::less<>> kNotMetal{
    "double",  "std",          "new",    "delete", "throw",        "try", "catch",
    "virtual", "dynamic_cast", "typeid", "goto",   "thread_local", "asm", "alignas"};
const std::set<std::string, std::less<>> kVectorTypes = [] {
  std::set<std::string, std::less<>> names;
  for (const char* base : {"float", "half", "bfloat", "int", "uint", "short", "ushort", "char",
                           "uchar", "long", "ulong"}) {
    for (const char* n : {"2", "3", "4"}) names.insert(std::string(base) + n);
  }
  return names;
}();

class Translator {
 public:
  explicit Translator(std::string_view source) : tokens_(split_tokens(source)) {}

  std::string run() {
    find_constants();
    while (at_ < tokens_.size()) step();
    return "#include <metal_stdlib>\n" + out_ + make_thunks(kernels_, constants_, uses_);
  }

 private:
  const Token& token() const { return tokens_[at_]; }
  [[noreturn]] void fail(std::size_t at, const std::string& what) const {
    const int line = tokens_[std::min(at, tokens_.size() - 1)].line;
    throw std::runtime_error("program_source:" + std::to_string(line) + ": error: " + what);
  }
  /// The next token that is no space; the end is an error.
  std::size_t after(std::size_t at) const {
    for (++at; at < tokens_.size(); ++at) {
      if (tokens_[at].kind != TokenKind::kSpace && tokens_[at].kind != TokenKind::kDirective)
        return at;
    }
    fail(at, "the source ends in the middle of something");
  }

  /// Reads `[[name]]` or `[[name(argument)]]` at `at`; leaves `at` on its last token.
  Attribute read_attribute(std::size_t& at) const {
    Attribute attribute;
    std::size_t i = after(at);
    attribute.name = tokens_[i].text;
    i = after(i);
    if (tokens_[i].is("(")) {
      for (i = after(i); !tokens_[i].is(")"); i = after(i)) attribute.argument += tokens_[i].text;
      i = after(i);
    }
    if (!tokens_[i].is("]]")) fail(i, "the attribute [[" + attribute.name + "]] is not known here");
    at = i;
    return attribute;
  }

  /// Function constants have to be known before their first use.
  void find_constants() {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (!tokens_[i].is("[[") || !tokens_[after(i)].is("function_constant")) continue;
      std::size_t name = i;
      do --name;
      while (tokens_[name].kind == TokenKind::kSpace);
      std::size_t end = i;
      const Attribute attribute = read_attribute(end);
      constants_[tokens_[name].text] = {tokens_[name].text, attribute.argument, ""};
    }
  }

  void step() {
    const Token& t = token();
    if (t.kind != TokenKind::kWord && t.kind != TokenKind::kPunctuation) {
      out_ += t.text;
      if (t.kind == TokenKind::kNumber || t.kind == TokenKind::kString) previous_ = t.text;
      ++at_;
      return;
    }
    if (t.is_word() && kNotMetal.count(t.text) != 0) fail(at_, "'" + t.text + "' is not Metal");
    if (t.is("[[")) return free_attribute();
    if (t.is("kernel")) return kernel();
    if (t.is("threadgroup")) return threadgroup();
    if (t.is("is_function_constant_defined")) return constant_defined();
    if (t.is_word()) note_use(t.text);
    if (t.is("{")) open_brace();
    if (t.is("}")) --depth_;
    if (t.is("template") && depth_ == 0) is_template_ = tokens_[after(at_)].is("<");
    const bool makes_vector =
        t.is_word() && kVectorTypes.count(t.text) != 0 && tokens_[after(at_)].is("(");
    out_ += makes_vector ? "msl::make_vector<" + t.text + ">" : t.text;
    previous_ = t.text;
    ++at_;
    // Where a declaration at the top may begin.
    if (depth_ == 0 && (t.is(";") || t.is("}"))) {
      declaration_ = out_.size();
      is_template_ = false;  // it was of something that is no kernel
    }
  }

  // ---- which function uses which names, for the function constants that a kernel needs
  void open_brace() {
    if (depth_ == 0 && previous_ == ")") function_ = candidate_;
    ++depth_;
  }
  void note_use(const std::string& name) {
    if (depth_ != 0) {
      uses_[function_].insert(name);
      return;
    }
    const std::size_t next = after(at_);
    if (tokens_[next].is("(")) candidate_ = name;
    // The declaration itself is followed by its attribute.
    if (constants_.count(name) != 0 && !tokens_[next].is("[[")) {
      fail(at_, "'" + name +
                    "' may be used in functions only: a constant made of function constants is not "
                    "known here");
    }
  }

  /// An attribute that belongs to no parameter.
  void free_attribute() {
    const Attribute attribute = read_attribute(at_);
    ++at_;
    if (attribute.name == "host_name") {
      host_name_ = attribute.argument.substr(1, attribute.argument.size() - 2);
    } else if (attribute.name == "max_total_threads_per_threadgroup") {
      max_threads_ = attribute.argument;
    } else if (attribute.name == "function_constant") {
      declare_constant();
    } else if (attribute.name != "unroll" && attribute.name != "kernel") {
      fail(at_, "the attribute [[" + attribute.name + "]] is not known here");
    }
  }

  /// `constant T name [[function_constant(n)]]`: what was copied of it is taken back and declared otherwise.
  void declare_constant() {
    const std::string written = out_.substr(declaration_);
    out_.resize(declaration_);
    const std::size_t name_end = written.find_last_not_of(" \t\n");
    const std::size_t name_begin = written.find_last_of(" \t\n", name_end) + 1;
    const std::string name = written.substr(name_begin, name_end + 1 - name_begin);
    const std::size_t keyword = written.rfind("constant ", name_begin);
    if (keyword == std::string::npos)
      fail(at_, "a function constant is declared `constant T name`");
    std::string type = written.substr(keyword + 9, name_begin - keyword - 9);
    type.erase(type.find_last_not_of(" \t\n") + 1);
    constants_[name].type = type;
    out_ += written.substr(0, keyword) + "MSL_FUNCTION_CONSTANT(" + type + ", " + name + ")";
  }

  void constant_defined() {
    const std::size_t name = after(after(at_));
    if (constants_.count(tokens_[name].text) == 0)
      fail(name, "'" + tokens_[name].text + "' is no function constant");
    if (!function_.empty()) uses_[function_].insert("?" + tokens_[name].text);
    out_ += "msl::rt::constant_defined(" + constants_[tokens_[name].text].index + ")";
    previous_ = ")";
    at_ = after(name) + 1;
  }

  // ---- kernel void NAME[<arguments>](parameters)
  void kernel() {
    std::size_t i = after(at_);
    if (!tokens_[i].is("void")) fail(i, "a kernel returns void");
    i = after(i);
    KernelDeclaration declared;
    declared.function = declared.callee = tokens_[i].text;
    out_ += "void " + declared.callee;
    i = after(i);
    const bool is_instance = tokens_[i].is("<");
    if (is_instance) {
      std::string arguments;
      int depth = 0;
      do {
        depth += tokens_[i].is("<") ? 1 : tokens_[i].is(">") ? -1 : 0;
        arguments += tokens_[i].text;
        ++i;
      } while (depth > 0);
      declared.callee += arguments;
      out_ += arguments;
      if (tokens_[i].kind == TokenKind::kSpace) i = after(i);
    }
    if (!tokens_[i].is("(")) fail(i, "expected ( after the kernel's name");
    at_ = parameters(i, declared) + 1;
    previous_ = ")";
    candidate_ = declared.function;
    if (!is_template_ || is_instance) {
      declared.host_name = host_name_.empty() ? declared.callee : host_name_;
      declared.max_threads = max_threads_;
      kernels_.push_back(declared);
    }
    is_template_ = false;
    host_name_.clear();
    max_threads_.clear();
  }

  /// Copies the parameters without their attributes; answers where the closing parenthesis is.
  std::size_t parameters(std::size_t open, KernelDeclaration& declared) {
    out_ += "(";
    Attribute attribute;
    bool any = false;
    int depth = 1;
    for (std::size_t i = open + 1;; ++i) {
      if (i >= tokens_.size()) fail(i, "the parameters of a kernel do not end");
      const Token& t = tokens_[i];
      if (t.is("[[")) {
        attribute = read_attribute(i);
        continue;
      }
      depth += t.is("(") ? 1 : t.is(")") ? -1 : 0;
      if (depth == 0 || (t.is(",") && depth == 1)) {
        if (any && attribute.name.empty()) fail(i, "a parameter of a kernel has no attribute");
        if (any) declared.parameters.push_back(attribute);
        attribute = {};
        any = false;
        out_ += t.text;
        if (depth == 0) return i;
        continue;
      }
      any |= t.kind != TokenKind::kSpace;
      out_ += t.is("threadgroup") ? "MSL_THREADGROUP" : t.text;
    }
  }

  // ---- threadgroup, an address space or memory of the group
  void threadgroup() {
    if (!declares_array()) {
      out_ += "MSL_THREADGROUP";
      previous_ = "threadgroup";
      ++at_;
      return;
    }
    std::vector<std::size_t> kept;
    for (at_ = after(at_); !token().is(";"); at_ = after(at_)) {
      if (token().is("=")) fail(at_, "memory of a threadgroup has no initial value");
      kept.push_back(at_);
    }
    emit_arrays(kept);
    previous_ = ";";
    out_ += ";";
    ++at_;
  }

  /// Whether `threadgroup` begins a declaration in a function that is no pointer and no reference.
  bool declares_array() const {
    if (depth_ == 0 || (previous_ != ";" && previous_ != "{" && previous_ != "}")) return false;
    for (std::size_t i = after(at_);
         !tokens_[i].is(";") && !tokens_[i].is("=") && !tokens_[i].is("["); i = after(i)) {
      if (tokens_[i].is("*") || tokens_[i].is("&")) return false;
    }
    return true;
  }

  /// `T a[2], b` become references to blocks of the group.
  void emit_arrays(const std::vector<std::size_t>& kept) {
    std::vector<std::vector<std::size_t>> declarators(1);
    int nesting = 0;
    for (const std::size_t i : kept) {
      const Token& t = tokens_[i];
      nesting += t.is("[") || t.is("<") || t.is("(")   ? 1
                 : t.is("]") || t.is(">") || t.is(")") ? -1
                                                       : 0;
      if (t.is(",") && nesting == 0) {
        declarators.emplace_back();
      } else {
        declarators.back().push_back(i);
      }
    }
    // The first has the type in front of its name.
    std::vector<std::size_t>& first = declarators.front();
    const auto bracket =
        std::find_if(first.begin(), first.end(), [&](std::size_t i) { return tokens_[i].is("["); });
    if (bracket - first.begin() < 2)
      fail(first.empty() ? at_ : first[0], "a type and a name are expected after threadgroup");
    const std::string type = join(first.begin(), bracket - 1);
    first.erase(first.begin(), bracket - 1);
    for (std::size_t d = 0; d < declarators.size(); ++d) {
      const auto& declarator = declarators[d];
      if (declarator.empty()) fail(at_, "a name is missing");
      const std::string name = tokens_[declarator[0]].text;
      const std::string extent = join(declarator.begin() + 1, declarator.end());
      const std::string id = std::to_string(next_local_++);
      uses_[function_].insert("#" + id);
      out_ += std::string(d == 0 ? "" : "; ") + "MSL_THREADGROUP " + type + " (&" + name + ")" +
              extent + " = *(MSL_THREADGROUP " + type + " (*)" + extent + ")MSL_BLOCK(" + id +
              ", sizeof(" + type + (extent.empty() ? "" : extent) + "))";
    }
  }
  template <class Iterator>
  std::string join(Iterator begin, Iterator end) const {
    std::string text;
    for (; begin != end; ++begin) text += (text.empty() ? "" : " ") + tokens_[*begin].text;
    return text;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::string out_;
  std::string previous_ = ";";
  std::size_t declaration_ = 0;  // where in out_ the declaration at the top began
  int depth_ = 0;
  bool is_template_ = false;
  std::string host_name_;
  std::string max_threads_;
  std::string candidate_;  // the last name before a parenthesis at the top
  std::string function_;   // whose body this is
  int next_local_ = 0;
  std::vector<KernelDeclaration> kernels_;
  std::map<std::string, ConstantDeclaration> constants_;
  UsesByFunction uses_;
};

}  // namespace

std::string translate(std::string_view preprocessed) { return Translator(preprocessed).run(); }

}  // namespace softmetal::msl
