#!/usr/bin/env python3
"""The published openai client embeds, chats and streams against a running ragd, over TCP and a Unix domain socket.

    openai_client_test.py RAGD_PROGRAM

Needs the packages of tests/requirements.txt, which ./dev setup puts into .venv; it looks for them there by itself.
"""

import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import own_python  # noqa: E402: after the folder that has it

own_python.need("httpx2", "openai")

import httpx2  # noqa: E402: after the look for them
import openai  # noqa: E402
from ragd_harness import Daemon, default_encoder, shared_data  # noqa: E402: after the look for openai

PROGRAM = None
KEY = "sk-test-of-the-client"
DECODER = shared_data("models/stories260K/stories260K.gguf")
TEXTS = ["The sky is blue because air scatters short wavelengths of light.",
         "Rotate the signing key every ninety days.",
         "서울은 대한민국의 수도이다."]


class Client:
    """The tests, for one kind of socket each."""

    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], ["all-MiniLM-L6-v2", "stories260K"])
        self.assertEqual(self.client.models.retrieve("stories260K").object, "model")

    def test_embeds(self):
        # The client asks for base64 by itself and unpacks it.
        by_default = self.client.embeddings.create(model="all-MiniLM-L6-v2", input=TEXTS)
        as_floats = self.client.embeddings.create(model="all-MiniLM-L6-v2", input=TEXTS, encoding_format="float")
        self.assertEqual([d.index for d in by_default.data], [0, 1, 2])
        for a, b in zip(by_default.data, as_floats.data):
            self.assertEqual(len(a.embedding), 384)
            for x, y in zip(a.embedding, b.embedding):
                self.assertAlmostEqual(x, y, places=6)
        self.assertGreater(by_default.usage.prompt_tokens, 10)

    def test_chats(self):
        answer = self.client.chat.completions.create(
            model="stories260K", max_tokens=30, messages=[{"role": "user", "content": "Once upon a time"}])
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertTrue(answer.choices[0].message.content)
        self.assertIn(answer.choices[0].finish_reason, ("stop", "length"))
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_streams(self):
        question = [{"role": "user", "content": "Once upon a time"}]
        whole = self.client.chat.completions.create(model="stories260K", max_tokens=30, messages=question)
        chunks = list(self.client.chat.completions.create(
            model="stories260K", max_tokens=30, messages=question, stream=True,
            stream_options={"include_usage": True}))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertGreater(len(chunks), 5)
        self.assertEqual(chunks[-1].usage.total_tokens, whole.usage.total_tokens)
        self.assertEqual(chunks[-1].usage.prompt_tokens_details.cached_tokens, whole.usage.prompt_tokens - 1)
        self.assertEqual(chunks[-2].choices[0].finish_reason, whole.choices[0].finish_reason)

    def test_streams_several_answers_with_log_probabilities(self):
        asked = {"model": "stories260K", "max_tokens": 12, "messages": [{"role": "user", "content": "Once upon a time"}],
                 "n": 3, "temperature": 1.2, "seed": 5, "logprobs": True, "top_logprobs": 2,
                 "extra_body": {"priority": 3}}
        whole = self.client.chat.completions.create(**asked)
        self.assertEqual([choice.index for choice in whole.choices], [0, 1, 2])
        self.assertEqual(len({choice.message.content for choice in whole.choices}), 3)
        texts, tokens, reasons = ["", "", ""], [[], [], []], [None] * 3
        for chunk in self.client.chat.completions.create(**asked, stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
                reasons[choice.index] = choice.finish_reason
        self.assertEqual(texts, [choice.message.content for choice in whole.choices])
        self.assertEqual(tokens, [choice.logprobs.content for choice in whole.choices])
        self.assertEqual(reasons, [choice.finish_reason for choice in whole.choices])
        self.assertTrue(all(len(token.top_logprobs) == 2 for own in tokens for token in own))

    def test_answers_from_a_collection(self):
        answer = self.client.chat.completions.create(
            model="stories260K", max_tokens=20, messages=[{"role": "user", "content": "Why is the sky blue?"}],
            extra_body={"rag": {"collection": "notes", "top_k": 1}})
        self.assertEqual(answer.rag["mode"], "generative")
        self.assertEqual(answer.rag["sources"][0]["document"], "0")
        stream = self.client.chat.completions.create(
            model="stories260K", max_tokens=20, messages=[{"role": "user", "content": "Why is the sky blue?"}],
            extra_body={"rag": {"collection": "notes", "top_k": 1}}, stream=True)
        self.assertEqual(list(stream)[-1].rag["sources"][0]["document"], "0")

    def test_errors_are_the_clients_own(self):
        question = [{"role": "user", "content": "x"}]
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.chat.completions.create(model="gpt-4", messages=question)
        self.assertEqual((caught.exception.code, caught.exception.param), ("model_not_found", "model"))
        with self.assertRaises(openai.BadRequestError):
            self.client.chat.completions.create(model="stories260K", messages=question, n=3,
                                                extra_body={"rag": {"collection": "notes"}})
        with self.assertRaises(openai.BadRequestError):
            self.client.embeddings.create(model="all-MiniLM-L6-v2", input=[[1, 2, 3]])
        with self.assertRaises(openai.AuthenticationError):
            self.client.with_options(api_key="sk-wrong").models.list()


class Tcp(Client, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = openai.OpenAI(base_url=f"http://127.0.0.1:{DAEMON.port}/v1", api_key=KEY, max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()


class Unix(Client, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        transport = httpx2.HTTPTransport(uds=DAEMON.socket_path)
        cls.client = openai.OpenAI(base_url="http://localhost/v1", api_key=KEY, max_retries=0,
                                   http_client=httpx2.Client(transport=transport))

    @classmethod
    def tearDownClass(cls):
        cls.client.close()


class Asynchronous(unittest.IsolatedAsyncioTestCase):
    async def test_streams(self):
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{DAEMON.port}/v1", api_key=KEY,
                                      max_retries=0) as client:
            stream = await client.chat.completions.create(
                model="stories260K", max_tokens=20, stream=True, messages=[{"role": "user", "content": "Once"}])
            text = ""
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
            self.assertTrue(text)


DAEMON = None


def main():
    global PROGRAM, DAEMON
    PROGRAM = sys.argv.pop(1)
    if default_encoder() is None or DECODER is None:
        print("SKIPPED: needs the default encoder (./dev setup) and stories260K.gguf in the test data")
        return 77
    with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
        # The file's own context of 128 tokens is too short for a prompt with sources.
        with Daemon(PROGRAM, "--llm", DECODER, "--context-tokens", "1024", "--socket", f"{folder}/rag.sock",
                    folder=folder, key=KEY, RAG_API_KEY=KEY) as DAEMON:
            documents = [{"key": str(i), "text": text} for i, text in enumerate(TEXTS)]
            added = DAEMON.request("POST", "/v1/documents", {"collection": "notes", "documents": documents})
            if added.status != 201:
                print(added.body)
                return 1
            return 0 if unittest.main(exit=False, verbosity=2).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
