#!/usr/bin/env python3
"""Keeps docs/adding-an-op.md true: applies its blocks to a copy of the tree, builds it and runs the new op's tests.

The tests run on the CPU and, where it is built, on mps. With --cuda the op's CUDA kernels are compiled too, and nothing else of that backend.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"<!-- (?P<what>file|insert): (?P<path>\S+)(?: before: (?P<before>.*?))? -->\n```\w+\n(?P<text>.*?)```\n",
    re.DOTALL,
)


def blocks(page: str):
    found = list(BLOCK.finditer(page))
    if page.count("<!-- file:") + page.count("<!-- insert:") != len(found):
        raise SystemExit("docs/adding-an-op.md: a block does not follow its comment")
    return found


def apply(block: re.Match, tree: pathlib.Path) -> None:
    path = tree / block["path"]
    if block["what"] == "file":
        if path.exists():
            raise SystemExit(f"{block['path']} exists already")
        path.write_text(block["text"])
        return
    text = path.read_text()
    # The last occurrence: a namespace ends at its end.
    at = text.rfind(block["before"])
    if at < 0:
        raise SystemExit(f"{block['path']} has no line {block['before']!r}")
    path.write_text(text[:at] + block["text"] + text[at:])


def copy_tree(target: pathlib.Path) -> None:
    """Copies what git knows of, or everything but the builds where there is no git."""
    shutil.rmtree(target / "tree", ignore_errors=True)
    tree = target / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("build", ".git"))
        return
    for name in listed.stdout.splitlines():
        if not (ROOT / name).is_file():
            continue
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)


def run(command, tree: pathlib.Path) -> None:
    # Paths relative to the copy let ccache reuse what the real tree has compiled.
    environment = dict(os.environ, CCACHE_BASEDIR=str(tree), CCACHE_NOHASHDIR="1")
    print("+", " ".join(command), flush=True)
    subprocess.run(command, cwd=tree, env=environment, check=True)


def compile_for_cuda(tree: pathlib.Path) -> None:
    run(["cmake", "--preset", "dev", "-B", "build/cuda", "-DWICK_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=80-virtual"], tree)
    objects = "src/backends/cuda/CMakeFiles/wick_cuda.dir"
    # The kernel table names every kernel of the catalog.
    run(["cmake", "--build", "build/cuda", "--target", f"{objects}/kernels/softcap.cu.o", f"{objects}/cuda_backend.cpp.o"], tree)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="a folder for the copy")
    parser.add_argument("--cuda", action="store_true", help="compile the op's CUDA kernels")
    options = parser.parse_args()
    work = options.work.resolve()
    found = blocks((ROOT / "docs/adding-an-op.md").read_text())
    copy_tree(work)
    tree = work / "tree"
    for block in found:
        apply(block, tree)
    run(["cmake", "--preset", "dev", "-DWICK_CUDA=OFF"], tree)
    run(["cmake", "--build", "--preset", "dev", "--target", "op_cases_test", "mutation_test"], tree)
    tests = tree / "build/dev/tests/op_cases_test"
    listed = subprocess.run([tests, "--gtest_list_tests", "--gtest_filter=*softcap*"],
                            capture_output=True, text=True, check=True).stdout
    if listed.count("softcap") < 10:
        raise SystemExit(f"too few tests of the new op were made:\n{listed}")
    run([str(tests), "--gtest_filter=*softcap*", "--gtest_brief=1"], tree)
    if (tree / "build/dev/src/backends/mps").is_dir():
        run([str(tests), "--device", "mps", "--gtest_filter=*softcap*", "--gtest_brief=1"], tree)
    else:
        print("the Metal kernels were not compiled: this build is without Metal")
    run(["build/dev/tests/mutation_test", "--gtest_brief=1"], tree)
    if options.cuda:
        compile_for_cuda(tree)
    else:
        print("the CUDA kernels were not compiled: this build is without CUDA")
    run(["python3", "tools/check_ops.py"], tree)
    run(["python3", "tools/check_contracts.py"], tree)
    print(f"{len(found)} blocks applied, built and tested")
    return 0


if __name__ == "__main__":
    sys.exit(main())
