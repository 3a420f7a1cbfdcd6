// rag bench: how fast this machine encodes, searches the user's collection, and decodes.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <unordered_set>

#include "apps/rag/commands.h"
#include "apps/rag/output.h"

namespace rag {
namespace {

constexpr size_t kSamples = 200;
constexpr size_t kBatch = 128;
constexpr size_t kK = 10;
constexpr size_t kMaxQueryBytes = 200;
constexpr size_t kDecodeTokens = 64;

// Used when the collection has no text to take.
constexpr const char* kSentences[] = {
    "The signing key is rotated every ninety days by the operator on duty.",
    "A deployment keeps the old replicas until the new ones answer their health checks.",
    "Vaccines train the immune system to recognise a pathogen before it is met.",
    "서울은 대한민국의 수도이자 가장 큰 도시이다.",
    "Light slows down when it passes from air into water, and bends towards the normal.",
    "The committee published its report on water quality in the lower basin in March.",
};

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The first passage of documents of the collection; the built-in sentences when there are none.
std::vector<std::string> SampleTexts(const Engine& engine, const std::string& collection) {
  std::vector<std::string> texts;
  const Result<std::vector<std::string>> keys = engine.ListDocuments(collection, "", kSamples);
  if (keys.ok()) {
    for (const std::string& key : *keys) {
      const Result<StoredDocument> document = engine.GetDocument(collection, key);
      if (!document.ok() || document->chunk_ids.empty()) continue;
      const Result<Hit> chunk = engine.GetChunk(collection, document->chunk_ids.front());
      if (chunk.ok() && !chunk->text.empty()) texts.push_back(chunk->text);
    }
  }
  if (texts.empty()) texts.assign(std::begin(kSentences), std::end(kSentences));
  return texts;
}

// The beginning of a passage as a question, cut between characters.
std::string QueryOf(const std::string& text) {
  size_t end = std::min(text.size(), kMaxQueryBytes);
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
    --end;
  }
  return text.substr(0, end);
}

class Bench {
 public:
  Bench(Session& session, const Engine& engine)
      : session_(session),
        engine_(engine),
        texts_(SampleTexts(engine, session.collection())),
        seconds_(session.options().bench_seconds) {}

  Result<Value> Run() {
    RAG_ASSIGN_OR_RETURN(const Runtime* runtime, session_.GetRuntime());
    Value::Object out;
    out.Set("device", runtime->device_name());
    out.Set("isa", IsaName(runtime->isa()));
    out.Set("threads", runtime->pool().size());
    if (engine_.options().encoder != "none") {
      RAG_ASSIGN_OR_RETURN(Value encode, Encode());
      out.Set("encode", std::move(encode));
    }
    const Result<CollectionInfo> info = engine_.GetCollection(session_.collection());
    if (info.ok() && info->stats.chunks != 0) {
      RAG_ASSIGN_OR_RETURN(Value search, Search(*info));
      out.Set("search", std::move(search));
    }
    if (!engine_.options().llm.empty()) {
      RAG_ASSIGN_OR_RETURN(Value decode, Decode());
      out.Set("decode", std::move(decode));
    }
    return Value(std::move(out));
  }

 private:
  bool Going(Clock::time_point start) const {
    return SecondsSince(start) < seconds_ && !session_.cancel().cancelled();
  }

  Result<Value> Encode() {
    std::vector<std::string_view> batch;
    for (size_t i = 0; i < kBatch; ++i) batch.push_back(texts_[i % texts_.size()]);
    // The first call loads the model and warms the caches.
    RAG_RETURN_IF_ERROR(engine_.Embed(batch, TextRole::kDocument, &session_.cancel()).status());
    size_t texts = 0;
    size_t tokens = 0;
    const auto start = Clock::now();
    do {
      RAG_ASSIGN_OR_RETURN(const Embeddings embeddings,
                           engine_.Embed(batch, TextRole::kDocument, &session_.cancel()));
      texts += embeddings.stats.texts;
      tokens += embeddings.stats.tokens;
    } while (Going(start));
    const double seconds = SecondsSince(start);
    return Value(Value::Object{{"texts", texts},
                               {"tokens", tokens},
                               {"texts_per_second", static_cast<double>(texts) / seconds},
                               {"tokens_per_second", static_cast<double>(tokens) / seconds}});
  }

  Result<Value> Search(const CollectionInfo& info) {
    const bool dense = info.config.vectors.dim != 0 && engine_.options().encoder != "none";
    SearchRequest request;
    request.k = kK;
    request.mode = dense ? SearchMode::kDense : SearchMode::kLexical;
    std::vector<double> latencies_ms;
    double encode_ms = 0;
    const auto start = Clock::now();
    for (size_t i = 0; i == 0 || Going(start); ++i) {
      request.query = QueryOf(texts_[i % texts_.size()]);
      RAG_ASSIGN_OR_RETURN(const SearchResponse response,
                           engine_.Search(session_.collection(), request));
      latencies_ms.push_back(response.took_ms - response.encode_ms);
      encode_ms += response.encode_ms;
    }
    const double count = static_cast<double>(latencies_ms.size());
    const double seconds = SecondsSince(start);
    std::sort(latencies_ms.begin(), latencies_ms.end());
    Value::Object out{{"mode", SearchModeName(request.mode)},
                      {"queries", latencies_ms.size()},
                      {"queries_per_second", count / seconds},
                      {"encode_ms", encode_ms / count},
                      {"p50_ms", latencies_ms[latencies_ms.size() / 2]},
                      {"p99_ms", latencies_ms[latencies_ms.size() * 99 / 100]}};
    if (dense) {
      RAG_ASSIGN_OR_RETURN(const double recall, Recall(request));
      out.Set("recall@10", recall);
    }
    return Value(std::move(out));
  }

  // Share of the exact nearest chunks that the index finds.
  Result<double> Recall(SearchRequest request) {
    size_t found = 0;
    size_t all = 0;
    for (const std::string& text : texts_) {
      if (session_.cancel().cancelled()) return CancelledError("cancelled");
      request.query = QueryOf(text);
      request.exact = true;
      RAG_ASSIGN_OR_RETURN(const SearchResponse exact,
                           engine_.Search(session_.collection(), request));
      request.exact = false;
      RAG_ASSIGN_OR_RETURN(const SearchResponse approximate,
                           engine_.Search(session_.collection(), request));
      std::unordered_set<uint64_t> ids;
      for (const Hit& hit : approximate.hits) ids.insert(hit.chunk_id);
      for (const Hit& hit : exact.hits) found += ids.contains(hit.chunk_id);
      all += exact.hits.size();
    }
    return all == 0 ? 1.0 : static_cast<double>(found) / static_cast<double>(all);
  }

  Result<Value> Decode() {
    size_t runs = 0;
    size_t tokens = 0;
    size_t prompt_tokens = 0;
    double prefill_ms = 0;
    double decode_ms = 0;
    const auto start = Clock::now();
    do {
      // Another beginning each time: what the cache holds is not run, nor counted.
      const ChatMessage message{"user", StrCat(++runs, ". ", texts_.front())};
      RAG_ASSIGN_OR_RETURN(
          const GenerateResult result,
          engine_.Chat({&message, 1}, {.max_tokens = kDecodeTokens}, nullptr, &session_.cancel()));
      tokens += result.tokens.size();
      prompt_tokens += result.prompt_tokens - result.cached_tokens;
      prefill_ms += result.prefill_ms;
      decode_ms += result.decode_ms;
    } while (Going(start));
    const auto rate = [](size_t count, double ms) {
      return ms > 0 ? static_cast<double>(count) * 1e3 / ms : 0.0;
    };
    return Value(Value::Object{{"tokens", tokens},
                               {"tokens_per_second", rate(tokens, decode_ms)},
                               {"prompt_tokens_per_second", rate(prompt_tokens, prefill_ms)}});
  }

  Session& session_;
  const Engine& engine_;
  const std::vector<std::string> texts_;
  const double seconds_;
};

void PrintFor(const Value& value, const std::string& indent) {
  for (const auto& [name, member] : value.as_object()) {
    if (member.is_object()) {
      Print(StrCat(indent, Bold(name), "\n"));
      PrintFor(member, indent + "  ");
      continue;
    }
    char number[32] = "";
    if (member.is_double()) std::snprintf(number, sizeof(number), "%.4g", member.as_double());
    Print(StrCat(indent, name, ": ",
                 member.is_double()   ? std::string(number)
                 : member.is_string() ? member.as_string()
                                      : ToJson(member),
                 "\n"));
  }
}

}  // namespace

int RunBench(Session& session) {
  const Options& options = session.options();
  // Without a database there is nothing to search; the models can be measured all the same.
  Result<Engine*> engine = session.OpenEngine(StoreUse::kRead);
  if (!engine.ok() && engine.status().code() == StatusCode::kNotFound) {
    engine = session.OpenScratchEngine();
  }
  if (!engine.ok()) return Fail(engine.status(), options.json);
  const Result<Value> measured = Bench(session, **engine).Run();
  if (!measured.ok()) return Fail(measured.status(), options.json);
  if (options.json) {
    PrintJson(*measured);
  } else {
    PrintFor(*measured, "");
  }
  return kExitDone;
}

}  // namespace rag
