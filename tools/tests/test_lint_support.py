import pathlib
import tempfile
import unittest

import lint_support


class SourceViews(unittest.TestCase):
    def test_comments_and_strings_are_blanked(self):
        source = lint_support.Source('int a; // new b\n/* free(\nx) */ f("delete p", \'"\'); g(1\'000);\n')
        self.assertEqual(len(source.code), len(source.text))
        for word in ("new", "free", "delete"):
            self.assertNotIn(word, source.code)
        self.assertIn("g(1'000);", source.code)
        self.assertIn("new b", source.comments)
        self.assertNotIn("int a", source.comments)

    def test_raw_strings_end_where_they_end(self):
        source = lint_support.Source('auto s = R"x(a)" // " )x"; int b = 1; auto t = u8R"(new)"; int c;\n')
        self.assertIn("int b = 1;", source.code)
        self.assertIn("int c;", source.code)
        self.assertNotIn("new", source.code)

    def test_escaped_quotes_and_continued_comments(self):
        source = lint_support.Source('f("\\"", \'\\\'\'); int a; // x \\\n new b;\nint c;\n')
        self.assertIn("int a;", source.code)
        self.assertNotIn("new", source.code)
        self.assertIn("int c;", source.code)

    def test_includes_outside_of_comments(self):
        text = '#include "a/b.hpp"\n// #include "no.hpp"\n#  include <vector>\n/*\n#include "no.hpp"\n*/\n#include X\n'
        found = list(lint_support.Source(text).includes())
        self.assertEqual(found, [(1, True, "a/b.hpp"), (3, False, "vector")])

    def test_directives_are_blanked_with_their_continuations(self):
        code = lint_support.Source("#define F(x) \\\n  new x\nint a;\n").without_directives()
        self.assertNotIn("new", code)
        self.assertIn("int a;", code)

    def test_comment_near(self):
        source = lint_support.Source("// SAFETY: a\n\n\nx\n")
        self.assertTrue(source.comment_near(4, "SAFETY:", 3))
        self.assertFalse(source.comment_near(4, "SAFETY:", 2))

    def test_files_without_git(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "build").mkdir()
            (root / "build/a.txt").write_text("a")
            (root / "b.txt").write_text("b")
            self.assertEqual(lint_support.repo_files(root), [root / "b.txt"])


if __name__ == "__main__":
    unittest.main()
