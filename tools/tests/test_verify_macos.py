"""Runs tools/verify_macos.py on small Mach-O files that are put together here, right or with one thing wrong."""

import hashlib
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "verify_macos.py"
SYSTEM = "/usr/lib/libSystem.B.dylib"
METAL = "/System/Library/Frameworks/Metal.framework/Versions/A/Metal"
STUBS = {
    "libSystem.tbd": f"""--- !tapi-tbd
tbd-version:     4
targets:         [ x86_64-macos, arm64-macos ]
install-name:    '{SYSTEM}'
exports:
  - targets:         [ x86_64-macos ]
    symbols:         [ _intel_only ]
--- !tapi-tbd
targets:         [ x86_64-macos, arm64-macos ]
install-name:    '/usr/lib/system/libsystem_c.dylib'
exports:
  - targets:         [ x86_64-macos,
                       arm64-macos ]
    symbols:         [ _malloc, '_printf$OLD',
                       _printf ]
    weak-symbols:    [ _weak ]
...
""",
    "Metal.framework/Metal.tbd": f"""--- !tapi-tbd
targets:         [ arm64-macos ]
install-name:    '{METAL}'
exports:
  - targets:         [ arm64-macos ]
    symbols:         [ _MTLCreateSystemDefaultDevice ]
...
""",
}
EXECUTE_FLAGS = 0x200085  # no undefined symbols, dyld, two-level names, position-independent


def padded(data, size):
    return data + bytes(-len(data) % size)


def command(number, body):
    body = padded(body, 8)
    return struct.pack("<2I", number, 8 + len(body)) + body


def library(name, number=0xC):
    return command(number, struct.pack("<4I", 24, 0, 0, 0) + name.encode() + b"\0")


def build_version(platform=1, least=(13, 0)):
    return command(0x32, struct.pack("<4I", platform, least[0] << 16 | least[1] << 8, 14 << 16, 0))


def symbol_table(symbols):
    """(table, strings) of (name, type, description) each."""
    table, strings = b"", b"\0"
    for name, kind, description in symbols:
        table += struct.pack("<IBBHQ", len(strings), kind, 0, description, 0)
        strings += name.encode() + b"\0"
    return table, padded(strings, 8)


def imported(number, name):
    return name, 0x01, number << 8


def bindings(names):
    code = b"".join(bytes([0x10 | number]) + b"\x40" + name.encode() + b"\0\x72\x80\x01\x90" for number, name in names)
    return padded(code, 8)


def chained(names):
    strings, imports = b"\0", b""
    for number, name in names:
        imports += struct.pack("<I", number | len(strings) << 9)
        strings += name.encode() + b"\0"
    header = struct.pack("<7I", 0, 28, 28, 28 + len(imports), len(names), 1, 0)
    return padded(header + imports + strings, 8)


def signature(data, *, flags=2, name=b"wick", main=1, size=None, special=()):
    pages = [hashlib.sha256(data[i : i + 4096]).digest() for i in range(0, len(data), 4096)]
    parts = b"".join(hashlib.sha256(part).digest() for part in reversed(special))
    name_at, hashes_at = 88, 88 + len(name) + 1 + len(parts)
    length = hashes_at + 32 * len(pages)
    directory = struct.pack(">9I", 0xFADE0C02, length, 0x20400, flags, hashes_at, name_at, len(special), len(pages),
                            len(data) if size is None else size)  # fmt: skip
    directory += bytes((32, 2, 0, 12)).ljust(28, b"\0") + struct.pack(">3Q", 0, 4096, main)
    directory += name + b"\0" + parts + b"".join(pages)
    index, blobs = struct.pack(">2I", 0, 12 + 8 * (1 + len(special))), directory
    for slot, part in enumerate(special, 1):
        index += struct.pack(">2I", slot, 12 + 8 * (1 + len(special)) + len(blobs))
        blobs += part
    return struct.pack(">3I", 0xFADE0CC0, 12 + len(index) + len(blobs), 1 + len(special)) + index + blobs


def program(*, libraries=(SYSTEM, METAL), commands=None, names=((1, "_malloc"), (2, "_MTLCreateSystemDefaultDevice")),
            symbols=None, kind=2, cpu=0x0100000C, flags=EXECUTE_FLAGS, has_main=True, fixups="dyld", sign=signature, **signing):  # fmt: skip
    """The bytes of a program; everything that a test may want wrong is an argument."""
    if commands is None:
        commands = [build_version()]
    commands = [*commands, *(item if isinstance(item, bytes) else library(item) for item in libraries)]
    if has_main:
        commands.append(command(0x80000028, struct.pack("<2Q", 0x400, 0)))
    commands.append(command(0x19, b"__TEXT".ljust(16, b"\0") + struct.pack("<4Q4I", 0, 4096, 0, 4096, 5, 5, 0, 0)))
    if symbols is None:
        symbols = [("__mh_execute_header", 0x0F, 0), *(imported(*name) for name in names)]
    table, strings = symbol_table(symbols)
    bound = {"dyld": bindings, "chained": chained}[fixups](names)
    at = 8192
    places = [at, at + len(table), at + len(table) + len(strings)]
    commands.append(command(0x2, struct.pack("<4I", places[0], len(symbols), places[1], len(strings))))
    if fixups == "dyld":
        commands.append(command(0x80000022, struct.pack("<10I", 0, 0, places[2], len(bound), 0, 0, 0, 0, 0, 0)))
    else:
        commands.append(command(0x80000034, struct.pack("<2I", places[2], len(bound))))
    end = places[2] + len(bound)
    content = b"".join((table, strings, bound))
    signed_size = len(sign(bytes(end), **signing)) if sign else 0
    if sign:
        commands.append(command(0x1D, struct.pack("<2I", end, signed_size)))
    body = b"".join(commands)
    header = struct.pack("<8I", 0xFEEDFACF, cpu, 0, kind, len(commands), len(body), flags, 0)
    data = (header + body).ljust(at, b"\xaa") + content
    return data + sign(data, **signing) if sign else data


def object_file(least=(13, 0), symbols=(("_f", 0x0F, 0), imported(0, "_malloc"))):
    table, strings = symbol_table(symbols)
    at = 32 + len(build_version()) + 24
    commands = build_version(least=least)
    commands += command(0x2, struct.pack("<4I", at, len(symbols), at + len(table), len(strings)))
    return struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 1, 2, len(commands), 0, 0) + commands + table + strings


def archive(members):
    text = b"!<arch>\n"
    for name, body in members:
        if len(name) > 15:
            body = padded(name.encode() + b"\0", 8) + body
            name = f"#1/{len(padded(name.encode() + bytes(1), 8))}"
        text += f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    return text


class VerifyMacos(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-macos-")
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name)
        for name, text in STUBS.items():
            path = self.root / "stubs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def verify(self, data, *arguments):
        path = self.root / "file"
        path.write_bytes(data)
        result = subprocess.run(
            [sys.executable, str(SCRIPT), "--stubs", str(self.root / "stubs"), *arguments, str(path)],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # fmt: skip
        self.assertEqual(result.stderr, "")
        return result.returncode, result.stdout

    def assert_right(self, data, *arguments):
        self.assertEqual(self.verify(data, *arguments), (0, "1 passed, 0 failed\n"))

    def assert_wrong(self, data, *fragments, count=1, arguments=()):
        status, output = self.verify(data, *arguments)
        self.assertEqual(status, 1, output)
        self.assertTrue(output.endswith("0 passed, 1 failed\n"), output)
        self.assertEqual(output.count("\n") - 1, count, output)
        for fragment in fragments:
            self.assertIn(fragment, output)

    def test_right_files(self):
        self.assert_right(program())
        self.assert_right(program(fixups="chained"))
        self.assert_right(program(special=(struct.pack(">2I", 0xFADE0C00, 12) + b"none",) * 2))
        self.assert_right(program(kind=6, has_main=False, flags=0x85))
        self.assert_right(program(commands=[build_version(least=(12, 3))]))
        self.assert_right(program(commands=[build_version(least=(14, 1))]), "--least", "14.1")
        self.assert_right(archive([("__.SYMDEF", b"junk"), ("a.o", object_file()), ("a_long_name.cpp.o", object_file())]))

    def test_platform(self):
        self.assert_wrong(program(commands=[build_version(platform=2)]), "is for the platforms [2], not for macOS")
        self.assert_wrong(program(commands=[]), "is for the platforms []")
        self.assert_wrong(program(commands=[build_version(), build_version(platform=6)]), "[1, 6]")
        self.assert_wrong(program(commands=[build_version(least=(13, 3))]), "needs macOS 13.3, later than 13.0")
        self.assert_wrong(program(cpu=0x01000007), "is no file for Apple silicon")
        self.assert_wrong(program(kind=8), "neither a program nor a library")

    def test_program(self):
        self.assert_wrong(program(has_main=False), "has no entry point")
        self.assert_wrong(program(flags=0x85), "is not position-independent")
        self.assert_wrong(program(flags=0x200005), "does not say which library")
        for flag in (0x8000, 0x10000):
            self.assert_wrong(program(flags=EXECUTE_FLAGS | flag), "shares symbols with the system's own C++ library")

    def test_libraries(self):
        self.assert_wrong(program(libraries=[SYSTEM, METAL, "/opt/homebrew/lib/libfmt.9.dylib"]),
                          "loads /opt/homebrew/lib/libfmt.9.dylib, which is not Apple's")  # fmt: skip
        self.assert_wrong(program(libraries=[SYSTEM, METAL, "@rpath/libsoftmetal.dylib"]), "which is not Apple's")
        self.assert_wrong(program(libraries=[SYSTEM, METAL, "/usr/lib/libz.1.dylib"]), "for which there is no stub")
        self.assert_wrong(program(libraries=[SYSTEM, METAL, library(SYSTEM, 0x80000018)]), "in another way: weak")
        path = command(0x8000001C, struct.pack("<I", 12) + b"/somewhere\0")
        self.assert_wrong(program(commands=[build_version(), path]), "has the search path /somewhere")

    def test_imports(self):
        self.assert_wrong(program(names=[(1, "_unheard_of")]), f"imports _unheard_of from {SYSTEM}, whose stub")
        self.assert_wrong(program(names=[(1, "_intel_only")]), "_intel_only")
        self.assert_wrong(program(names=[(1, "_MTLCreateSystemDefaultDevice")]), "whose stub does not have it")
        self.assert_right(program(names=[(1, "_printf$OLD"), (1, "_weak")]))
        self.assert_wrong(program(names=[(3, "_malloc")]), "from library 3, which it does not load")
        self.assert_wrong(program(names=[], symbols=[imported(254, "_malloc")]), "from whatever defines it")
        # What dyld binds counts, whatever the symbol table says.
        for fixups in ("dyld", "chained"):
            self.assert_wrong(program(names=[(1, "_hidden")], symbols=[], fixups=fixups), "imports _hidden")
        self.assert_right(program(symbols=[("_debug", 0x24, 0), ("_malloc", 0x01, 1 << 8)]))

    def test_foreign_symbols(self):
        symbols = [("_softmetal_load", 0x0F, 0), ("__ZN9softmetal3msl7compileEv", 0x0E, 0)]
        self.assert_wrong(program(symbols=symbols), "has the symbol _softmetal_load", "has the symbol __ZN9soft", count=2)
        self.assert_wrong(archive([("a.o", object_file(symbols=[imported(0, "_softmetal_load")]))]),
                          "a.o has the symbol _softmetal_load")  # fmt: skip

    def test_signature(self):
        data = bytearray(program())
        data[5000] ^= 1
        self.assert_wrong(bytes(data), "has a wrong hash of page 1")
        self.assert_wrong(program(sign=None), "is not signed")
        self.assert_wrong(program() + b"more", "does not end with its signature")
        self.assert_wrong(program(flags=EXECUTE_FLAGS, sign=lambda data: signature(data, flags=0)), "but not ad hoc")
        self.assert_wrong(program(name=b""), "without a name")
        self.assert_wrong(program(main=0), "is not signed as the main program")
        self.assert_wrong(program(size=4096), "has a signature of 4096 bytes", "page hashes for 4096 bytes", count=2)
        self.assert_wrong(program(sign=lambda data: b"\0" * 64), "something else in place of a signature")
        part = struct.pack(">2I", 0xFADE0C00, 12)
        data = program(special=(part + b"good", part + b"good"))
        self.assert_wrong(data[:-4] + b"evil", "has a wrong hash of part 2 of its signature")

    def test_archives(self):
        self.assert_wrong(archive([("a.o", object_file(least=(14, 0)))]), "a.o needs macOS 14.0")
        self.assert_wrong(archive([("a.o", program())]), "a.o is no object file")
        self.assert_wrong(archive([]), "is empty")
        self.assert_wrong(archive([("a.o", b"\x7fELF" + bytes(64))]), "is no file for Apple silicon")
        self.assert_wrong(archive([("a.o", object_file())])[:-40], "is cut off inside of a.o")

    def test_files_that_are_cut_off_anywhere_are_refused(self):
        for data in (program(), program(fixups="chained"), archive([("a.o", object_file())])):
            for size in (size for size in (*range(0, 800, 7), *range(800, 12000, 97)) if size < len(data)):
                status, output = self.verify_in_process(data[:size])
                self.assertEqual(status, 1, (size, output))

    def verify_in_process(self, data):
        """As verify(), without a process for each of hundreds of files."""
        sys.path.insert(0, str(SCRIPT.parent))
        self.addCleanup(sys.path.remove, str(SCRIPT.parent))
        import verify_macos  # pylint: disable=import-outside-toplevel

        path = self.root / "file"
        path.write_bytes(data)
        problems = verify_macos.file_problems(path, (13, 0), verify_macos.read_stubs([self.root / "stubs"]))
        return int(bool(problems)), problems

    def test_agreement(self):
        other = self.root / "other/file"
        other.parent.mkdir()
        other.write_bytes(program(libraries=[METAL, SYSTEM], names=[]))
        self.assert_right(program(), "--agree", str(other))
        other.write_bytes(program(libraries=[SYSTEM], names=[]))
        self.assert_wrong(program(), "but", arguments=("--agree", str(other)))
        other.write_bytes(program(commands=[build_version(least=(12, 0))]))
        self.assert_wrong(program(), "is for [(1, (13, 0))], but", arguments=("--agree", str(other)))

    def test_stubs_and_files_that_are_not_there(self):
        for fragment, arguments in (("--stubs: ", ["--stubs", str(self.root / "none"), "file"]),
                                    ("--stubs: ", ["--stubs", str(SCRIPT), "file"]),
                                    ("--agree: no", ["--stubs", str(self.root / "stubs"), "--agree", "a", "b"])):  # fmt: skip
            result = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
            self.assertEqual(result.returncode, 2)
            self.assertIn(fragment, result.stderr)
        result = subprocess.run([sys.executable, str(SCRIPT), "--stubs", str(self.root / "stubs"), str(self.root / "none")],
                                capture_output=True, text=True, check=False)  # fmt: skip
        self.assertEqual((result.returncode, result.stdout.splitlines()[-1]), (1, "0 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
