"""Reads programs, object files and static libraries of macOS, and text stubs of its shared libraries."""

import dataclasses
import hashlib
import pathlib
import re
import struct

CPU_ARM64 = 0x0100000C
OBJECT, EXECUTE, DYLIB = 1, 2, 6
FLAG_TWO_LEVEL, FLAG_WEAK_DEFINES, FLAG_BINDS_TO_WEAK, FLAG_PIE = 0x80, 0x8000, 0x10000, 0x200000
PLATFORM_MACOS = 1

_MAGIC_64 = 0xFEEDFACF
_SEGMENT_64, _SYMTAB, _RPATH, _MAIN = 0x19, 0x2, 0x8000001C, 0x80000028
_LOADS = {0xC: "load", 0x80000018: "weak", 0x8000001F: "reexport", 0x20: "lazy", 0x80000023: "upward"}
_CODE_SIGNATURE, _BUILD_VERSION, _DYLD_INFO, _CHAINED_FIXUPS = 0x1D, 0x32, 0x80000022, 0x80000034
_SUPER_BLOB, _CODE_DIRECTORY = 0xFADE0CC0, 0xFADE0C02
_AD_HOC = 2


class BadFile(Exception):
    """What is wrong with the bytes of a file."""


@dataclasses.dataclass
class Image:
    """A program, shared library or object file."""

    kind: int
    flags: int
    size: int
    platforms: list = dataclasses.field(default_factory=list)  # (platform, least version as (major, minor))
    libraries: list = dataclasses.field(default_factory=list)  # (install name, how it is loaded)
    rpaths: list = dataclasses.field(default_factory=list)
    symbols: list = dataclasses.field(default_factory=list)  # all names of the symbol table
    imports: set = dataclasses.field(default_factory=set)  # (number of the library, name)
    has_main: bool = False
    text: tuple = None  # offset and size of __TEXT in the file
    signature: tuple = None  # offset and size


def _unpack(form, data, offset):
    try:
        return struct.unpack_from(form, data, offset)
    except struct.error as problem:
        raise BadFile(f"is cut off at byte {offset}") from problem


def _string(data, offset, end):
    if not 0 <= offset < end <= len(data):
        raise BadFile(f"has a name outside of itself, at byte {offset}")
    stop = data.find(b"\0", offset, end)
    return data[offset : stop if stop >= 0 else end].decode("utf-8", "replace")


def read_image(data):
    """The Image of the bytes of one file for Apple silicon."""
    magic, cpu, _, kind, count, _, flags, _ = _unpack("<8I", data, 0)
    if magic != _MAGIC_64 or cpu != CPU_ARM64:
        raise BadFile("is no file for Apple silicon")
    image = Image(kind, flags, len(data))
    at = 32
    for _ in range(count):
        command, size = _unpack("<2I", data, at)
        if size < 8 or at + size > len(data):
            raise BadFile(f"has a load command of {size} bytes at byte {at}")
        _read_command(image, data, command, at, size)
        at += size
    return image


def _read_command(image, data, command, at, size):
    if command in _LOADS:
        (name,) = _unpack("<I", data, at + 8)
        image.libraries.append((_string(data, at + name, at + size), _LOADS[command]))
    elif command == _RPATH:
        (name,) = _unpack("<I", data, at + 8)
        image.rpaths.append(_string(data, at + name, at + size))
    elif command == _BUILD_VERSION:
        platform, least = _unpack("<2I", data, at + 8)
        image.platforms.append((platform, (least >> 16, least >> 8 & 255)))
    elif command == _MAIN:
        image.has_main = True
    elif command == _SEGMENT_64 and data[at + 8 : at + 24].rstrip(b"\0") == b"__TEXT":
        image.text = _unpack("<2Q", data, at + 40)
    elif command == _CODE_SIGNATURE:
        image.signature = _unpack("<2I", data, at + 8)
    elif command == _SYMTAB:
        _read_symbols(image, data, *_unpack("<4I", data, at + 8))
    elif command == _DYLD_INFO:
        places = _unpack("<10I", data, at + 8)
        for first in (2, 4, 6):  # bound at once, weakly, lazily
            image.imports |= _bound_names(data[places[first] : places[first] + places[first + 1]])
    elif command == _CHAINED_FIXUPS:
        offset, length = _unpack("<2I", data, at + 8)
        image.imports |= _chained_names(data[offset : offset + length])


def _read_symbols(image, data, offset, count, strings, strings_size):
    for i in range(count):
        name_at, kind, _, description, _ = _unpack("<IBBHQ", data, offset + 16 * i)
        if kind & 0xE0:
            continue  # for debuggers
        name = _string(data, strings + name_at, strings + strings_size)
        image.symbols.append(name)
        is_import = kind & 0x0F == 1  # undefined and external
        if is_import and image.kind != OBJECT:
            image.imports.add((description >> 8, name))


def _uleb(data, at):
    value, shift = 0, 0
    while True:
        if at >= len(data):
            raise BadFile("has bindings that are cut off")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _bound_names(code):
    """(library, name) of each binding that dyld's opcodes make. Libraries below 1 count down from 256."""
    found, library, name, at = set(), 0, "", 0
    while at < len(code):
        operation, low = code[at] & 0xF0, code[at] & 0x0F
        at += 1
        if operation == 0x10:
            library = low
        elif operation == 0x20:
            library, at = _uleb(code, at)
        elif operation == 0x30:
            library = (256 - 16 + low) if low else 0
        elif operation == 0x40:
            name = _string(code, at, len(code))
            at += len(name.encode()) + 1
        elif operation in (0x60, 0x70, 0x80, 0xA0):  # an addend, an address, with a segment or after a binding
            _, at = _uleb(code, at)
        elif operation == 0xC0:
            _, at = _uleb(code, at)
            _, at = _uleb(code, at)
        if operation in (0x90, 0xA0, 0xB0, 0xC0):
            found.add((library, name))
    return found


def _chained_names(data):
    """(library, name) of each import of LC_DYLD_CHAINED_FIXUPS."""
    _, _, imports, symbols, count, form, _ = _unpack("<7I", data, 0)
    if form not in (1, 2, 3):
        raise BadFile(f"has imports of the unknown form {form}")
    size = {1: 4, 2: 8, 3: 16}[form]
    found = set()
    for i in range(count):
        if form == 3:
            library, name = (lambda word: (word & 0xFFFF, word >> 32))(*_unpack("<Q", data, imports + size * i))
        else:
            library, name = (lambda word: (word & 0xFF, word >> 9))(*_unpack("<I", data, imports + size * i))
        found.add((library & 0xFF, _string(data, symbols + name, len(data))))
    return found


def read_archive(data):
    """Yields the name and the bytes of each object file of a static library."""
    if not data.startswith(b"!<arch>\n"):
        raise BadFile("is no static library")
    at = 8
    while at < len(data):
        header = data[at : at + 60]
        if len(header) < 60 or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise BadFile(f"has a bad member at byte {at}")
        name, size = header[:16].decode("latin-1").rstrip(), int(header[48:58])
        body = data[at + 60 : at + 60 + size]
        if len(body) < size:
            raise BadFile(f"is cut off inside of {name}")
        if name.startswith("#1/") and name[3:].isdigit():
            length = int(name[3:])
            name, body = body[:length].rstrip(b"\0").decode("utf-8", "replace"), body[length:]
        if not name.startswith(("__.SYMDEF", "/")):
            yield name.rstrip("/"), body
        at += 60 + size + size % 2


def signature_problems(data, image):
    """What is wrong with the ad-hoc signature: every hash in it is computed again."""
    if image.signature is None:
        return ["is not signed"]
    start, size = image.signature
    if start + size != len(data):
        return ["does not end with its signature"]
    blob = data[start : start + size]
    magic, length, count = _unpack(">3I", blob, 0)
    if magic != _SUPER_BLOB or length > size:
        return ["has something else in place of a signature"]
    parts = dict(_unpack(">2I", blob, 12 + 8 * i) for i in range(count))
    if 0 not in parts or _unpack(">I", blob, parts[0])[0] != _CODE_DIRECTORY:
        return ["has a signature without a code directory"]
    return _directory_problems(data, image, blob, parts)


def _directory_problems(data, image, blob, parts):
    at = parts[0]
    _, _, version, flags, hashes, name, num_special, num_pages, limit = _unpack(">9I", blob, at)
    hash_size, hash_type, _, page_shift = _unpack("4B", blob, at + 36)
    problems = []
    if not flags & _AD_HOC:
        problems.append("is signed, but not ad hoc")
    if not _string(blob, at + name, len(blob)):
        problems.append("is signed without a name")
    if (hash_size, hash_type) != (32, 2):
        return [*problems, "is signed by another hash than SHA-256"]
    if limit != image.signature[0]:
        problems.append(f"has a signature of {limit} bytes in place of {image.signature[0]}")
    page = 1 << page_shift
    if num_pages != -(-limit // page):
        return [*problems, f"has {num_pages} page hashes for {limit} bytes"]
    for number in range(num_pages):
        content = data[number * page : min((number + 1) * page, limit)]
        if hashlib.sha256(content).digest() != blob[at + hashes + 32 * number : at + hashes + 32 * (number + 1)]:
            problems.append(f"has a wrong hash of page {number}")
    for slot in range(1, num_special + 1):
        expected = bytes(32)
        if slot in parts:
            (length,) = _unpack(">I", blob, parts[slot] + 4)
            expected = hashlib.sha256(blob[parts[slot] : parts[slot] + length]).digest()
        if blob[at + hashes - 32 * slot : at + hashes - 32 * (slot - 1)] != expected:
            problems.append(f"has a wrong hash of part {slot} of its signature")
    if image.kind == EXECUTE and version >= 0x20400:
        base, size, kind = _unpack(">3Q", blob, at + 64)
        if (base, size) != image.text or not kind & 1:
            problems.append("is not signed as the main program")
    return problems


_STUB_NAME = re.compile(r"^install-name:\s*'?([^'\n]+?)'?\s*$", re.MULTILINE)
_STUB_LIST = re.compile(r"\b(targets|symbols|weak-symbols|thread-local-symbols):\s*\[([^\]]*)\]")


def read_stub(path):
    """The install name of a .tbd file and the symbols that it exports on Apple silicon, those of libraries that it
    joins included."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    name = _STUB_NAME.search(text)
    if name is None:
        raise BadFile("has no install-name")
    symbols, applies = set(), False
    for key, items in _STUB_LIST.findall(text):
        names = {item.strip().strip("'\"") for item in items.split(",")} - {""}
        if key == "targets":
            applies = "arm64-macos" in names
        elif applies:
            symbols |= names
    return name.group(1), symbols
