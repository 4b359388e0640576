"""What the checks share: reading C++ without its comments and strings, walking the tree, reporting."""

import argparse
import bisect
import pathlib
import re
import subprocess
import sys

CPP_SUFFIXES = {".hpp", ".cpp", ".h", ".cu", ".cuh", ".metal", ".mm", ".def"}
HEADER_SUFFIXES = {".hpp", ".h", ".cuh"}
# The one header for C programs. It belongs to the layer c_api, but lies where they look for it.
C_HEADER = "include/wick/wick.h"

_TOKEN = re.compile(
    r"""(?P<line>//(?:\\\n|[^\n])*)
      | (?P<block>/\*.*?(?:\*/|\Z))
      | (?P<raw>(?<![A-Za-z0-9_])(?:u8|[uUL])?R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)")
      | (?P<string>"(?:\\.|[^"\\\n])*")
      | (?P<number>\b[0-9](?:'?[0-9A-Za-z_.])*)
      | (?P<char>'(?:\\.|[^'\\\n])+')""",
    re.VERBOSE | re.DOTALL,
)
_NOT_NEWLINE = re.compile(r"[^\n]")
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]*)"|<([^>\n]*)>)', re.MULTILINE)


def blank(text):
    """The text with everything but its line breaks replaced by spaces."""
    return _NOT_NEWLINE.sub(" ", text)


class Source:
    """A C++ file in three views of the same length: text, code and comments.

    `code` has comments and the insides of strings blanked; `comments` has everything else blanked.
    """

    def __init__(self, text):
        self.text = text
        code, comments, last = [], [], 0
        for match in _TOKEN.finditer(text):
            before, token = text[last : match.start()], match.group()
            code.append(before)
            comments.append(blank(before))
            if match.lastgroup in ("line", "block"):
                code.append(blank(token))
                comments.append(token)
            else:
                quote = "'" if match.lastgroup == "char" else '"'
                keep = match.lastgroup == "number"
                code.append(token if keep else quote + blank(token[1:-1]) + quote)
                comments.append(blank(token))
            last = match.end()
        self.code = "".join(code) + text[last:]
        self.comments = "".join(comments) + blank(text[last:])
        self._line_starts = [0] + [m.end() for m in re.finditer("\n", text)]

    @classmethod
    def read(cls, path):
        return cls(path.read_text(encoding="utf-8", errors="replace"))

    def line_of(self, offset):
        return bisect.bisect_right(self._line_starts, offset)

    def comment_near(self, line, word, lines_above):
        """Whether `word` stands in a comment on `line` or at most `lines_above` lines above it."""
        lines = self.comments.split("\n")
        return any(word in text for text in lines[max(0, line - 1 - lines_above) : line])

    def without_directives(self):
        """The code with preprocessor lines blanked."""
        return _DIRECTIVE.sub(lambda m: blank(m.group()), self.code)

    def includes(self):
        """Yields (line, quoted, path) for each include of a named file."""
        for match in _INCLUDE.finditer(self.text):
            hash_at = self.text.index("#", match.start())
            if self.code[hash_at] != "#":
                continue  # the directive is inside a comment or a raw string
            quoted = match.group(1) is not None
            yield self.line_of(hash_at), quoted, match.group(1) if quoted else match.group(2)


def matching(code, start):
    """The offset of the bracket that closes the one at `start`; the end of the text if none does."""
    closer = {"(": ")", "{": "}", "[": "]"}[code[start]]
    depth = 0
    for i in range(start, len(code)):
        if code[i] == code[start]:
            depth += 1
        elif code[i] == closer:
            depth -= 1
            if depth == 0:
                return i
    return len(code) - 1


def cpp_files(root, *folders, suffixes=CPP_SUFFIXES):
    """C++ files below the given folders of `root`, sorted."""
    found = []
    for folder in folders:
        for path in (root / folder).rglob("*"):
            if path.suffix in suffixes and path.is_file():
                found.append(path)
    return sorted(found)


def repo_files(root):
    """Files that git tracks or would add; every file where there is no git repository."""
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        paths = [root / name for name in listing.stdout.decode().split("\0") if name]
    else:
        paths = [p for p in root.rglob("*") if ".git" not in p.parts and "build" not in p.parts]
    return sorted(p for p in set(paths) if p.is_file() and not p.is_symlink())


class Report:
    """Collects violations and notes of one check and turns them into its verdict."""

    def __init__(self, root):
        self.root = root
        self.violations = []
        self.notes = []

    def _where(self, path, line):
        path = pathlib.Path(path)
        if path.is_absolute() and path.is_relative_to(self.root):
            path = path.relative_to(self.root)
        return f"{path.as_posix()}:{line}"

    def add(self, path, line, message):
        self.violations.append((self._where(path, line), message))

    def note(self, path, line, message):
        self.notes.append((self._where(path, line), message))

    def finish(self, ok_line):
        for where, message in self.notes:
            print(f"{where}: note: {message}")
        for where, message in self.violations:
            print(f"{where}: {message}")
        if self.violations:
            print(f"{len(self.violations)} violation(s)")
            return 1
        print(f"OK: {ok_line}")
        return 0


def parser(description):
    """An argument parser with the option that every check has."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument(
        "--root",
        type=lambda p: pathlib.Path(p).resolve(),
        default=pathlib.Path(__file__).resolve().parent.parent,
        help="the tree to check (default: the one this script is in)",
    )
    return result


def run_check(description, check, extra=None):
    """Parses the arguments, runs `check(options, report) -> OK line` and exits with its verdict."""
    arguments = parser(description)
    if extra:
        extra(arguments)
    options = arguments.parse_args()
    report = Report(options.root)
    ok_line = check(options, report)
    sys.exit(report.finish(ok_line))
