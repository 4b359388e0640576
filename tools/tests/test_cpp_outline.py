import unittest

import cpp_outline
import lint_support


def outline(text):
    return cpp_outline.functions(lint_support.Source(text))


def names(text):
    return [f.name for f in outline(text)]


class Names(unittest.TestCase):
    def test_free_functions(self):
        text = """
namespace wick::cpu {
[[nodiscard]] Tensor add(const Tensor& a, const Tensor& b);
template <typename T, std::enable_if_t<(sizeof(T) > 1), int> = 0>
std::vector<T> list(T (*make)(int), Options o = {.eps = 1e-5f}) { return {}; }
inline constexpr auto f(int a) -> int { return a; }
template <class T>
  requires std::integral<T> && (sizeof(T) == 4)
T g(T x);
std::function<void(int)> make_callback(int a);
extern "C" int c_function(void);
}
"""
        self.assertEqual(names(text), ["add", "list", "f", "g", "make_callback", "c_function"])
        self.assertEqual(outline(text)[0].namespaces, ("wick", "cpu"))

    def test_no_functions(self):
        text = """
constexpr int kA[] = {f(1), g(2)};
auto lambda = [](int a) { return a; };
std::function<void(int)> callback;
void (*pointer)(int);
using F = void(int);
typedef int (*G)(int);
static_assert(sizeof(int) == 4);
HWY_EXPORT(kernel);
enum class Kind { kA = (1 << 2), kB };
template <typename T> concept Small = requires(T t) { t.f(); };
class Forward;
struct { int x{0}; } anonymous;
"""
        self.assertEqual(names(text), [])

    def test_members(self):
        text = """
class WICK_API Tensor final : public Base<int> {
 public:
  Tensor() = default;
  explicit Tensor(int n) : n_{n}, base_(n), list_{1, 2} { check(); }
  ~Tensor();
  int size() const noexcept { return n_; }
  bool operator==(const Tensor&) const = default;
  float operator()(int i) const;
  explicit operator bool() const;
  int& operator[](int i) { return x_[i]; }
  struct Inner { void deep(); };
 private:
  void hidden();
  int n_ = 0;
};
"""
        found = outline(text)
        self.assertEqual(
            [f.name for f in found],
            ["Tensor::Tensor", "Tensor::Tensor", "Tensor::~Tensor", "Tensor::size", "Tensor::operator==",
             "Tensor::operator()", "Tensor::operator bool", "Tensor::operator[]", "Tensor::Inner::deep",
             "Tensor::hidden"],
        )  # fmt: skip
        self.assertEqual({f.name for f in found if f.access == "private"}, {"Tensor::hidden"})
        self.assertTrue(all(f.in_class for f in found))
        self.assertTrue(found[1].is_definition)

    def test_definitions_outside_and_return_of_a_struct(self):
        text = "struct Node* Foo::bar(int a) { return {}; }\nFoo::Foo(int a) : a_(a) {}\n"
        text += "struct P make() { return {}; }\n"
        self.assertEqual(names(text), ["Foo::bar", "Foo::Foo", "make"])

    def test_macros_that_make_functions_carry_their_arguments(self):
        text = "TEST(Tensor, grows) {\n}\nTEST_P(A, b) { f(); }\n"
        self.assertEqual(names(text), ["TEST(Tensor.grows)", "TEST_P(A.b)"])


    def test_kernels(self):
        text = "template <class T>\n__global__ void __launch_bounds__(kThreads<T>) rows(Args<T> a) {\n}\n"
        text += "__device__ __forceinline__ float half_of(float x) { return x / 2; }\n"
        self.assertEqual(names(text), ["rows", "half_of"])


class Extent(unittest.TestCase):
    def test_lines(self):
        text = "\n// c {\nint\nf(int a) {\n  if (a) {\n    g(\"}\");\n  }\n  return 1;\n}\nint h();\n"
        f, h = outline(text)
        self.assertEqual((f.line, f.end_line, f.is_definition), (3, 9, True))
        self.assertEqual((h.line, h.end_line, h.is_definition), (10, 10, False))

    def test_directives_inside(self):
        text = "int f() {\n#if A\n  g();\n#endif\n}\n#define X {\nint h() { return 1; }\n"
        self.assertEqual([(f.name, f.line, f.end_line) for f in outline(text)], [("f", 1, 5), ("h", 7, 7)])


if __name__ == "__main__":
    unittest.main()
