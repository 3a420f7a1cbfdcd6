#!/usr/bin/env python3
"""Renders templates with Jinja2, in the environment that transformers.apply_chat_template uses, for
tests/lib/template_golden_test.cc. Run from here with jinja2 (and transformers, for its environment):

    python make_golden.py

The chat templates are written for this test in the shape of well-known models' formats; chat/phi3_gguf.jinja is what
tok-llamacpp's ggml-vocab-phi-3.gguf describes, in our own spelling."""

import json
import pathlib

import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

HERE = pathlib.Path(__file__).parent

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a \"place\" <now> & later",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "서울, Zürich …"},
                    "days": {"type": "integer", "minimum": 1},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
]

CHATS = {
    "one_turn": [{"role": "user", "content": "Hello!"}],
    "system": [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "What is 2 + 2?"},
    ],
    "turns": [
        {"role": "user", "content": "  Hi  "},
        {"role": "assistant", "content": " Hello. \n"},
        {"role": "user", "content": "Why?\n\nBecause…"},
    ],
    "system_turns": [
        {"role": "system", "content": "Be kind.\nAlways."},
        {"role": "user", "content": "안녕하세요 👋🏽"},
        {"role": "assistant", "content": "네, 안녕하세요!"},
        {"role": "user", "content": "{{ 7 * 7 }} {% raw %} {# no #} <|im_end|> </s> [INST]"},
    ],
    "ends_with_assistant": [
        {"role": "user", "content": "Count."},
        {"role": "assistant", "content": "1, 2, 3"},
    ],
    "tool_call": [
        {"role": "system", "content": "Use tools."},
        {"role": "user", "content": "Weather in Zürich?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"type": "function", "id": "abc123def", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}},
                {"type": "function", "id": "abc123deg", "function": {"name": "now", "arguments": {}}},
            ],
        },
        {"role": "tool", "name": "get_weather", "tool_call_id": "abc123def", "content": "{\"celsius\": 3.5}"},
        {"role": "tool", "name": "now", "tool_call_id": "abc123deg", "content": "12:00"},
        {"role": "assistant", "content": "3.5 °C at noon."},
        {"role": "user", "content": "Thanks."},
    ],
    "reasoning": [
        {"role": "user", "content": "Think."},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nDone."},
        {"role": "user", "content": "Again."},
    ],
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": "nice"}]},
    ],
    "wrong_order": [
        {"role": "assistant", "content": "I go first."},
        {"role": "assistant", "content": "And again."},
    ],
    "empty": [],
}

SETTINGS = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False, "tools": TOOLS},
    {"add_generation_prompt": True, "enable_thinking": False, "documents": [{"title": "A", "text": "b c"}, {"title": "D", "text": "e"}]},
]

COMMON = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None, "unk_token": "<unk>"}


def render(source, variables):
    try:
        return {"output": _compile_jinja_template(source).render(**variables)}
    except Exception as error:  # what a template may do wrong is many kinds of errors
        return {"error": str(error)[:200]}


def main():
    chats = []
    for path in sorted((HERE / "chat").glob("*.jinja")):
        source = path.read_text()
        for name, messages in CHATS.items():
            for number, settings in enumerate(SETTINGS):
                variables = {**COMMON, "messages": messages, **settings}
                chats.append({"template": path.name, "chat": name, "settings": number, **render(source, variables)})
    expressions = []
    variables = json.loads((HERE / "variables.json").read_text())
    for source in (HERE / "expressions.txt").read_text().split("\n----\n"):
        source = source.rstrip("\n") if source.endswith("\n\n") else source
        expressions.append({"source": source, **render(source, variables)})
    golden = {
        "versions": {"jinja2": jinja2.__version__, "transformers": transformers.__version__},
        "common": COMMON,
        "chats": CHATS,
        "settings": SETTINGS,
        "chat_cases": chats,
        "expression_cases": expressions,
    }
    (HERE / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
    print(len(chats), "chats,", sum("error" in c for c in chats), "errors;", len(expressions), "expressions,",
          sum("error" in c for c in expressions), "errors")
    for case in expressions:
        if "error" in case:
            print(repr(case["source"])[:100], "->", case["error"])


main()
