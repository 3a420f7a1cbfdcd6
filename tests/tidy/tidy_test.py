#!/usr/bin/env python3
"""The rules themselves: each must catch what it is for and let the rest pass."""

import pathlib
import tempfile
import unittest

import tidy


def includes(path, text):
    return list(tidy.include_problems(pathlib.Path(path), text))


class IncludeRules(unittest.TestCase):
    def test_a_sibling_room_is_refused(self):
        self.assertTrue(includes("index/a.cc", '#include "embed/encoder.h"\n'))
        self.assertTrue(includes("lib/a.h", '#include "index/store.h"\n'))
        self.assertTrue(includes("apps/rag/a.cc", '#include "index/store.h"\n'))

    def test_the_rooms_below_are_allowed(self):
        self.assertEqual(includes("index/a.cc", '#include "lib/base/status.h"\n'), [])
        self.assertEqual(includes("engine/a.cc", '#include "embed/encoder.h"\n'), [])
        self.assertEqual(includes("tests/a.cc", '#include "index/store.h"\n'), [])

    def test_a_library_stays_behind_its_wall(self):
        self.assertTrue(includes("engine/a.cc", "#include <rocksdb/db.h>\n"))
        self.assertTrue(includes("index/a.h", "#include <rocksdb/db.h>\n"))
        self.assertEqual(includes("index/a.cc", "#include <rocksdb/db.h>\n"), [])
        self.assertEqual(includes("index/store/private.h", "#include <rocksdb/db.h>\n"), [])

    def test_includes_are_written_from_the_root(self):
        self.assertTrue(includes("index/a.cc", '#include "store.h"\n'))


class FileRules(unittest.TestCase):
    def test_unfinished_and_printing_code_is_refused(self):
        found = lambda text: list(tidy.file_problems(pathlib.Path("lib/a.cc"), text))
        self.assertTrue(found("// TO" "DO later\n"))
        self.assertTrue(found("std::cout << 1;\n"))
        self.assertEqual(found("int a = 1;\n"), [])

    def test_a_header_has_a_guard(self):
        self.assertTrue(list(tidy.file_problems(pathlib.Path("lib/a.h"), "int a;\n")))
        self.assertEqual(list(tidy.file_problems(pathlib.Path("lib/a.h"), "#pragma once\n")), [])


class ObjectRules(unittest.TestCase):
    def test_code_that_other_processors_may_run_is_refused(self):
        found = lambda *lines: list(tidy.shared_code("".join(f"{line}\n" for line in lines)))
        self.assertEqual(found("0000000000000000 T _ZN3rag11AmxPanelDotEv", "0000000000000040 t _ZN12_GLOBAL__N_13DotEv",
                               "0000000000000000 V DW.ref.__gxx_personality_v0"), [])
        for line in ("0000000000000000 W _ZNSt6vectorIfE6resizeEm", "0000000000000000 u kTable",
                     "0000000000000000 V kTable", "0000000000000000 t _GLOBAL__sub_I_kTable"):
            self.assertEqual(len(found(line)), 1, line)

    def test_a_build_without_objects_is_refused(self):
        with tempfile.TemporaryDirectory() as name:
            self.assertEqual(len(list(tidy.object_problems(name))), 1)


class LinkRules(unittest.TestCase):
    def test_a_symbolic_link_is_refused(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "file").touch()
            (folder / "link").symlink_to(folder)
            self.assertEqual(list(tidy.link_problems(folder, ["file"])), [])
            self.assertEqual(len(list(tidy.link_problems(folder, ["file", "link"]))), 1)


if __name__ == "__main__":
    unittest.main()
