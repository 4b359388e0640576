#!/usr/bin/env python3
"""Checks that dangerous things stay in the few places where they are allowed.

Each rule names a pattern, the folders it holds in, the files that are let off, and whether a use in
one of those files needs a `// SAFETY:` comment on the same line or at most six lines above.
"""

import dataclasses
import re

import lint_support

LIBRARY = ("include/", "src/")
PRODUCT = (*LIBRARY, "apps/")
EVERYWHERE = (*PRODUCT, "softmetal/", "tests/", "bench/", "examples/")
SAFETY_LINES_ABOVE = 6
# Words after which a parenthesis or a star begins an expression, although they look like names.
EXPRESSION_WORDS = r"(?:return|co_return|co_yield|throw|case|else|do|and|or|not)"
TYPE_WORDS = (
    r"(?:(?:unsigned|signed|long|short|const)\s+)*"
    r"(?:(?:std::)?(?:u?int(?:8|16|32|64|ptr)_t|size_t|ptrdiff_t)"
    r"|unsigned|signed|int|long|short|char|bool|float|double)"
)
AFTER_CAST = r"\s*(?!(?:const|noexcept|override|final|requires|mutable|volatile)\b)[\w(&*\"'~!+-]"


@dataclasses.dataclass(frozen=True)
class Rule:
    name: str
    pattern: re.Pattern
    advice: str
    scope: tuple
    zones: tuple = ()  # regular expressions of paths where it is allowed
    needs_safety: bool = False
    includes: bool = False  # the pattern is matched against include paths too


def calls(*names):
    """A pattern for a call of a C function, `name(` or `std::name(`, but not `x.name(` or `Scope::name(`."""
    return re.compile(r"(?:(?<![\w.:>])|(?<![\w:])(?:std)?::)(?:" + "|".join(names) + r")\s*\(")


ALLOCATORS = (r"src/backends/.*allocator[^/]*\.cpp", r"src/base/mapped_file\.cpp", r"softmetal/.*")
OBJC = (r"src/apple/objc/.*", r"softmetal/.*")

RULES = (
    Rule(
        "reinterpret_cast",
        re.compile(r"\breinterpret_cast\b"),
        "only kernels, message sends, layout/view_cast.hpp and base/mapped_file.cpp reinterpret bytes",
        PRODUCT,
        (r"src/backends/.*", r"src/apple/objc/.*", r"src/layout/view_cast\.hpp", r"src/base/mapped_file\.cpp"),
        needs_safety=True,
    ),
    Rule("const_cast", re.compile(r"\bconst_cast\b"), "nothing casts const away", PRODUCT),
    Rule(
        "C-style cast",
        re.compile(
            r"\((?:\s*(?:const\s+)?[A-Za-z_][\w:]*(?:<[^()<>]*>)?(?:\s+const)?\s*\*[\s*]*(?:const\s*)?"
            r"|\s*" + TYPE_WORDS + r"\s*)\)" + AFTER_CAST
        ),
        "use static_cast, or the checked cast of the layer",
        PRODUCT,
    ),
    Rule(
        "naked new",
        re.compile(r"(?<!operator )\bnew\b(?=\s*[\w(:\[])|\boperator\s+new\b"),
        "use a value, std::make_unique or std::make_shared",
        PRODUCT,
        ALLOCATORS,
        needs_safety=True,
    ),
    Rule(
        "naked delete",
        re.compile(r"(?<!=)(?<!= )(?<!operator )\bdelete\b(?!\s*;)|\boperator\s+delete\b"),
        "let an owner release it",
        PRODUCT,
        ALLOCATORS,
        needs_safety=True,
    ),
    Rule(
        "C allocation",
        calls("malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign", "mmap", "munmap"),
        "memory comes from the allocators",
        PRODUCT,
        ALLOCATORS,
        needs_safety=True,
    ),
    Rule(
        "message send",
        re.compile(r"\b(?:objc_msgSend\w*|sel_registerName)\b"),
        "messages are sent in src/apple/objc only",
        EVERYWHERE,
        OBJC,
        needs_safety=True,
    ),
    Rule(
        "loaded code",
        re.compile(r"\bdl(?:open|sym|close)\b"),
        "libraries are loaded at run time in src/backends/cuda, src/apple/objc and by the benchmark of OpenBLAS and llama.cpp only",
        EVERYWHERE,
        (r"src/backends/cuda/.*", r"bench/cpu/(?:openblas|llama)\.cpp", *OBJC),
        needs_safety=True,
    ),
    Rule(
        "CUDA",
        re.compile(
            r"<<<|\b(?:cuda|cublas|cublasLt|cudnn|nccl)[A-Z]\w*\s*\(|\bcu[A-Z][a-z]\w*\s*\("
            r"|^(?:cuda|cublas|cudnn|nccl)\w*\.h"
        ),
        "CUDA is called in src/backends/cuda only",
        EVERYWHERE,
        (r"src/backends/cuda/.*",),
        includes=True,
    ),
    Rule(
        "intrinsic",
        re.compile(
            r"\b_mm(?:256|512)?_\w+|\b__m(?:128|256|512)[id]?\b|\bhn::|\bhwy::"
            r"|\bv(?:ld|st)[1-4]q?_\w+|\bv\w+q_[fsu](?:16|32|64)\b"
            r"|^hwy/|^(?:immintrin|x86intrin|arm_neon|arm_sve)\.h"
        ),
        "vector code lives in src/backends/cpu only",
        EVERYWHERE,
        (r"src/backends/cpu/.*",),
        includes=True,
    ),
    Rule(
        "environment",
        re.compile(r"\b(?:secure_)?getenv\s*\(|\benviron\b"),
        "the environment is read in src/runtime/settings.cpp only",
        LIBRARY,
        (r"src/runtime/settings\.cpp",),
    ),
    Rule(
        "printing",
        re.compile(
            r"\bstd::(?:cout|cerr|clog)\b|\b(?:std|fmt)::print(?:ln)?\s*\("
            r"|(?<![\w.])(?:f|v|vf)?printf\s*\(|\bf?puts\s*\(|\bputchar\s*\(|\bperror\s*\(|\bstd(?:out|err)\b"
        ),
        "the library never prints; use the log sink",
        LIBRARY,
    ),
    Rule(
        "abort",
        calls("abort", "exit", "_Exit", "_exit", "quick_exit", "terminate", "assert", "__builtin_trap"),
        "the library never ends the process; throw wick::Error",
        LIBRARY,
    ),
)
# `Type name(` declares; `return name(` calls.
DECLARES = re.compile(r"(?P<word>[A-Za-z_]\w*|[>*&])\s*$")
NOT_A_TYPE = {"return", "co_return", "throw", "else", "do", "case", "and", "or", "not", "co_await"}


def is_declaration(code, match):
    """Whether a match of a call pattern is the declaration `Type name(` instead."""
    before = code[max(0, match.start() - 80) : match.start()]
    previous = DECLARES.search(before)
    if not previous:
        return False
    word = previous.group("word")
    if word in "*&":
        return re.search(r"\b[A-Za-z_][\w:]*(?:<[^<>]*>)?\s*(?:\*+|&)\s*$", before) is not None
    return word not in NOT_A_TYPE


def is_cast(code, match):
    """Whether a parenthesised type before an operand is a cast, and not a parameter list."""
    before = code[max(0, match.start() - 40) : match.start()].rstrip()
    if re.search(r"\b" + EXPRESSION_WORDS + r"$", before):
        return True
    return re.search(r"[\w>)\]]$", before) is None


def uses(rule, source):
    """Yields the line numbers on which a rule's pattern is used."""
    code = source.without_directives()
    for match in rule.pattern.finditer(code):
        if rule.name == "C-style cast" and not is_cast(code, match):
            continue
        if rule.name in ("C allocation", "abort") and is_declaration(code, match):
            continue
        yield source.line_of(match.start())
    if rule.includes:
        for line, _, include in source.includes():
            if rule.pattern.search(include):
                yield line


def check_file(relative, source, report):
    for rule in RULES:
        if not relative.startswith(rule.scope):
            continue
        allowed = any(re.fullmatch(zone, relative) for zone in rule.zones)
        if allowed and not rule.needs_safety:
            continue
        for line in sorted(set(uses(rule, source))):
            if not allowed:
                report.add(relative, line, f"{rule.name}: {rule.advice}")
            elif not source.comment_near(line, "SAFETY:", SAFETY_LINES_ABOVE):
                report.add(relative, line, f"{rule.name} without a `// SAFETY:` comment at or above it")


def check(options, report):
    folders = sorted({scope.rstrip("/") for scope in EVERYWHERE})
    files = lint_support.cpp_files(options.root, *folders)
    for path in files:
        check_file(path.relative_to(options.root).as_posix(), lint_support.Source.read(path), report)
    return f"{len(files)} files keep {len(RULES)} kinds of danger where they are allowed"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
