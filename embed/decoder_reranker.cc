#include "embed/decoder_reranker.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "embed/modules.h"
#include "embed/score_settings.h"
#include "embed/task_network.h"
#include "embed/text_network.h"
#include "lib/template/chat_template.h"

namespace rag {
namespace {

struct Answer {
  TokenId yes = 0;
  std::optional<TokenId> no;
};

Result<TokenId> ReadTokenId(const ConfigFile& file, std::string_view key, size_t vocab) {
  RAG_ASSIGN_OR_RETURN(const size_t id, file.Size(key, 0, static_cast<int64_t>(vocab) - 1));
  return static_cast<TokenId>(id);
}

// The answers' tokens: those of LogitScore's config.json, else "yes" and "no".
Result<Answer> ReadAnswer(const TaskNetwork& task) {
  const size_t vocab = task.network->config().vocab;
  Answer answer;
  if (task.modules.logit_score.has_value()) {
    std::string unhashed;
    RAG_ASSIGN_OR_RETURN(
        const ConfigFile file,
        ReadConfigFile(JoinPath(*task.modules.logit_score, "config.json"), unhashed));
    RAG_ASSIGN_OR_RETURN(const std::string input,
                         file.String("module_input_name", "causal_logits"));
    if (input != "causal_logits") {
      return UnsupportedError(file.path(), ": module_input_name '", input,
                              "' is not known; known is causal_logits");
    }
    RAG_ASSIGN_OR_RETURN(answer.yes, ReadTokenId(file, "true_token_id", vocab));
    if (!file.Has("false_token_id")) return answer;
    RAG_ASSIGN_OR_RETURN(answer.no, ReadTokenId(file, "false_token_id", vocab));
    return answer;
  }
  const Tokenizer& tokenizer = task.network->tokenizer();
  const std::optional<TokenId> yes = tokenizer.FindPiece("yes");
  const std::optional<TokenId> no = tokenizer.FindPiece("no");
  if (!yes.has_value() || !no.has_value()) {
    return InvalidArgumentError(task.folder, ": the vocabulary has no token '",
                                yes.has_value() ? "no" : "yes",
                                "', and there is no modules.json that names others");
  }
  return Answer{*yes, no};
}

// What the last hidden state is multiplied with: the row of one token in the output table, less the
// other's.
Result<std::vector<float>> ReadDirection(const TaskNetwork& task, const Answer& answer) {
  const TransformerConfig& config = task.network->config();
  const TransformerWeights& weights = task.network->weights();
  if (task.file.Has("final_logit_softcapping")) {
    return UnsupportedError(task.file.path(), ": 'final_logit_softcapping' is not known");
  }
  // As transformers has it for a config.json that says nothing.
  RAG_ASSIGN_OR_RETURN(const bool tied, task.file.Bool("tie_word_embeddings",
                                                       config.family == EncoderFamily::kGemma));
  const TensorView* table = nullptr;
  if (!tied) {
    const size_t shape[] = {config.vocab, config.hidden};
    RAG_ASSIGN_OR_RETURN(table, weights.finder().Find("lm_head.weight", shape));
  }
  const auto add = [&](TokenId id, float factor, std::vector<float>& direction) -> Status {
    std::vector<float> row(config.hidden);
    if (table == nullptr) {
      weights.ReadWord(static_cast<size_t>(id), row);
    } else {
      RAG_RETURN_IF_ERROR(DequantizeTo(*table, static_cast<size_t>(id) * row.size(), row));
    }
    for (size_t i = 0; i < row.size(); ++i) direction[i] += factor * row[i];
    return OkStatus();
  };
  std::vector<float> direction(config.hidden);
  RAG_RETURN_IF_ERROR(add(answer.yes, 1.0f, direction));
  if (answer.no.has_value()) RAG_RETURN_IF_ERROR(add(*answer.no, -1.0f, direction));
  return direction;
}

class DecoderReranker final : public Reranker {
 public:
  DecoderReranker(std::unique_ptr<const TextNetwork> network, ChatTemplate chat,
                  ScoreSettings settings, std::vector<float> direction)
      : network_(std::move(network)),
        chat_(std::move(chat)),
        prompt_(std::move(settings.prompt)),
        direction_(std::move(direction)),
        info_{.model_type = network_->config().model_type,
              .layers = network_->config().layers,
              .heads = network_->config().heads,
              .max_tokens = network_->limits().max_tokens,
              .sigmoid = settings.sigmoid,
              .weight_bytes = network_->weights().bytes} {}

  // What stands behind the passage, told by two passages without a common end.
  Status FindEnd() {
    RAG_ASSIGN_OR_RETURN(const std::vector<TokenId> one, Render("0", "0"));
    RAG_ASSIGN_OR_RETURN(const std::vector<TokenId> other, Render("1 2 3 4", "1 2 3 4"));
    RAG_ASSIGN_OR_RETURN(const std::vector<TokenId> query, Render("1 2 3 4", "0"));
    RAG_ASSIGN_OR_RETURN(const std::vector<TokenId> passage, Render("0", "1 2 3 4"));
    if (query == one || passage == one) {
      return InvalidArgumentError("the chat template leaves out messages of the role '",
                                  query == one ? "query" : "document", "'");
    }
    const auto [a, b] = std::mismatch(one.rbegin(), one.rend(), other.rbegin(), other.rend());
    end_.assign(a.base(), one.end());
    return OkStatus();
  }

  Result<RerankScores> Score(std::string_view query, std::span<const std::string_view> passages,
                             const CancelToken* cancel) const override {
    std::vector<Status> failures(passages.size());
    RAG_ASSIGN_OR_RETURN(const std::vector<Encoding> encodings,
                         network_->TokenizeAll(
                             passages.size(),
                             [&](size_t i) {
                               Result<Encoding> encoding = Encode(query, passages[i]);
                               if (encoding.ok()) return std::move(encoding).value();
                               failures[i] = encoding.status();
                               return Encoding();
                             },
                             cancel));
    for (const Status& failure : failures) RAG_RETURN_IF_ERROR(failure);
    RerankScores result;
    result.scores.resize(passages.size());
    RAG_RETURN_IF_ERROR(network_->Run(
        encodings,
        [&](size_t i, MatrixView states) {
          const Kernels& kernels = network_->runtime().kernels();
          const float logit =
              kernels.dot(states.row(states.rows - 1).data(), direction_.data(), direction_.size());
          result.scores[i] = info_.sigmoid ? 1.0f / (1.0f + std::exp(-logit)) : logit;
        },
        result.stats, cancel));
    return result;
  }
  const RerankerInfo& info() const override { return info_; }

 private:
  Result<std::vector<TokenId>> Render(std::string_view query, std::string_view passage) const {
    std::vector<ChatMessage> messages;
    if (!prompt_.empty()) messages.push_back({"system", prompt_});
    messages.push_back({"query", std::string(query)});
    messages.push_back({"document", std::string(passage)});
    return chat_.Render(messages, false);
  }

  Result<Encoding> Encode(std::string_view query, std::string_view passage) const {
    Encoding encoding;
    RAG_ASSIGN_OR_RETURN(encoding.ids, Render(query, passage));
    if (encoding.ids.empty()) return InternalError("the chat template gave a pair no token");
    if (encoding.ids.size() > info_.max_tokens) {
      encoding.truncated = encoding.ids.size() - info_.max_tokens;
      encoding.ids.resize(info_.max_tokens);
      const size_t kept = std::min(end_.size(), encoding.ids.size());
      std::copy(end_.end() - static_cast<ptrdiff_t>(kept), end_.end(),
                encoding.ids.end() - static_cast<ptrdiff_t>(kept));
    }
    encoding.type_ids.resize(encoding.ids.size());
    encoding.offsets.resize(encoding.ids.size());
    return encoding;
  }

  const std::unique_ptr<const TextNetwork> network_;
  const ChatTemplate chat_;
  const std::string prompt_;  // empty: none
  const std::vector<float> direction_;
  std::vector<TokenId> end_;
  const RerankerInfo info_;
};

}  // namespace

Result<bool> IsDecoderReranker(const std::string& folder) {
  std::string unhashed;
  RAG_ASSIGN_OR_RETURN(const Modules modules, ReadModules(folder, unhashed));
  if (modules.logit_score.has_value()) return true;
  if (FileExists(JoinPath(folder, "modules.json"))) return false;
  RAG_ASSIGN_OR_RETURN(const ConfigFile file,
                       ReadConfigFile(JoinPath(folder, "config.json"), unhashed));
  const Value* names = file.value().Find("architectures");
  if (names == nullptr || !names->is_array() || names->as_array().empty()) return false;
  const Value& first = names->as_array().front();
  return first.is_string() && first.as_string().ends_with(kCausalTask);
}

Result<std::unique_ptr<Reranker>> LoadDecoderReranker(const std::string& folder,
                                                      const Runtime& runtime, Precision precision) {
  RAG_ASSIGN_OR_RETURN(TaskNetwork task, LoadTaskNetwork(folder, precision, runtime, kCausalTask));
  RAG_ASSIGN_OR_RETURN(ScoreSettings settings, ReadScoreSettings(folder, task.file));
  RAG_ASSIGN_OR_RETURN(const Answer answer, ReadAnswer(task));
  RAG_ASSIGN_OR_RETURN(std::vector<float> direction, ReadDirection(task, answer));
  RAG_ASSIGN_OR_RETURN(const std::string source, ReadChatTemplate(task.folder));
  if (source.empty()) {
    return UnsupportedError(task.folder,
                            ": a decoder that reranks without a chat template is not known");
  }
  const std::string name = StrCat("chat template of ", task.folder);
  RAG_ASSIGN_OR_RETURN(ChatTemplate chat,
                       ChatTemplate::Parse(source, name, task.network->tokenizer()));
  auto reranker = std::make_unique<DecoderReranker>(std::move(task.network), std::move(chat),
                                                    std::move(settings), std::move(direction));
  Status found = reranker->FindEnd();
  if (!found.ok()) return std::move(found).WithContext(task.folder);
  return std::unique_ptr<Reranker>(std::move(reranker));
}

}  // namespace rag
