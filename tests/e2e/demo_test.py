#!/usr/bin/env python3
"""The demonstration as a stranger sees it: its documents are indexed, its three questions cite the right ones.

    demo_test.py RAG_PROGRAM
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "apps" / "demo"
PROGRAM = None

# Question -> end of the document that answers it, and what the quotes must say.
EXPECTED = {
    "When was the IBM Magnetic Tape Selectric Typewriter introduced?":
        ("office/history-of-the-word-processor.pdf", "1964"),
    "What does the kubelet do with a Container when its liveness probe fails?":
        ("kubernetes/concepts/workloads/pods/pod-lifecycle.md", "kills the"),
    "Who has the right to education?": ("human-rights/eng.txt", "Everyone has the right to education"),
}
# Under a sanitizer, which makes encoding ten times as slow.
SMALLER = ["human-rights", "office", "tables", "web", "kubernetes/concepts/workloads/pods"]


class Demo(unittest.TestCase):
    def run_rag(self, *arguments):
        result = subprocess.run([PROGRAM, "--db", self.database, *arguments, "--json"], capture_output=True,
                                text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr + result.stdout)
        return json.loads(result.stdout)

    def test_documents_are_indexed_and_questions_cited(self):
        with tempfile.TemporaryDirectory() as folder:
            self.database = str(pathlib.Path(folder) / "demo.db")
            folders = SMALLER if os.environ.get("RAG_SANITIZE") else ["."]
            report = self.run_rag("index", *[str(DEMO / "documents" / name) for name in folders], "--collection", "demo")
            self.assertGreaterEqual(report["indexed"], 30 if folders == SMALLER else 200)
            self.assertEqual(report["failed"], [])
            questions = (DEMO / "questions.txt").read_text(encoding="utf-8").splitlines()
            self.assertEqual(sorted(questions), sorted(EXPECTED))
            for question in questions:
                answer = self.run_rag("ask", question, "--collection", "demo", "-k", "6")
                document, words = EXPECTED[question]
                self.assertTrue(answer["citations"], answer)
                self.assertTrue(all(citation["verified"] for citation in answer["citations"]), answer)
                cited = [c for c in answer["citations"] if c["document"].endswith(document)]
                self.assertTrue(cited, answer)
                self.assertIn(words, " ".join(" ".join(c["quote"].split()) for c in cited), answer)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    models = subprocess.run([PROGRAM, "models", "list", "--json"], capture_output=True, text=True, check=False)
    if "all-MiniLM-L6-v2" not in models.stdout:
        print("SKIPPED demo_test.py: the default model is not set up")
        sys.exit(77)
    if os.environ.get("RAG_SANITIZE"):
        print("SMALLER under the sanitizer: the demonstration's folders", ", ".join(SMALLER))
    unittest.main()
