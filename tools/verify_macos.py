#!/usr/bin/env python3
"""Checks what was built for macOS on Linux, by its bytes.

Programs and shared libraries: built for macOS on Apple silicon, for no later version than --least; they load nothing
but Apple's libraries that a stub describes, and import nothing that the stub of that library does not have; they are
signed ad hoc, with every hash right. Static libraries: each object file is for that platform and version. No file has
a symbol of softmetal. The file that has the name of --agree loads the same libraries.

The last line is `N passed, N failed`, counted by files.
"""

import argparse
import pathlib
import sys

import macho

APPLE = ("/usr/lib/", "/System/Library/")
FOREIGN = "softmetal"
SPECIAL = {0: "itself", 253: "whatever defines it weakly", 254: "whatever defines it", 255: "the main program"}


def read_stubs(paths):
    """The symbols of each shared library by its install name."""
    files = [file for path in paths for file in (sorted(path.rglob("*.tbd")) if path.is_dir() else [path])]
    if not files:
        raise macho.BadFile("no stubs there")
    return dict(macho.read_stub(file) for file in files)


def version(text):
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


def platform_problems(image, least):
    if [platform for platform, _ in image.platforms] != [macho.PLATFORM_MACOS]:
        return [f"is for the platforms {[platform for platform, _ in image.platforms]}, not for macOS (1) alone"]
    needed = image.platforms[0][1]
    return [f"needs macOS {needed[0]}.{needed[1]}, later than {least[0]}.{least[1]}"] if needed > least else []


def foreign_problems(image):
    return [f"has the symbol {name}" for name in image.symbols if FOREIGN in name.lower()]


def library_problems(image, stubs):
    problems = [f"has the search path {path}" for path in image.rpaths]
    for name, how in image.libraries:
        if not name.startswith(APPLE):
            problems.append(f"loads {name}, which is not Apple's")
        elif name not in stubs:
            problems.append(f"loads {name}, for which there is no stub")
        elif how != "load":
            problems.append(f"loads {name} in another way: {how}")
    return problems


def import_problems(image, stubs):
    problems = []
    for number, name in sorted(image.imports):
        if not 1 <= number <= len(image.libraries):
            problems.append(f"imports {name} from {SPECIAL.get(number, f'library {number}, which it does not load')}")
            continue
        library = image.libraries[number - 1][0]
        if name not in stubs.get(library, ()):
            problems.append(f"imports {name} from {library}, whose stub does not have it")
    return problems


def program_problems(data, image, least, stubs):
    problems = platform_problems(image, least)
    if not image.flags & macho.FLAG_TWO_LEVEL:
        problems.append("does not say which library a symbol comes from")
    if image.kind == macho.EXECUTE:
        if not image.has_main:
            problems.append("has no entry point")
        if not image.flags & macho.FLAG_PIE:
            problems.append("is not position-independent")
        if image.flags & (macho.FLAG_WEAK_DEFINES | macho.FLAG_BINDS_TO_WEAK):
            problems.append("shares symbols with the system's own C++ library")
    problems += library_problems(image, stubs) + import_problems(image, stubs)
    return problems + foreign_problems(image) + macho.signature_problems(data, image)


def archive_problems(data, least):
    problems, members = [], 0
    for name, body in macho.read_archive(data):
        members += 1
        image = macho.read_image(body)
        if image.kind != macho.OBJECT:
            problems.append(f"{name} is no object file")
        problems += [f"{name} {problem}" for problem in platform_problems(image, least) + foreign_problems(image)]
    return problems if members else ["is empty"]


def file_problems(path, least, stubs):
    try:
        data = path.read_bytes()
        if data.startswith(b"!<arch>\n"):
            return archive_problems(data, least)
        image = macho.read_image(data)
        if image.kind not in (macho.EXECUTE, macho.DYLIB):
            return ["is neither a program nor a library"]
        return program_problems(data, image, least, stubs)
    except (macho.BadFile, OSError) as problem:
        return [str(problem)]


def agreement_problems(path, other):
    """What two builds of a program ask of the system in different ways."""
    try:
        images = [macho.read_image(file.read_bytes()) for file in (path, other)]
    except (macho.BadFile, OSError) as problem:
        return [str(problem)]
    loads = [sorted(image.libraries) for image in images]
    platforms = [image.platforms for image in images]
    problems = [] if loads[0] == loads[1] else [f"loads {loads[0]}, but {other} {loads[1]}"]
    return problems + ([] if platforms[0] == platforms[1] else [f"is for {platforms[0]}, but {other} {platforms[1]}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=version, default=(13, 0), help="earliest macOS to run on (default 13.0)")
    parser.add_argument("--stubs", type=pathlib.Path, action="append", required=True, help=".tbd files or folders of them")
    parser.add_argument("--agree", type=pathlib.Path, help="another build of one of the files")
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    try:
        stubs = read_stubs(options.stubs)
    except (macho.BadFile, OSError, UnicodeError) as problem:
        parser.error(f"--stubs: {problem}")
    if options.agree and all(path.name != options.agree.name for path in options.files):
        parser.error(f"--agree: no file is called {options.agree.name}")
    failed = 0
    for path in options.files:
        problems = file_problems(path, options.least, stubs)
        if options.agree and path.name == options.agree.name:
            problems += agreement_problems(path, options.agree)
        for problem in problems:
            print(f"{path}: {problem}")
        failed += bool(problems)
    print(f"{len(options.files) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
