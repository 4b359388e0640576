"""Finds the functions that a C++ file declares and defines, by matching brackets.

It is no compiler: it knows namespaces, classes, templates, constructors with member initialisers,
operators and macros that look like functions (TEST), and looks at no function's inside.
"""

import dataclasses
import re

import lint_support

_ACCESS = re.compile(r"^\s*(public|protected|private)\s*(?:slots)?\s*$")
_SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
_NAME = re.compile(r"(?:(?:[\w~]+(?:<[^()]*>)?::)*)(?:operator\s*(?:\(\s*\)|\[\s*\]|[^\s\w(]+|[\w:<>*& ]+)|~?\w+)\s*$")
_NOT_FUNCTIONS = {
    "alignas", "decltype", "noexcept", "requires", "static_assert", "explicit", "sizeof", "throw",
    "__attribute__", "__declspec", "__launch_bounds__", "if", "for", "while", "switch", "return", "catch", "defined",
}  # fmt: skip


@dataclasses.dataclass
class Function:
    name: str  # as written, with the classes it is inside of in front
    line: int  # where its declaration begins
    end_line: int  # where it ends: the closing brace, or the semicolon
    is_definition: bool
    namespaces: tuple
    in_class: bool
    access: str  # "public" for a free function
    head: str  # the declaration without comments, up to the brace or semicolon

    @property
    def simple_name(self):
        return self.name.split("::")[-1]


@dataclasses.dataclass
class _Scope:
    kind: str  # "namespace" or "class"
    name: str
    access: str
    end: int


def _strip_template(head):
    """The head without leading `template <...>` and attributes."""
    while True:
        head = head.lstrip()
        if head.startswith("[["):
            head = head[head.find("]]") + 2 :]
            continue
        match = re.match(r"template\s*<", head)
        if not match:
            return head
        depth, i = 1, match.end()
        while i < len(head) and depth:
            if head[i] in "([{":
                i = lint_support.matching(head, i)
            elif head[i] == "<":
                depth += 1
            elif head[i] == ">" and head[i - 1] != "-":
                depth -= 1
            i += 1
        head = head[i:]


def function_name(head):
    """The name that a declaration's head gives to a function; None where it declares no function."""
    head = _strip_template(head)
    start = 0
    while (paren := head.find("(", start)) >= 0:
        before = head[:paren]
        if re.search(r"\boperator\s*$", before):  # operator()(...)
            before = head[: lint_support.matching(head, paren) + 1]
            paren = head.find("(", len(before))
            if paren < 0:
                return None
        name = _NAME.search(before)
        without_name = before[: name.start()] if name else before
        in_template = re.sub(r"->|\boperator\s*[<>]+", "", without_name)
        if in_template.count("<") > in_template.count(">") or re.match(r"\(\s*\*", head[paren:]):
            start = lint_support.matching(head, paren) + 1  # std::function<void(int)>, void (*f)(int)
            continue
        plain = re.sub(r"\boperator\s*[^\w\s(]+", "", without_name)
        if re.search(r"(?<![=!<>+\-*/%&|^])=(?!=)", plain) or re.match(r"\s*(?:using|typedef|friend\s+class)\b", head):
            return None
        if name and name.group().strip() not in _NOT_FUNCTIONS:
            found = re.sub(r"\s+", " ", name.group().strip())
            macro = re.fullmatch(r"[A-Z][A-Z0-9_]*", found) and not without_name.strip()
            if macro:
                arguments = head[paren + 1 : lint_support.matching(head, paren)]
                return found + "(" + re.sub(r"\s", "", arguments).replace(",", ".") + ")"
            return found
        start = lint_support.matching(head, paren) + 1
    return None


def _is_member_initialiser(head):
    """Whether a brace after this head begins a member's initialiser and not the function's body."""
    depth, colon = 0, -1
    for i, c in enumerate(head):
        depth += (c in "([{") - (c in ")]}")
        if c == ":" and depth == 0 and ":" not in (head[i - 1 : i], head[i + 1 : i + 2]) and ")" in head[:i]:
            colon = i
            break
    return colon >= 0 and re.search(r"[\w>]\s*$", head[colon:]) is not None


class _Outline:
    def __init__(self, source):
        self.source = source
        self.code = source.without_directives()
        self.functions = []
        self.scopes = []

    def run(self):
        code, i, begin = self.code, 0, 0
        while i < len(code):
            if self.scopes and i >= self.scopes[-1].end:
                self.scopes.pop()
                begin = i = i + 1
                continue
            c = code[i]
            if c in "([":
                i = lint_support.matching(code, i)
            elif c == ":" and _ACCESS.match(code[begin:i]) and self.scopes:
                self.scopes[-1].access = _ACCESS.match(code[begin:i]).group(1)
                begin = i + 1
            elif c == ";":
                self.declare(begin, i, i, is_definition=False)
                begin = i + 1
            elif c == "{":
                i, begin = self.open_brace(begin, i)
                continue
            i += 1
        return self.functions

    def open_brace(self, begin, i):
        """Handles the brace at `i` of the statement begun at `begin`; returns where to go on, and the new begin."""
        head = self.code[begin:i]
        end = lint_support.matching(self.code, i)
        bare = _strip_template(head)
        kind = _SCOPE.match(re.sub(r"^(?:\s*(?:inline|typedef|static|constexpr|const)\b)+", "", bare).lstrip())
        is_function = function_name(head) is not None
        if kind and kind.group(1) in ("namespace", "extern") and not (is_function and kind.group(1) == "extern"):
            name = re.search(r"namespace\s+([\w:]+)\s*$", bare)
            self.scopes.append(_Scope("namespace", name.group(1) if name else "", "public", end))
            return i + 1, i + 1
        if kind and kind.group(1) in ("class", "struct", "union") and not self.returns_class(bare):
            self.enter_class(bare, kind.group(1), end)
            return i + 1, i + 1
        if is_function and not _is_member_initialiser(head):
            self.declare(begin, i, end, is_definition=True)
            return end + 1, end + 1
        return end + 1, begin  # an initialiser: the statement goes on

    @staticmethod
    def returns_class(bare):
        """`struct Foo make() {` is a function; `class WICK_API(x) Foo {` and `struct alignas(8) Foo {` are not."""
        return re.search(r"\)\s*(?:const|noexcept|override|final|\s)*$", bare) is not None

    def enter_class(self, bare, kind, end):
        head = re.sub(r"\b\w+\s*\([^()]*\)", " ", bare)
        head = re.split(r"(?<!:):(?!:)", head)[0]
        names = [n for n in re.findall(r"[A-Za-z_]\w*", head) if n not in ("final", kind)]
        name = re.sub(r"\s", "", names[-1]) if names else ""
        self.scopes.append(_Scope("class", name, "private" if kind == "class" else "public", end))

    def declare(self, begin, head_end, end, is_definition):
        head = self.code[begin:head_end]
        if not head.strip():
            return
        name = function_name(head)
        if name is None:
            return
        returns = function_returns_something(head, name)
        if not is_definition and not returns and name.endswith(")") and not name.startswith("operator"):
            return  # a macro call such as HWY_EXPORT(f);
        classes = [s.name for s in self.scopes if s.kind == "class"]
        first = begin + len(head) - len(head.lstrip())
        innermost = self.scopes[-1] if self.scopes else None
        accesses = [s.access for s in self.scopes if s.kind == "class"]
        self.functions.append(
            Function(
                name="::".join([*classes, name]),
                line=self.source.line_of(first),
                end_line=self.source.line_of(end),
                is_definition=is_definition,
                namespaces=tuple(p for s in self.scopes if s.kind == "namespace" for p in s.name.split("::")),
                in_class=innermost is not None and innermost.kind == "class",
                access=next((a for a in accesses if a != "public"), "public"),
                head=head.strip(),
            )
        )


def function_returns_something(head, name):
    """Whether anything but the name stands before the parameter list."""
    return _strip_template(head).split("(")[0].strip() != name.split("(")[0]


def functions(source):
    """The functions of a lint_support.Source at namespace and class scope, in order."""
    return _Outline(source).run()
