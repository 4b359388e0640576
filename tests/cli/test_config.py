"""`--config`: YAML and JSON with the names of the flags."""

import json

from program import ProgramTest, read_safetensors, seeds, tiny_model


class ConfigTest(ProgramTest):
    def write(self, text, name="job.yaml"):
        path = self.folder / name
        path.write_text(text if isinstance(text, str) else json.dumps(text, indent=1), "utf-8")
        return path

    def job(self, **more):
        return {"model": str(tiny_model()), "data": str(seeds() / "data"), "output_dir": str(self.folder / "out"),
                "max_seq_length": 32, "max_steps": 1, "r": 2, **more}

    def adapter_config(self):
        return json.loads((self.folder / "out" / "adapter_config.json").read_text())

    def test_yaml(self):
        path = self.write(f"""
# a comment
model: {tiny_model()}
data: {seeds() / "data"}
output-dir: {self.folder / "out"}
max_seq_length: 32
iters: 2            # mlx-lm's word
rank: 3
learning_rate: 1e-2
target_modules: [q_proj, v_proj]
rank_pattern: {{v_proj: 5}}
use_rslora: true
packing: no
memory_budget: null
""")
        self.wick("train", "--config", path)
        config = self.adapter_config()
        self.assertEqual((config["r"], config["rank_pattern"], config["use_rslora"]), (3, {"v_proj": 5}, True))
        self.assertTrue((self.folder / "out" / "checkpoint-2").is_dir())

    def test_json(self):
        path = self.write(self.job(target_modules=["q_proj"], lora_dropout=0.25), "job.json")
        self.wick("train", f"--config={path}")
        self.assertEqual(self.adapter_config()["lora_dropout"], 0.25)

    def test_flags_win_by_any_of_their_names(self):
        path = self.write(self.job(lora_alpha=3), "job.json")
        for flags in (("--rank", "4"), ("--lora_r=4",), ("--r", "4")):
            self.wick("train", "-c", path, *flags, "--overwrite-output-dir")
            self.assertEqual((self.adapter_config()["r"], self.adapter_config()["lora_alpha"]), (4, 3))

    def test_an_unknown_key_is_answered_with_the_nearest(self):
        path = self.write("model: x\nlearning_rat: 1\n")
        self.refused(2, "train", "--config", path, says=["line 2", "learning_rat", "nearest is learning-rate"])

    def test_keys_of_another_command_are_unknown(self):
        path = self.write("temperature: 1\n")
        self.refused(2, "train", "--config", path, says="temperature")

    def test_values_of_the_wrong_kind_are_named_with_their_line(self):
        for line, says in (("max_steps: soon", "--max-steps"), ("learning_rate: [1, 2]", "--learning-rate"),
                           ("packing: perhaps", "--packing"), ("fine_tune_type: half", "--fine-tune-type"),
                           ("max_steps: 1.5", "--max-steps")):
            with self.subTest(line):
                path = self.write(f"model: x\ndata: y\n{line}\n")
                self.refused(2, "train", "--config", path, says=[says, "job.yaml: line 3"])

    def test_nested_values_are_refused_where_they_mean_nothing(self):
        path = self.write("model: x\nlearning_rate: {peak: 1}\n")
        self.refused(4, "train", "--config", path, says=["line 2", "learning_rate"])
        path = self.write("model: x\ntarget_modules: [[q_proj]]\n")
        self.refused(4, "train", "--config", path, says=["line 2", "target_modules"])

    def test_a_key_twice(self):
        for text in ("r: 2\nr: 4\n", "r: 2\nrank: 4\n", "max-steps: 1\nmax_steps: 2\n"):
            with self.subTest(text):
                self.refused(4, "train", "--config", self.write(text), says="twice")
        self.refused(4, "train", "--config", self.write('{"r": 1, "r": 2}', "job.json"), says="job.json")

    def test_no_map_no_file_no_value(self):
        self.refused(4, "train", "--config", self.write("- r\n"), says="map")
        self.refused(4, "train", "--config", self.write(""), says="map")
        self.refused(4, "train", "--config", self.write("r: [1\n"), says="line")
        self.refused(4, "train", "--config", self.write("{", "job.json"), says="byte")
        self.refused(3, "train", "--config", self.folder / "absent.yaml", says="absent.yaml")
        self.refused(3, "train", "--config", self.folder, says="folder")
        self.refused(2, "train", "--config", says="needs the path")
        path = self.write("r: 1\n")
        self.refused(2, "train", "--config", path, "--config", path, says="twice")

    def test_empty_and_dashed_values(self):
        path = self.write('model: ' + str(tiny_model()) + '\nprompt: ["--- Love", "x"]\nsystem_prompt: ""\n'
                          'max_new_tokens: 1\njson: true\n')
        result = self.wick("generate", "--config", path)
        self.assertEqual([line["prompt"] for line in self.json_lines(result)], ["--- Love", "x"])

    def test_other_commands_take_one_too(self):
        path = self.write(f"model: {seeds()}\ntext: [a wick, burns]\njson: on\n")
        result = self.wick("tokenize", "--config", path)
        self.assertEqual([line["text"] for line in self.json_lines(result)], ["a wick", "burns"])

    def test_deep_nesting_is_refused_not_followed(self):
        deep = "[" * 10000 + "]" * 10000
        for name, text in (("a.json", '{"stop": ' + deep + "}"), ("a.yaml", "stop: " + deep),
                           ("b.yaml", "\n".join(" " * i + "a:" for i in range(3000)) + " 1\n")):
            with self.subTest(name):
                self.refused(4, "generate", "--config", self.write(text, name), says=name)

    def test_underscores_on_the_command_line(self):
        self.train("--max_steps", 1, "--lora_alpha=6")
        self.assertEqual(self.adapter_config()["lora_alpha"], 6)
        self.assertTrue(read_safetensors(self.folder / "out" / "adapter_model.safetensors"))
