#!/usr/bin/env python3
"""Checks that includes follow the layers.

A layer is a folder with `wick_add_layer(<name> ... DEPENDS ...)` in its CMakeLists.txt. It may depend
only on layers of a strictly lower level, and may include only itself and what it depends on.
Public headers may include only the C++ standard library and other public headers; the header for C
programs, which belongs to the layer c_api, may include nothing but what every C compiler has.
"""

import dataclasses
import pathlib
import re

import lint_support

LEVELS = {
    "base": 0,
    "apple": 1,
    "layout": 1,
    "runtime": 2,
    "cpu": 3,
    "null": 3,
    "cuda": 3,
    "mps": 3,
    "tensor": 3,
    "autograd": 4,
    "backends": 4,  # only the registry, which names the backends that were built
    "ops": 5,
    "io": 5,
    "text": 5,
    "nn": 6,
    "models": 7,
    "train": 8,
    "generate": 8,
    "c_api": 9,
}
UMBRELLA = "include/wick/wick.hpp"
STD_HEADERS = frozenset(
    """algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono
    cinttypes climits clocale cmath codecvt compare complex concepts condition_variable coroutine
    csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype deque
    exception execution filesystem format forward_list fstream functional future initializer_list
    iomanip ios iosfwd iostream istream iterator latch limits list locale map memory memory_resource
    mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator
    semaphore set shared_mutex source_location span sstream stack stdexcept stop_token streambuf
    string string_view syncstream system_error thread tuple type_traits typeindex typeinfo
    unordered_map unordered_set utility valarray variant vector version""".split()
)
# What C11 asks even of a compiler without a library.
C_STD_HEADERS = frozenset(
    "float.h iso646.h limits.h stdalign.h stdarg.h stdbool.h stddef.h stdint.h stdnoreturn.h".split()
)
KEYWORDS = {"SOURCES", "HEADERS", "DEPENDS", "PRIVATE", "PUBLIC", "INTERFACE", "DEFINITIONS", "OPTIONS"}
# A backend that not every build has: cmake/wick_cuda.cmake sets WICK_CUDA_LAYER to `cuda` or to nothing.
OPTIONAL_LAYER = re.compile(r"\$\{WICK_([A-Z]+)_LAYER\}")
ADD_LAYER = re.compile(r"\bwick_add_layer\s*\(([^)]*)\)")


@dataclasses.dataclass
class Layer:
    name: str
    file: pathlib.Path
    line: int
    depends: list


def layer_folder(name):
    """Where the sources of a layer are."""
    if name in ("cpu", "null", "cuda", "mps"):
        return f"src/backends/{name}"
    return f"src/{name}"


def layer_of(relative):
    """The layer that a file of src/ or include/wick/ belongs to; None where it is in no layer."""
    if relative == lint_support.C_HEADER:
        return "c_api"
    parts = pathlib.PurePosixPath(relative).parts
    inner = parts[1:] if parts[0] == "src" else parts[2:]
    if len(inner) < 2:
        return None
    if inner[0] == "backends" and len(inner) > 2:
        return inner[1]
    return inner[0]


def read_layers(root, report):
    layers = {}
    for cmake in sorted((root / "src").rglob("CMakeLists.txt")):
        text = re.sub(r"#[^\n]*", lambda m: lint_support.blank(m.group()), cmake.read_text())
        text = OPTIONAL_LAYER.sub(lambda m: m.group(1).lower(), text)
        for match in ADD_LAYER.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            words = match.group(1).split()
            if not words:
                report.add(cmake, line, "wick_add_layer without a name")
                continue
            name, section, depends = words[0], None, []
            for word in words[1:]:
                if word in KEYWORDS:
                    section = word
                elif section == "DEPENDS":
                    depends.append(word)
            if name in layers:
                report.add(cmake, line, f"layer {name} is declared twice")
            layers[name] = Layer(name, cmake, line, depends)
    return layers


def check_declarations(root, layers, report):
    for layer in layers.values():
        if layer.name not in LEVELS:
            report.add(layer.file, layer.line, f"layer {layer.name} has no level in tools/check_layers.py")
            continue
        if layer.file.parent != root / layer_folder(layer.name):
            report.add(layer.file, layer.line, f"layer {layer.name} belongs in {layer_folder(layer.name)}/")
        for name in layer.depends:
            if name not in layers:
                report.add(layer.file, layer.line, f"layer {layer.name} depends on {name}, which is no layer")
            elif LEVELS.get(name, -1) >= LEVELS[layer.name]:
                report.add(
                    layer.file,
                    layer.line,
                    f"layer {layer.name} (level {LEVELS[layer.name]}) depends on {name} "
                    f"(level {LEVELS[name]}); only lower levels are allowed",
                )
    graph = {layer.name: [d for d in layer.depends if d in layers] for layer in layers.values()}
    for cycle in find_cycles(graph):
        layer = layers[cycle[0]]
        report.add(layer.file, layer.line, "layers depend on each other: " + " -> ".join(cycle))


def check_folders(root, layers, report):
    """Every folder of sources declares itself as a layer."""
    folders = set()
    for path in lint_support.cpp_files(root, "src"):
        name = layer_of(path.relative_to(root).as_posix())
        if name is None:
            report.add(path, 1, "a source file belongs in a layer's folder")
        else:
            folders.add(name)
    for name in sorted(folders):
        folder = f"src/backends/{name}" if not (root / "src" / name).is_dir() else f"src/{name}"
        if name not in layers:
            report.add(f"{folder}/CMakeLists.txt", 1, f"no wick_add_layer({name} ...) for the sources here")


def find_cycles(graph):
    """One cycle per strongly connected knot, as a list that starts and ends with the same name."""
    done, cycles = set(), []
    for start in sorted(graph):
        if start in done:
            continue
        path, on_path, iterators = [start], {start}, [iter(graph[start])]
        while path:
            following = next(iterators[-1], None)
            if following is None:
                done.add(path[-1])
                on_path.discard(path.pop())
                iterators.pop()
            elif following in on_path:
                cycles.append(path[path.index(following) :] + [following])
            elif following not in done and following in graph:
                path.append(following)
                on_path.add(following)
                iterators.append(iter(graph[following]))
    return cycles


def resolve(root, include):
    """The file that a rooted include names, relative to the root; None where there is none."""
    for base in ("include", "src"):
        if (root / base / include).is_file():
            return f"{base}/{include}"
    return None


def check_public_include(relative, line, quoted, include, report):
    if relative == lint_support.C_HEADER:
        if quoted or include not in C_STD_HEADERS:
            report.add(relative, line, f"the header for C programs may not include {include}")
    elif quoted:
        if not include.startswith("wick/"):
            report.add(relative, line, f'a public header may not include "{include}"')
    elif include not in STD_HEADERS:
        report.add(relative, line, f"a public header may not include <{include}>, which is not standard C++")


def check_layer_include(relative, line, target, layers, report):
    own, other = layer_of(relative), layer_of(target)
    if own == other or other is None and target != UMBRELLA:
        return
    if target == UMBRELLA:
        report.add(relative, line, "the library may not include its own umbrella header")
    elif own in layers and other not in layers[own].depends:
        report.add(
            relative,
            line,
            f"layer {own} includes {other} ({target}), which it does not depend on "
            f"(DEPENDS: {' '.join(layers[own].depends) or 'nothing'})",
        )


def check_file(root, path, layers, report, graph):
    relative = path.relative_to(root).as_posix()
    public = relative.startswith("include/")
    targets = graph.setdefault(relative, [])
    if public and layer_of(relative) not in layers and relative != UMBRELLA:
        report.add(relative, 1, "a public header belongs in the folder of a layer, include/wick/<layer>/")
    for line, quoted, include in lint_support.Source.read(path).includes():
        if public:
            check_public_include(relative, line, quoted, include, report)
        target = resolve(root, include)
        if target is None:
            rooted = "/" in include and not (path.parent / include).is_file()
            if quoted and include.split("/")[0] in {"wick", "backends", *LEVELS}:
                report.add(relative, line, f'"{include}" is not in include/ or src/')
            elif quoted and not rooted:
                report.add(relative, line, f'"{include}" must be written from include/ or src/')
        elif not quoted:
            report.add(relative, line, f"own headers are included with quotes, not <{include}>")
        else:
            targets.append(target)
            if relative != UMBRELLA:
                check_layer_include(relative, line, target, layers, report)


def check(options, report):
    root = options.root
    layers = read_layers(root, report)
    check_declarations(root, layers, report)
    check_folders(root, layers, report)
    graph = {}
    files = lint_support.cpp_files(root, "include", "src")
    for path in files:
        check_file(root, path, layers, report, graph)
    for cycle in find_cycles(graph):
        report.add(cycle[0], 1, "headers include each other: " + " -> ".join(cycle))
    return f"{len(files)} files in {len(layers)} layers include only what their layer depends on"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
