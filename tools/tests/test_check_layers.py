import unittest

import check_case


class Layers(check_case.CheckCase):
    script = "check_layers.py"

    def setUp(self):
        super().setUp()
        self.write("src/base/CMakeLists.txt", "wick_add_layer(base SOURCES error.cpp)\n")
        self.write("src/base/error.cpp", '#include "wick/base/error.hpp"\n#include <fmt/format.h>\n')
        self.write("include/wick/base/error.hpp", "#pragma once\n#include <string>\n")
        self.write("src/layout/CMakeLists.txt", "wick_add_layer(layout\n  DEPENDS base # why\n  SOURCES shape.cpp)\n")
        self.write("src/layout/shape.cpp", '#include "wick/base/error.hpp"\n#include "layout/view.hpp"\n')
        self.write("src/layout/view.hpp", "#pragma once\n")
        self.write("src/runtime/CMakeLists.txt", "wick_add_layer(runtime DEPENDS layout PRIVATE fmt::fmt)\n")
        self.write("src/runtime/stream.cpp", '#include "layout/view.hpp"\n')
        self.write("src/backends/cpu/CMakeLists.txt", "wick_add_layer(cpu DEPENDS base runtime)\n")
        self.write("src/backends/cpu/add.cpp", '#include "hwy/foreach_target.h"\n#include HWY_TARGET_INCLUDE\n')
        self.write("src/backends/CMakeLists.txt", "wick_add_layer(backends DEPENDS cpu)\nadd_subdirectory(cpu)\n")
        self.write("src/backends/registry.cpp", '#include "backends/cpu/entry.hpp"\n')
        self.write("src/backends/cpu/entry.hpp", "#pragma once\n")
        self.write("include/wick/wick.hpp", '#pragma once\n#include "wick/base/error.hpp"\n')

    def test_clean(self):
        self.assert_clean()

    def test_include_of_a_layer_that_is_not_in_depends(self):
        self.write("src/runtime/stream.cpp", '#include "wick/base/error.hpp"\n')
        self.assert_violation("src/runtime/stream.cpp:1:", "layer runtime includes base")

    def test_include_upwards(self):
        self.write("src/base/error.cpp", '// a\n\n#include "layout/view.hpp"\n')
        self.assert_violation("src/base/error.cpp:3:", "layer base includes layout")

    def test_public_include_upwards(self):
        self.write("include/wick/layout/shape.hpp", "#pragma once\n")
        self.write("include/wick/base/error.hpp", '#pragma once\n#include "wick/layout/shape.hpp"\n')
        self.assert_violation("include/wick/base/error.hpp:2:", "layer base includes layout")

    def test_commented_includes_do_not_count(self):
        self.write("src/base/error.cpp", '// #include "layout/view.hpp"\n')
        self.assert_clean()

    def test_dependency_on_the_same_level(self):
        self.write("src/tensor/CMakeLists.txt", "wick_add_layer(tensor DEPENDS cpu)\n")
        self.assert_violation("src/tensor/CMakeLists.txt:1:", "only lower levels are allowed")

    def test_dependency_on_no_layer(self):
        self.write("src/layout/CMakeLists.txt", "wick_add_layer(layout DEPENDS base bse)\n")
        self.assert_violation("depends on bse, which is no layer")

    def test_a_backend_that_not_every_build_has(self):
        self.write("src/backends/cuda/CMakeLists.txt", "wick_add_layer(cuda DEPENDS runtime)\n")
        self.write("src/backends/cuda/entry.hpp", "#pragma once\n")
        self.write("src/backends/registry.cpp", '#include "backends/cuda/entry.hpp"\n')
        self.assert_violation("layer backends includes cuda")
        self.write("src/backends/CMakeLists.txt", "wick_add_layer(backends DEPENDS cpu ${WICK_CUDA_LAYER})\n")
        self.assert_clean()
        self.write("src/backends/CMakeLists.txt", "wick_add_layer(backends DEPENDS cpu ${WICK_MPS_LAYER})\n")
        self.assert_violation("depends on mps, which is no layer", "layer backends includes cuda", count=2)

    def test_layers_in_a_circle(self):
        self.write("src/base/CMakeLists.txt", "wick_add_layer(base DEPENDS layout)\n")
        self.assert_violation("only lower levels", "base -> layout -> base", count=2)

    def test_headers_in_a_circle(self):
        self.write("src/layout/view.hpp", '#pragma once\n#include "layout/other.hpp"\n')
        self.write("src/layout/other.hpp", '#pragma once\n#include "layout/view.hpp"\n')
        self.assert_violation("headers include each other: src/layout/other.hpp -> src/layout/view.hpp")

    def test_folder_that_is_no_layer(self):
        self.write("src/ops/add.cpp", "\n")
        self.assert_violation("src/ops/CMakeLists.txt:1:", "no wick_add_layer(ops ...)")

    def test_backend_that_is_no_layer(self):
        self.write("src/backends/null/null.cpp", "\n")
        self.assert_violation("src/backends/null/CMakeLists.txt:1:", "no wick_add_layer(null ...)")

    def test_layer_in_the_wrong_folder_without_level_or_twice(self):
        self.write("src/io/CMakeLists.txt", "wick_add_layer(ops)\nwick_add_layer(odd)\nwick_add_layer(base)\n")
        self.assert_violation(
            "layer ops belongs in src/ops/", "layer odd has no level", "layer base is declared twice",
            "layer base belongs in src/base/", count=4,
        )  # fmt: skip

    def test_source_outside_of_every_layer(self):
        self.write("src/main.cpp", "\n")
        self.assert_violation("src/main.cpp:1:", "belongs in a layer's folder")

    def test_includes_that_are_not_rooted(self):
        text = '#include "view.hpp"\n#include <layout/view.hpp>\n#include "layout/no.hpp"\n'
        self.write("src/layout/shape.cpp", text)
        self.assert_violation(
            "shape.cpp:1: \"view.hpp\" must be written from include/ or src/",
            "shape.cpp:2: own headers are included with quotes",
            "shape.cpp:3: \"layout/no.hpp\" is not in include/ or src/",
            count=3,
        )

    def test_public_headers_are_pure(self):
        self.write(
            "include/wick/base/error.hpp",
            '#pragma once\n#include <fmt/format.h>\n#include "base/check.hpp"\n#include <unistd.h>\n#include <span>\n',
        )
        self.write("src/base/check.hpp", "#pragma once\n")
        self.assert_violation("error.hpp:2:", "error.hpp:3:", "error.hpp:4:", count=3)

    def test_public_header_in_no_layer(self):
        self.write("include/wick/extra/extra.hpp", "#pragma once\n")
        self.assert_violation("include/wick/extra/extra.hpp:1:", "belongs in the folder of a layer")

    def test_the_header_for_c_programs(self):
        self.write("src/c_api/CMakeLists.txt", "wick_add_layer(c_api DEPENDS runtime)\n")
        self.write("src/c_api/c_api.cpp", '#include "wick/wick.h"\n#include "wick/base/error.hpp"\n')
        self.write("include/wick/wick.h", "#pragma once\n#include <stdint.h>\n")
        self.assert_violation("src/c_api/c_api.cpp:2: ", "layer c_api includes base")
        self.write("src/c_api/CMakeLists.txt", "wick_add_layer(c_api DEPENDS base)\n")
        self.assert_clean()
        self.write("src/runtime/stream.cpp", '#include "wick/wick.h"\n')
        self.assert_violation("src/runtime/stream.cpp:1:", "layer runtime includes c_api")

    def test_the_header_for_c_programs_is_c(self):
        self.write("src/c_api/CMakeLists.txt", "wick_add_layer(c_api DEPENDS base)\n")
        self.write("src/c_api/c_api.cpp", '#include "wick/wick.h"\n')
        text = '#pragma once\n#include <stddef.h>\n#include <cstdint>\n#include "wick/base/error.hpp"\n#include <unistd.h>\n'
        self.write("include/wick/wick.h", text)
        self.assert_violation("wick.h:3: ", "wick.h:4: ", "wick.h:5: ", "may not include unistd.h", count=3)

    def test_there_is_one_header_for_c_programs(self):
        self.write("include/wick/other.h", "#pragma once\n#include <stdint.h>\n")
        self.write("include/wick/base/other.h", "#pragma once\n#include <stdint.h>\n")
        self.assert_violation(
            "include/wick/other.h:1: a public header belongs in the folder of a layer",
            "include/wick/other.h:2: a public header may not include <stdint.h>",
            "include/wick/base/other.h:2: a public header may not include <stdint.h>",
            count=3,
        )

    def test_the_umbrella_is_for_users(self):
        self.write("src/base/error.cpp", '#include "wick/wick.hpp"\n')
        self.assert_violation("may not include its own umbrella header")


if __name__ == "__main__":
    unittest.main()
