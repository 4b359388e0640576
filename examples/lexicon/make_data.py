#!/usr/bin/env python3
"""Makes the data of the lexicon example out of two Debian packages, dict-wn and dict-devil.

    make_data.py --out build/lexicon             # fetches the packages with apt-get
    make_data.py --out build/lexicon --wn-deb dict-wn.deb --devil-deb dict-devil.deb

It writes

    OUT/wordnet/{train,valid}.jsonl   {"text": "abdomen (noun): The region of the body ..."}
    KEPT/devil/{train,test}.jsonl     {"prompt": "abdomen (noun):", "completion": " The temple of ..."}
    KEPT/devil/demo_words.txt         ten words of the test part
    KEPT/LICENSE.wordnet, OUT/wordnet/LICENSE.wordnet

where KEPT is this script's folder unless --kept says otherwise. The same packages give the same bytes.

The form of a record, `word (part of speech): Definition. "Example."`, was chosen for a model of some 4 million
parameters:

* One sense a record, not one headword. The prompt `word (noun):` is then answered by one definition and the end of the
  text, as in the Devil's part. With all senses in one record, most of the text would be second and later senses, which
  no prompt asks for, and a record could not fit a short context. No sense is dropped to make a record short.
* Definitions are written as sentences, with a capital and a full stop. Bierce's are; so tuning on him does not spend
  its few weights on punctuation, and a lower loss means more than a capital letter.
* No list of synonyms. WordNet repeats a definition under each of its synonyms, which says the same in prose; the
  lists would be a third of the tokens, and the hardest to guess.
* An example stands only under the word it uses, and not under that word's synonyms.
* Names are left out (headwords with a capital or a digit: species in Latin, people, places), for a model of this size
  cannot hold them; --names keeps them. So are senses that WordNet itself calls slurs or offensive.

The validation part holds about one headword in a hundred, by a hash of the headword. A record whose definition is
there is left out of the training part, where it would stand under a synonym; the validation loss is thus one of
definitions never seen.
"""

import argparse
import gzip
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent

INDEX_DIGITS = {
    digit: value
    for value, digit in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}
RECORD_LIMIT = 400  # characters of a WordNet record
COMPLETION_LIMIT = 300  # characters of a Devil's definition; more only where its first sentence is longer
FIRST_SENTENCE_LIMIT = 400
TEST_ENTRIES = 60
DEMO_WORDS = 10


class Record(NamedTuple):
    """One sense: of WordNet, or a definition of the Devil's Dictionary without examples."""

    word: str
    part: str
    definition: str
    examples: tuple = ()

    def prompt(self):
        return f"{self.word} ({self.part}):"

    def text(self):
        quotes = "".join(f' "{example}"' for example in self.examples)
        return f"{self.prompt()} {self.definition}{quotes}"


def hash_of(text):
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


# ------------------------------------------------------------------------------------------------- packages


def fetch(package, folder):
    """Downloads a Debian package into a folder, and returns the file."""
    subprocess.run(["apt-get", "download", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    found = sorted(folder.glob(f"{package}_*.deb"))
    if not found:
        sys.exit(f"apt-get download {package}: no {package}_*.deb came")
    return found[-1]


def unpack(deb, folder):
    subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)


def read_dictionary(folder, name):
    """The entries of a dictd database as [(headword as in the index, text)], in the order of the text, each once."""
    base = folder / "usr/share/dictd"
    data = gzip.decompress((base / f"{name}.dict.dz").read_bytes())
    return cut_entries(data, (base / f"{name}.index").read_text(encoding="utf-8"))


def cut_entries(data, index):
    places = {}
    for number, line in enumerate(index.splitlines(), 1):
        fields = line.split("\t")
        if len(fields) != 3:
            sys.exit(f"line {number} of the index: expected headword, offset and length, got {line!r}")
        if fields[0].startswith(("00-database", "00database")):
            continue
        places.setdefault((index_number(fields[1]), index_number(fields[2])), fields[0])
    return [
        (word, data[start : start + length].decode("utf-8")) for (start, length), word in sorted(places.items())
    ]


def index_number(digits):
    value = 0
    for digit in digits:
        value = value * 64 + INDEX_DIGITS[digit]
    return value


def join_lines(lines):
    """Lines of a paragraph as one; a hyphen at the end of a line is one of the word, as both sources break there."""
    joined = re.sub(r"(?<=\w)-\s*\n\s*(?=\w)", "-", "\n".join(lines))
    return re.sub(r"\s+", " ", joined).strip()


def as_sentence(text):
    """With a capital, after a label such as `(slang)` if there is one, and with a full stop."""
    text = re.sub(r"^((?:\([^()]*\) )?)([a-z])", lambda match: match[1] + match[2].upper(), text.strip())
    text = text.rstrip(" ;:,-")
    return text if re.search(r"[.!?][\"')]*$", text) else text + "."


# -------------------------------------------------------------------------------------------------- WordNet

WORDNET_PARTS = {"n": "noun", "v": "verb", "adj": "adjective", "adv": "adverb"}
SENSE = re.compile(r"^ {4}(?:(n|v|adj|adv) )?\d+: (.*)$")
PLAIN_WORD = re.compile(r"[a-z]+(?:[ '-]{1,2}[a-z]+)*'?")
SLUR = re.compile(
    r"\((?:ethnic slur|obscene|vulgar|offensive|disparaging)\)"
    r"|\b(?:offensive|disparaging|derogatory|insulting)(?: and \w+)? (?:term|name|word)s?\b|\bNegroid\b"
)


def wordnet_records(entries, keep_names=False):
    records = {}  # a dictionary as an ordered set: two spellings of an entry can meet in one
    for _, entry in entries:
        lines = entry.strip("\n").split("\n")
        heading = lines[0].strip()
        part, senses = None, []
        for line in lines[1:]:
            match = SENSE.match(line)
            if match:
                part = match[1] or part
                senses.append((part, [match[2]]))
            elif senses:
                senses[-1][1].append(line)
        for short_part, body in senses:
            record = wordnet_record(heading, WORDNET_PARTS[short_part], join_lines(body))
            if record and (keep_names or PLAIN_WORD.fullmatch(record.word)):
                records[record] = None
    return list(records)


def wordnet_record(heading, part, body):
    """One sense, or nothing where WordNet calls it offensive or says nothing."""
    if SLUR.search(body):
        return None
    word = own_spelling(heading, body)
    body = re.sub(r"\s*\[(?:syn|ant|also): [^\]]*\]", "", body)
    body = re.sub(r"[`']([^`']+)'(?!\w)", r"'\1'", body).replace("`", "'")
    definition, quotes = split_quotes(body)
    if not re.search("[a-z]", definition):
        return None
    examples = [as_sentence(example) for example in re.findall(r'"([^"]+)"', quotes) if uses(example, word)]
    return fit(Record(word, part, as_sentence(definition), tuple(examples)))


def split_quotes(body):
    """(definition, examples): an example is a quotation after `;`; others belong to the definition."""
    for match in re.finditer(r'[;:,] ?(?=")', body):
        if body.count('"', 0, match.start()) % 2 == 0:
            return body[: match.start()], body[match.end() :]
    return (body if body.count('"') % 2 == 0 else body.replace('"', "")), ""


def own_spelling(heading, body):
    """`polish` and `Polish` share an entry under one heading; the list of synonyms tells which one a sense is of."""
    for synonym in re.findall(r"\{([^}]*)\}", body.partition("[syn:")[2].partition("]")[0]):
        synonym = re.sub(r"\((?:a|p|ip)\)$", "", synonym)
        if synonym.lower() == heading.lower():
            return synonym
    return heading


def uses(example, word):
    """Whether each part of the word stands in the example, but for its ending."""
    example_words = re.findall(r"[a-z]+", example.lower())
    stems = [part if len(part) < 4 else part[: max(3, len(part) - 2)] for part in re.findall(r"[a-z]+", word.lower())]
    return all(any(found.startswith(stem) for found in example_words) for stem in stems)


def fit(record):
    """Drops examples from the end, then clauses of the definition, until the record is within the limit."""
    while len(record.text()) > RECORD_LIMIT and record.examples:
        record = record._replace(examples=record.examples[:-1])
    while len(record.text()) > RECORD_LIMIT:
        shorter, mark, _ = record.definition.rpartition("; ")
        if not mark:
            return None
        record = record._replace(definition=as_sentence(shorter))
    return record


def split_wordnet(records):
    """(train, valid), each in an order that a hash gives: neighbours in a dictionary are too alike for one batch."""
    valid = [record for record in records if hash_of(record.word) % 100 == 0]
    held_out = {record.definition for record in valid}
    train = [record for record in records if hash_of(record.word) % 100 != 0 and record.definition not in held_out]
    return tuple(sorted(part, key=lambda record: (hash_of(record.text()), record)) for part in (train, valid))


# ---------------------------------------------------------------------------------------- The Devil's Dictionary

DEVIL_PARTS = {
    "n": "noun", "n.pl": "noun", "x": "noun", "v": "verb", "v.t": "verb", "v.i": "verb", "adj": "adjective",
    "pp": "adjective", "p.p": "adjective", "adv": "adverb", "pro": "pronoun", "pron": "pronoun",
}  # fmt: skip
DEVIL_ENTRY = re.compile(
    r"(?P<word>[A-Z][A-Z' .-]*[A-Z])(?:(?:,| or) [A-Z]+)?,? ?"
    r"(?P<part>n\.pl|v\.t|v\.i|p\.p|pron|pro|pp|adj|adv|n|v|x)\.(?: and [a-z.]+\.)? *"
)
MISPRINTS = {
    "n ancient Rome": "In ancient Rome", "wealth of power": "wealth or power", "vilifed": "vilified",
    "The present your": "To present your", "method of better his": "method of bettering his",
    "secure and office": "secure an office", "diplomacy and officer": "diplomacy an officer",
    "omniscience, omnipotent": "omniscient, omnipotent", "sacrificial rights": "sacrificial rites",
}  # fmt: skip
ABBREVIATION = re.compile(r"(?:\b(?:Dr|Mr|Mrs|St|Rev|Gen|Col|Prof|Hon|Capt|viz|etc|lib|cf|i\.e|e\.g)|\b[A-Z])\.$")
STUB = re.compile(r"(?:See|(?:The )?same as|Vide)\b", re.IGNORECASE)
# Sentences that announce what is cut off: `... in the following lines by the Reverend Father Jape.`
ANNOUNCES = re.compile(
    r"^Following (?:is|are)\b|\bfollowing (?:lines|verses|passage|story)\b|\bas follows\b|\bhere following\b"
)
UNKIND = re.compile(r"nigger|negro|mulatto", re.IGNORECASE)


def devil_record(entry, spellings):
    """One definition; nothing for an entry without a part of speech, a reference, mere verse, or a slur."""
    match = DEVIL_ENTRY.match(entry)
    if not match:
        return None
    paragraph = first_paragraph(entry[match.end() :])
    definition = shorten(sentences_of(clean(paragraph)))
    word = match["word"].lower()
    if not definition or STUB.match(definition) or UNKIND.search(f"{word} {definition}"):
        return None
    return Record(spellings.get(word, word), part_of(match["part"], definition), definition)


def part_of(abbreviation, definition):
    """The part of speech in full; the source calls a few verbs nouns, and the other way about."""
    if abbreviation.startswith("n") and re.match(r"To [a-z]+ ", definition):
        return "verb"
    if abbreviation.startswith("v") and re.match(r"An? ", definition):
        return "noun"
    return DEVIL_PARTS[abbreviation]


def first_paragraph(body):
    """Up to an empty line or an indented one: what follows is verse, or an anecdote."""
    lines = body.split("\n")
    end = next((n for n, line in enumerate(lines) if not line.strip() or line.startswith(" ")), len(lines))
    return lines[:end]


def clean(lines):
    text = join_lines(lines)
    text = re.sub(r"\s*\[(?:sic|Latin|from [^\]]*)\]", "", text)
    text = re.sub(r"\s*\(See [^)]*\)\.?", "", text)
    text = re.sub(r"[_{}]", "", text).replace("`", "'")
    for wrong, right in MISPRINTS.items():
        text = re.sub(rf"\b{wrong}\b", right, text)
    return re.sub(r"\s+", " ", text).strip()


def sentences_of(text):
    """Whole sentences; what stands after the last full stop (`As the poet says:`) is dropped."""
    sentences, begin = [], 0
    for match in re.finditer(r"[.!?][\"')]*(?= [\"'(]?[A-Z]|$)", text):
        if ABBREVIATION.search(text[begin : match.start() + 1]) and match.end() < len(text):
            continue
        sentences.append(text[begin : match.end()].strip())
        begin = match.end()
    return sentences


def shorten(sentences):
    kept = ""
    for sentence in sentences:
        longer = f"{kept} {sentence}".strip()
        if ANNOUNCES.search(sentence) or len(longer) > (COMPLETION_LIMIT if kept else FIRST_SENTENCE_LIMIT):
            break
        kept = longer
    return kept if kept.count('"') % 2 == 0 else kept + '"'  # a quotation that goes on in what is cut


def split_devil(records):
    """(train, test): the test part has the words of the lowest hashes; a word's entries stay together."""
    words = sorted({record.word for record in records}, key=lambda word: hash_of(f"devil {word}"))
    held_out = set(words[:TEST_ENTRIES])
    return (
        [record for record in records if record.word not in held_out],
        [record for record in records if record.word in held_out],
    )


def demo_words(test, train_of_wordnet):
    """The held-out nouns with one short definition that WordNet's own prose uses most: words that anybody knows."""
    known = {record.word for record in train_of_wordnet if record.part == "noun"}
    uses_of = {}
    for record in train_of_wordnet:
        for word in set(re.findall(r"[a-z]+", record.definition.lower())):
            uses_of[word] = uses_of.get(word, 0) + 1
    typical = [
        record.word
        for record in test
        if record.part == "noun" and record.word in known and 30 <= len(record.definition) <= 200
    ]
    return sorted(sorted(set(typical), key=lambda word: (-uses_of.get(word, 0), word))[:DEMO_WORDS])


# ---------------------------------------------------------------------------------------------------- files


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(rows)} records, {len(text.encode()) / 1e6:.2f} MB")


def licence_of(copyright_text):
    """The WordNet licence out of a Debian copyright file: the indented paragraph after `License: WordNet3.0`."""
    match = re.search(r"^License: WordNet3\.0\n((?: .*\n)+)", copyright_text, re.MULTILINE)
    if not match:
        sys.exit("the copyright file of dict-wn holds no `License: WordNet3.0` paragraph")
    lines = [line[1:].rstrip() for line in match[1].splitlines()]
    return "WordNet Release 3.0\n\n" + "\n".join("" if line == "." else line for line in lines) + "\n"


def make(folder, options):
    wordnet = wordnet_records(read_dictionary(folder, "wn"), options.names)
    train, valid = split_wordnet(wordnet)
    write_lines(options.out / "wordnet/train.jsonl", [{"text": record.text()} for record in train])
    write_lines(options.out / "wordnet/valid.jsonl", [{"text": record.text()} for record in valid])

    spellings = {}
    for _, entry in read_dictionary(folder, "wn"):
        heading = entry.strip("\n").split("\n")[0].strip()
        spellings.setdefault(heading.lower(), heading)
    spellings.update({record.word: record.word for record in wordnet if record.word == record.word.lower()})
    devil = [devil_record(entry, spellings) for _, entry in read_dictionary(folder, "devil")]
    print(f"The Devil's Dictionary: {len(devil)} entries, {devil.count(None)} of them left out")
    devil_train, devil_test = split_devil([record for record in devil if record])
    for name, part in (("train", devil_train), ("test", devil_test)):
        rows = [{"prompt": record.prompt(), "completion": f" {record.definition}"} for record in part]
        write_lines(options.kept / f"devil/{name}.jsonl", rows)
    words = demo_words(devil_test, train)
    (options.kept / "devil/demo_words.txt").write_text("".join(f"{word}\n" for word in words))

    licence = licence_of((folder / "usr/share/doc/dict-wn/copyright").read_text(encoding="utf-8"))
    for path in (options.kept / "LICENSE.wordnet", options.out / "wordnet/LICENSE.wordnet"):
        path.write_text(licence, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the WordNet part")
    parser.add_argument("--kept", type=pathlib.Path, default=HERE, help="folder for the Devil's part and the licence")
    parser.add_argument("--wn-deb", type=pathlib.Path, help="the package dict-wn; fetched with apt-get if not given")
    parser.add_argument("--devil-deb", type=pathlib.Path, help="the package dict-devil; as above")
    parser.add_argument("--names", action="store_true", help="keep headwords with capitals and digits")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        for package, given in (("dict-wn", options.wn_deb), ("dict-devil", options.devil_deb)):
            unpack(given or fetch(package, folder), folder)
        make(folder, options)


if __name__ == "__main__":
    main()
