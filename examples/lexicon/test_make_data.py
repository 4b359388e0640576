#!/usr/bin/env python3
"""Tests of make_data.py and make_tokenizer.py, on small samples and on the files kept beside them."""

import collections
import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import make_data  # noqa: E402
import make_tokenizer  # noqa: E402

AMBUSH = """ambush
    n 1: the act of concealing yourself and lying in wait to attack
         by surprise [syn: {ambush}, {ambuscade}, {lying in wait},
         {trap}]
    v 1: wait in hiding to attack; "they ambushed the convoy"; "he
         waylaid her" [syn: {ambush}, {waylay}]
    2: hunt (quarry) by stalking a half-
       tame animal
"""


def wordnet_texts(entry, keep_names=False):
    return [record.text() for record in make_data.wordnet_records([("", entry)], keep_names)]


def rows_of(path):
    return [json.loads(line) for line in (HERE / path).read_text(encoding="utf-8").splitlines()]


class WordNet(unittest.TestCase):
    def test_each_sense_is_a_sentence_under_its_part_of_speech(self):
        self.assertEqual(
            wordnet_texts(AMBUSH),
            [
                "ambush (noun): The act of concealing yourself and lying in wait to attack by surprise.",
                'ambush (verb): Wait in hiding to attack. "They ambushed the convoy."',
                "ambush (verb): Hunt (quarry) by stalking a half-tame animal.",
            ],
        )

    def test_a_sense_takes_the_spelling_of_its_synonyms(self):
        entry = 'Polish\n    adj 1: of Poland\n    v 1: make shiny; "polish it" [syn: {smooth}, {polish}]\n'
        self.assertEqual(wordnet_texts(entry), ['polish (verb): Make shiny. "Polish it."'])
        self.assertEqual(wordnet_texts(entry, keep_names=True)[0], "Polish (adjective): Of Poland.")

    def test_a_quotation_inside_a_definition_stays_there(self):
        entry = 'job\n    n 1: a workplace, as in "on the job"; "he has a job"\n'
        self.assertEqual(wordnet_texts(entry), ['job (noun): A workplace, as in "on the job". "He has a job."'])

    def test_what_wordnet_calls_a_slur_is_left_out(self):
        self.assertEqual(wordnet_texts("boor\n    n 1: (ethnic slur) a person\n"), [])
        self.assertEqual(wordnet_texts("boor\n    n 1: offensive term for a person\n"), [])

    def test_a_record_is_cut_at_a_clause(self):
        entry = "long\n    n 1: " + "; ".join(["a clause of thirty-five characters"] * 20) + "\n"
        (text,) = wordnet_texts(entry)
        self.assertLessEqual(len(text), make_data.RECORD_LIMIT)
        self.assertTrue(text.endswith("; a clause of thirty-five characters."))

    def test_no_definition_is_in_both_parts(self):
        records = [make_data.Record(f"word{n}", "noun", f"Definition {n // 3}.") for n in range(3000)]
        train, valid = make_data.split_wordnet(records)
        self.assertGreater(len(valid), 10)
        self.assertFalse({record.definition for record in train} & {record.definition for record in valid})
        self.assertFalse({record.word for record in train} & {record.word for record in valid})


class Devil(unittest.TestCase):
    def record(self, entry, spellings=None):
        return make_data.devil_record(entry, spellings or {})

    def test_the_definition_is_the_first_paragraph(self):
        entry = (
            "ABRUPT, adj.  Sudden, like the arrival of a cannon-\nshot.  Dr. Samuel Johnson said [sic] _so_. \n\n"
            "    Spring beckons!  All things respond.\n"
        )
        definition = "Sudden, like the arrival of a cannon-shot. Dr. Samuel Johnson said so."
        self.assertEqual(self.record(entry), make_data.Record("abrupt", "adjective", definition))

    def test_what_announces_verse_is_dropped(self):
        entry = "FROG, n.  A reptile with edible legs.  As the poet says:\n\n    O frog!\n"
        self.assertEqual(self.record(entry).definition, "A reptile with edible legs.")
        entry = "FROG, n.  A reptile.  It is sung in the following lines by Jape.\n\n    O frog!\n"
        self.assertEqual(self.record(entry).definition, "A reptile.")

    def test_references_verse_and_letters_give_nothing(self):
        for entry in ("BRUTE, n.  See {HUSBAND}.\n", "DEAD, adj.\n\n    Done with work.\n", "X in our alphabet.\n"):
            self.assertIsNone(self.record(entry), entry)

    def test_abbreviations_of_parts_of_speech(self):
        for written, meant in (("n.pl.", "noun"), ("v.t.", "verb"), ("v.i.", "verb"), ("pp.", "adjective")):
            self.assertEqual(self.record(f"WORD, {written}  Said.\n").part, meant)
        self.assertEqual(self.record("MEANDER, n.  To proceed aimlessly.\n").part, "verb")

    def test_names_keep_their_capital(self):
        self.assertEqual(self.record("YANKEE, n.  A man.\n", {"yankee": "Yankee"}).prompt(), "Yankee (noun):")

    def test_a_long_entry_ends_with_a_sentence(self):
        entry = "WAR, n.  " + "  ".join(["This sentence has forty-one characters, so."] * 12) + "\n"
        definition = self.record(entry).definition
        self.assertLessEqual(len(definition), make_data.COMPLETION_LIMIT)
        self.assertTrue(definition.endswith("so."))

    def test_a_quotation_that_is_cut_is_closed(self):
        entry = 'SALAD, n.  A herb.  "God rewards the good.  ' + "Oil and vinegar. " * 20 + 'It ends."\n'
        definition = self.record(entry).definition
        self.assertLessEqual(len(definition), make_data.COMPLETION_LIMIT + 1)
        self.assertTrue(definition.endswith('vinegar."'))


class Files(unittest.TestCase):
    def test_an_index_cuts_the_text(self):
        data = b"00-database-short\nfirst\nsecond\n"
        index = "00databaseshort\tA\tS\nfirst\tS\tG\nsecond\tY\tH\n"
        self.assertEqual(make_data.cut_entries(data, index), [("first", "first\n"), ("second", "second\n")])

    def test_the_licence_is_taken_out_of_the_copyright_file(self):
        text = "Files: *\nLicense: WordNet3.0\n First.\n .\n Second.\n\nFiles: debian/*\n"
        self.assertEqual(make_data.licence_of(text), "WordNet Release 3.0\n\nFirst.\n\nSecond.\n")

    def test_the_kept_parts_do_not_overlap(self):
        prompts = {name: {row["prompt"] for row in rows_of(f"devil/{name}.jsonl")} for name in ("train", "test")}
        self.assertEqual(len(prompts["test"]), make_data.TEST_ENTRIES)
        self.assertFalse(prompts["train"] & prompts["test"])
        words = (HERE / "devil/demo_words.txt").read_text().split()
        self.assertEqual(len(words), make_data.DEMO_WORDS)
        self.assertLessEqual({f"{word} (noun):" for word in words}, prompts["test"])

    def test_the_config_fits_the_tokenizer_and_the_size(self):
        config = json.loads((HERE / "base/config.json").read_text())
        model = json.loads((HERE / "base/tokenizer.json").read_text(encoding="utf-8"))["model"]
        self.assertEqual(sorted(model["vocab"].values()), list(range(config["vocab_size"])))
        hidden, head = config["hidden_size"], config["head_dim"]
        query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
        layer = 2 * hidden * query + 2 * hidden * key + 3 * hidden * config["intermediate_size"] + 2 * hidden
        parameters = config["vocab_size"] * hidden + config["num_hidden_layers"] * layer + hidden
        self.assertEqual(parameters, 3935424)


class Tokenizer(unittest.TestCase):
    def test_texts_are_split_as_gpt2_splits_them(self):
        self.assertEqual(
            make_tokenizer.words_of("it's 12 (half-done)  x\u00e9²."),
            ["Ġit", "'s", "Ġ12", "Ġ(", "half", "-", "done", ")", "Ġ", "ĠxÃ©", "Â²", "."],
        )
        self.assertEqual(make_tokenizer.words_of(" a"), ["Ġa"])

    def test_counts_stay_true_from_merge_to_merge(self):
        counts = {"abab": 5, "aaa": 3, "babab": 2, "cab": 1}
        trainer = make_tokenizer.MergeTrainer(counts)
        while trainer.next_merge():
            truth = collections.Counter()
            for word, frequency in zip(trainer.words, counts.values()):
                for pair in zip(word, word[1:]):
                    truth[pair] += frequency
            self.assertEqual(+trainer.pairs, truth)

    def test_the_kept_tokenizer_gives_texts_back(self):
        codec = make_tokenizer.Codec(json.loads((HERE / "base/tokenizer.json").read_text(encoding="utf-8")))
        for row in rows_of("devil/test.jsonl"):
            prompt, completion = codec.encode(row["prompt"]), codec.encode(row["completion"])
            self.assertEqual(prompt + completion, codec.encode(row["prompt"] + row["completion"]))
            self.assertEqual(codec.decode(prompt + completion), f" {row['prompt']}{row['completion']}")
        mixed = " na\u00efve \u20ac5 \U0001f600\n\tx"
        self.assertEqual(codec.decode(codec.encode(mixed)), mixed)


if __name__ == "__main__":
    unittest.main()
