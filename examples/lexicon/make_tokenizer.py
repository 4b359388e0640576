#!/usr/bin/env python3
"""Trains a byte-level BPE tokenizer and writes it as the tokenizers library does (tokenizer.json).

    make_tokenizer.py --out base build/lexicon/wordnet/train.jsonl devil/train.jsonl

Texts are split as GPT-2 splits them. `add_prefix_space` is on: the first word of a text is the token that it would be
inside a sentence. A headword and its mentions in other definitions then share their tokens, and the model what it
learns of them: `success` is one token in both places, where it would be `s uc cess` at the beginning of a text.
"""

import argparse
import collections
import functools
import heapq
import json
import pathlib
import re
import sys
import time
import unicodedata

END_OF_TEXT = "<|endoftext|>"


def character_class(kind):
    """The inside of a [...] of `re` for a Unicode category such as L or N, which `re` has no name for."""
    ranges, begin = [], None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(kind)
        if inside and begin is None:
            begin = code
        elif not inside and begin is not None:
            ranges.append(f"\\U{begin:08x}-\\U{code - 1:08x}")
            begin = None
    return "".join(ranges)


@functools.cache
def splitter():
    """GPT-2's pattern: contractions, then words, numbers and marks, each with the space before it."""
    letter, number = character_class("L"), character_class("N")
    return re.compile(
        rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+| ?[{number}]+| ?[^\s{letter}{number}]+|\s+(?!\S)|\s+"
    )


@functools.cache
def byte_characters():
    """The character that stands for each byte in the vocabulary: itself where it is printable, else one above 255."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in table)
    table.update({byte: chr(256 + number) for number, byte in enumerate(others)})
    return [table[byte] for byte in range(256)]


def words_of(text):
    """The pieces of a text that merges stay within, as characters of the vocabulary."""
    table = byte_characters()
    prefixed = text if text.startswith(" ") or not text else " " + text
    return ["".join(table[byte] for byte in piece.encode()) for piece in splitter().findall(prefixed)]


def texts_of(path):
    """The texts of a JSONL file: `text`, or `prompt` and `completion` joined."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield row["text"] if "text" in row else row["prompt"] + row["completion"]


class MergeTrainer:
    """Counts of neighbouring pairs over distinct words, kept up to date merge by merge.

    The heap holds an entry for every count that a pair has had; one that is no longer true is skipped when it comes up.
    """

    def __init__(self, counts):
        self.words = [list(word) for word in counts]
        self.frequencies = list(counts.values())
        self.pairs = collections.Counter()
        self.places = collections.defaultdict(set)
        for number, word in enumerate(self.words):
            self.count_pairs(number, word, 1)
        self.heap = [(-count, pair) for pair, count in self.pairs.items()]
        heapq.heapify(self.heap)

    def count_pairs(self, number, word, sign):
        for pair in zip(word, word[1:]):
            self.pairs[pair] += sign * self.frequencies[number]
            if sign > 0:
                self.places[pair].add(number)

    def next_merge(self):
        """The most frequent pair, of several the first in order of characters; nothing when none is left."""
        while self.heap:
            negative, pair = heapq.heappop(self.heap)
            if -negative == self.pairs[pair] > 0:
                self.merge(pair)
                return pair
        return None

    def merge(self, pair):
        changed = set()
        for number in self.places.pop(pair):
            word = self.words[number]
            self.count_pairs(number, word, -1)
            changed.update(zip(word, word[1:]))
            merged = merge_pair(word, pair)
            self.words[number] = merged
            self.count_pairs(number, merged, 1)
            changed.update(zip(merged, merged[1:]))
        for touched in changed:
            if self.pairs[touched] > 0:
                heapq.heappush(self.heap, (-self.pairs[touched], touched))


def merge_pair(symbols, pair):
    merged, at = [], 0
    while at < len(symbols):
        if at + 1 < len(symbols) and (symbols[at], symbols[at + 1]) == pair:
            merged.append(symbols[at] + symbols[at + 1])
            at += 2
        else:
            merged.append(symbols[at])
            at += 1
    return merged


def train(counts, vocabulary_size):
    """(vocabulary, merges) for words and how often they occur."""
    vocabulary = {END_OF_TEXT: 0}
    for character in sorted(byte_characters()):
        vocabulary[character] = len(vocabulary)
    if vocabulary_size < len(vocabulary):
        sys.exit(f"a byte-level vocabulary needs {len(vocabulary)} tokens at least, got --size {vocabulary_size}")
    trainer = MergeTrainer(counts)
    merges = []
    while len(vocabulary) < vocabulary_size:
        pair = trainer.next_merge()
        if pair is None:
            sys.exit(f"the texts are used up at {len(vocabulary)} tokens, fewer than --size {vocabulary_size}")
        merges.append(pair)
        vocabulary.setdefault("".join(pair), len(vocabulary))
    return vocabulary, merges


def tokenizer_json(vocabulary, merges):
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": 0, "content": END_OF_TEXT, **flags, "special": True}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(pair) for pair in merges],
        },
    }


class Codec:
    """Encodes and decodes with a tokenizer.json, to check it."""

    def __init__(self, description):
        self.ids = description["model"]["vocab"]
        self.tokens = {number: token for token, number in self.ids.items()}
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(description["model"]["merges"])}
        self.bytes = {character: byte for byte, character in enumerate(byte_characters())}
        self.known = {}

    def encode_word(self, word):
        if word not in self.known:
            symbols = list(word)
            while len(symbols) > 1:
                best = min(zip(symbols, symbols[1:]), key=lambda pair: self.ranks.get(pair, len(self.ranks)))
                if best not in self.ranks:
                    break
                symbols = merge_pair(symbols, best)
            self.known[word] = [self.ids[symbol] for symbol in symbols]
        return self.known[word]

    def encode(self, text):
        return [number for word in words_of(text) for number in self.encode_word(word)]

    def decode(self, numbers):
        characters = "".join(self.tokens[number] for number in numbers)
        return bytes(self.bytes[character] for character in characters).decode("utf-8", "replace")


def check(codec, paths):
    """Encodes every text, sees that each comes back, and prints how many tokens they take."""
    for path in paths:
        texts = characters = tokens = longest = 0
        for text in texts_of(path):
            numbers = codec.encode(text)
            if codec.decode(numbers).removeprefix(" ") != text.removeprefix(" "):
                sys.exit(f"{path}: this text does not come back from its tokens: {text!r}")
            texts, characters, tokens = texts + 1, characters + len(text), tokens + len(numbers)
            longest = max(longest, len(numbers))
        print(
            f"{path}: {texts} texts, {tokens} tokens and {texts} ends of text, "
            f"{characters / tokens:.2f} characters a token, longest text {longest} tokens"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=4096, help="tokens of the vocabulary, special ones included")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for tokenizer.json")
    parser.add_argument("--check", type=pathlib.Path, nargs="*", default=[], help="more files to try it on")
    parser.add_argument("texts", type=pathlib.Path, nargs="+", help="JSONL files to learn from")
    options = parser.parse_args()
    began = time.monotonic()
    counts = collections.Counter(word for path in options.texts for text in texts_of(path) for word in words_of(text))
    vocabulary, merges = train(counts, options.size)
    description = tokenizer_json(vocabulary, merges)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "tokenizer.json").write_text(
        json.dumps(description, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "add_prefix_space": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 256,
    }
    (options.out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    print(f"{len(vocabulary)} tokens from {len(counts)} distinct words in {time.monotonic() - began:.0f} s")
    check(Codec(description), [*options.texts, *options.check])


if __name__ == "__main__":
    main()
