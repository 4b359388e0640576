import unittest

import check_case


class Danger(check_case.CheckCase):
    script = "check_danger.py"

    def assert_rule(self, rule, line, path="src/ops/a.cpp"):
        """The line breaks the rule where it stands."""
        file = self.write(path, f"void f() {{\n  {line}\n}}\n")
        with self.subTest(line=line, path=path):
            self.assert_violation(f"{path}:2: {rule}")
        file.unlink()

    def assert_fine(self, line, path="src/ops/a.cpp"):
        file = self.write(path, f"void f() {{\n  {line}\n}}\n")
        with self.subTest(line=line, path=path):
            self.assert_clean()
        file.unlink()

    def test_clean(self):
        self.assert_fine("return static_cast<float>(x);")

    def test_reinterpret_cast(self):
        self.assert_rule("reinterpret_cast", "auto p = reinterpret_cast<char*>(q);")
        self.assert_rule("reinterpret_cast", "auto p = reinterpret_cast<char*>(q);", "include/wick/base/a.hpp")
        self.assert_rule("reinterpret_cast without", "auto p = reinterpret_cast<char*>(q);", "src/backends/cpu/a.cpp")
        for path in ("src/backends/cpu/a.cpp", "src/layout/view_cast.hpp", "src/base/mapped_file.cpp"):
            self.assert_fine("// SAFETY: aligned\n  auto p = reinterpret_cast<char*>(q);", path)
            self.assert_fine("auto p = reinterpret_cast<char*>(q);  // SAFETY: aligned", path)

    def test_safety_comment_reaches_six_lines(self):
        use = "auto p = reinterpret_cast<char*>(q);"
        self.assert_fine("// SAFETY: aligned" + "\n" * 6 + use, "src/backends/cpu/a.cpp")
        self.write("src/backends/cpu/a.cpp", "// SAFETY: aligned" + "\n" * 7 + use)
        self.assert_violation("src/backends/cpu/a.cpp:8: reinterpret_cast without")

    def test_safety_in_a_string_is_no_comment(self):
        self.assert_rule("reinterpret_cast", 'g(reinterpret_cast<A*>(q), "SAFETY: no");', "src/backends/cpu/a.cpp")

    def test_casts(self):
        self.assert_rule("const_cast", "g(const_cast<A&>(a));", "src/backends/cpu/a.cpp")
        for line in ("auto p = (char*)q;", "g((const wick::Storage *)q);", "return (float*)(q);", "x = (int)y;",
                     "x = (std::size_t)(y);", "x = (unsigned long)y + 1;", "p = (T**)&q;"):  # fmt: skip
            self.assert_rule("C-style cast", line)

    def test_what_is_no_cast(self):
        for line in ("auto f = [](int*) { return 1; };", "int g(char*) const;", "x = sizeof(int) * n;", "(void)x;",
                     "std::function<void(int*)> h;", "y = (a * b) + 1;", "int operator()(int) const;",
                     "void k(float*) noexcept;", "int m(int) override;", "z = f(int{1}) + 2;"):  # fmt: skip
            self.assert_fine(line)

    def test_new_and_delete(self):
        for line in ("auto p = new Foo(1);", "auto p = ::new (q) Foo;", "p = new int[3];"):
            self.assert_rule("naked new", line)
        self.assert_rule("naked delete", "delete p;")
        self.assert_rule("naked delete", "delete[] p;")
        self.assert_rule("naked new", "return operator new(n);")
        self.assert_rule("naked new without", "p = new int[3];", "src/backends/cpu/cpu_allocator.cpp")
        self.assert_fine("p = new int[3];  // SAFETY: owned by b", "src/backends/cpu/cpu_allocator.cpp")
        self.assert_fine("Foo(const Foo&) = delete;")
        self.assert_fine("int new_size = 1;  // a new one, delete it")

    def test_new_header_is_no_new(self):
        self.write("src/ops/a.cpp", "#include <new>\n")
        self.assert_clean()

    def test_c_allocation(self):
        for line in ("p = malloc(3);", "std::free(p);", "::free(p);", "return std::aligned_alloc(64, n);",
                     "if (!p) free(p);", "m = mmap(nullptr, n, a, b, c, 0);"):  # fmt: skip
            self.assert_rule("C allocation", line)
        self.assert_rule("C allocation without", "p = malloc(3);", "src/base/mapped_file.cpp")
        self.assert_fine("p = malloc(3);  // SAFETY: freed in the destructor", "src/backends/cpu/arena_allocator_x.cpp")
        for line in ("pool.free(p);", "pool->free(p);", "void free(Block b);", "Pool::free(p);", "free_list(3);"):
            self.assert_fine(line)

    def test_messages(self):
        for path in ("src/apple/mps/a.cpp", "tests/a.cpp"):
            self.assert_rule("message send", "objc_msgSend(a, b);", path)
        self.assert_rule("message send without", 'sel_registerName("x");', "src/apple/objc/a.cpp")
        self.assert_fine('sel_registerName("x");  // SAFETY: the name is a literal', "src/apple/objc/a.cpp")

    def test_loaded_code(self):
        for line in ('dlsym(h, "x");', "h = dlopen(name, RTLD_NOW);", "dlclose(h);"):
            for path in ("src/ops/a.cpp", "apps/wick/main.cpp", "tests/a.cpp"):
                self.assert_rule("loaded code", line, path)
            self.assert_rule("loaded code without", line, "src/backends/cuda/a.cpp")
            self.assert_rule("loaded code without", line, "bench/cpu/openblas.cpp")
            self.assert_fine(f"{line}  // SAFETY: its header", "bench/cpu/llama.cpp")
            self.assert_fine(f"{line}  // SAFETY: the header's own type", "src/backends/cuda/a.cpp")
        self.assert_fine("class_f(dlsym);  // SAFETY: registration", "softmetal/a.cpp")

    def test_cuda(self):
        for line in ("cudaMalloc(&p, n);", "kernel<<<1, 2>>>(p);", "cublasLtMatmul(h);", "cuLaunchKernel(k);",
                     "ncclAllReduce(a);", "cudnnCreate(&h);"):  # fmt: skip
            self.assert_rule("CUDA", line, "src/ops/a.cpp")
            self.assert_fine(line, "src/backends/cuda/a.cu")
        self.write("src/ops/a.cpp", "#include <cuda_runtime.h>\n")
        self.assert_violation("src/ops/a.cpp:1: CUDA")

    def test_intrinsics(self):
        for line in ("auto v = _mm256_add_ps(a, b);", "__m512 v;", "v = vld1q_f32(p);", "v = vaddq_f32(a, b);",
                     "hn::Add(a, b);"):  # fmt: skip
            self.assert_rule("intrinsic", line)
            self.assert_fine(line, "src/backends/cpu/kernels/a-inl.hpp")
        for include in ("<immintrin.h>", "<arm_neon.h>", '"hwy/highway.h"'):
            self.write("src/ops/a.cpp", f"// a\n#include {include}\n")
            self.assert_violation("src/ops/a.cpp:2: intrinsic")

    def test_environment(self):
        self.assert_rule("environment", 'auto* v = std::getenv("A");')
        self.assert_fine('auto* v = std::getenv("A");', "src/runtime/settings.cpp")
        self.assert_fine('auto* v = std::getenv("A");', "tests/a.cpp")

    def test_printing(self):
        for line in ('std::cout << "a";', "std::cerr << a;", 'printf("a");', 'std::fprintf(f, "a");', 'puts("a");',
                     'fmt::print("a");', 'std::println("a");', "g(stderr);"):  # fmt: skip
            self.assert_rule("printing", line)
            self.assert_fine(line, "apps/wick/main.cpp")
        self.assert_fine('snprintf(p, n, "printf(");')

    def test_ending_the_process(self):
        for line in ("std::abort();", "exit(1);", "std::terminate();", "assert(x > 0);", "__builtin_trap();"):
            self.assert_rule("abort", line)
        for line in ("static_assert(true);", "loop.exit();", "void exit(int);"):
            self.assert_fine(line)

    def test_comments_and_strings_are_no_code(self):
        self.assert_fine('g("new Foo malloc(1) reinterpret_cast");  // std::abort() and (char*)x\n  /* exit(1) */')


if __name__ == "__main__":
    unittest.main()
