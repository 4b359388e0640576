"""Runs a slow check on many files in parallel and remembers which passed with which content."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import subprocess


SAVE_EVERY = 10


def digest(*parts):
    """One hash of strings and bytes."""
    result = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        result.update(str(len(data)).encode() + b":" + data)
    return result.hexdigest()


def make_dependencies(text):
    """The files named in a rule that a compiler wrote with -M or -MM."""
    text = text.replace("\\\n", " ")
    return [n.replace("\0", " ") for n in text.partition(":")[2].replace("\\ ", "\0").split()]


def tool_version(tool):
    """The first line of `tool --version`; None where the tool is missing."""
    try:
        output = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return output.stdout


class PassCache:
    """Remembers that a file passed, together with the hashes of all the files that this depends on."""

    def __init__(self, path, root):
        self.path = path
        self.root = root
        self._hashes = {}
        try:
            self._entries = json.loads(path.read_text())
        except (OSError, ValueError):
            self._entries = {}

    def _hash(self, name):
        if name not in self._hashes:
            try:
                content = (self.root / name).read_bytes()
            except OSError:
                content = b"\0missing"
            self._hashes[name] = digest(content)
        return self._hashes[name]

    def passed(self, name, settings):
        """Whether the file passed with these settings and has not changed since, nor what it includes."""
        entry = self._entries.get(name)
        return (
            entry is not None
            and entry["settings"] == settings
            and all(self._hash(d) == h for d, h in entry["depends"].items())
        )

    def remember(self, name, settings, dependencies):
        depends = {str(d): self._hash(str(d)) for d in [name, *dependencies]}
        self._entries[name] = {"settings": settings, "depends": depends}

    def forget(self, name):
        self._entries.pop(name, None)

    def save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(self._entries, indent=1, sort_keys=True))
        temporary.replace(self.path)


def run_all(cache, jobs, work):
    """Runs `work(name) -> (failures, dependencies)` for each job that has not passed before.

    `jobs` maps names to settings. Returns {name: failures} of those that failed, and how many ran.
    """
    pending = [name for name, settings in jobs.items() if not cache.passed(name, settings)]
    failed = {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for count, (name, (failures, dependencies)) in enumerate(zip(pending, pool.map(work, pending)), 1):
            if failures:
                failed[name] = failures
                cache.forget(name)
            else:
                cache.remember(name, jobs[name], dependencies)
            if count % SAVE_EVERY == 0:
                cache.save()  # a run that is stopped need not begin again
    cache.save()
    return failed, len(pending)


def relative_to(root, name):
    """A path as it is kept in the cache: relative to the root where it is inside of it."""
    path = pathlib.Path(name)
    if path.is_absolute() and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return path.as_posix()
