// A tiny random decoder with a SentencePiece-style vocabulary and a chat template.
#pragma once

#include <string>
#include <vector>

#include "tests/generate/random_model.h"

namespace rag::test {

// The form that OpenAI's chat markup has in many models' files.
inline constexpr char kChatMl[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "(message['content'] | trim) + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

inline constexpr size_t kChatVocabulary = 384;

// Token 300 is `changed`, where that is not empty.
inline void AddChatVocabulary(GgufWriter& writer, size_t size = kChatVocabulary,
                              const std::string& changed = "") {
  std::vector<std::string> tokens = {"<unk>",      "<s>",    "</s>",   "<|im_start|>",
                                     "<|im_end|>", "[INST]", "[/INST]"};
  std::vector<int32_t> types = {2, 3, 3, 3, 3, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    const char* digits = "0123456789ABCDEF";
    tokens.push_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">");
    types.push_back(6);
  }
  tokens.push_back("\xE2\x96\x81");
  types.push_back(1);
  for (char c = '!'; c <= '~'; ++c) {
    tokens.push_back(std::string(1, c));
    types.push_back(1);
  }
  while (tokens.size() < size) {
    tokens.push_back("unused" + std::to_string(tokens.size()));
    types.push_back(1);
  }
  if (!changed.empty()) tokens[300] = changed;
  writer.Text("tokenizer.ggml.model", "llama");
  writer.Texts("tokenizer.ggml.tokens", tokens);
  writer.Floats("tokenizer.ggml.scores", std::vector<float>(tokens.size(), 0.0f));
  writer.Integers("tokenizer.ggml.token_type", types);
  writer.Integer("tokenizer.ggml.bos_token_id", 1);
  writer.Integer("tokenizer.ggml.eos_token_id", 2);
  writer.Integer("tokenizer.ggml.unknown_token_id", 0);
}

// A model whose Load succeeds; `chat_template` may be empty.
inline RandomModel ChatModel(const std::string& chat_template) {
  RandomModel model;
  model.width = 64;
  model.heads = 2;
  model.kv_heads = 1;
  model.head_dim = 32;
  model.feed_forward = 96;
  model.layers = 1;
  model.vocabulary = kChatVocabulary;
  model.more = [chat_template](GgufWriter& writer) {
    AddChatVocabulary(writer);
    if (!chat_template.empty()) writer.Text("tokenizer.chat_template", chat_template);
  };
  return model;
}

}  // namespace rag::test
