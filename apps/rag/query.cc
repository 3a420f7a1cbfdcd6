#include "apps/rag/query.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "apps/rag/commands.h"
#include "apps/rag/images.h"
#include "apps/rag/kept_settings.h"
#include "apps/rag/output.h"
#include "engine/json.h"
#include "lib/base/file.h"

namespace rag {
namespace {

constexpr size_t kSnippetCharacters = 320;
constexpr size_t kQuoteCharacters = 400;

void PrintHit(const Hit& hit) {
  char score[32];
  std::snprintf(score, sizeof(score), "%.4f", hit.score);
  Print(StrCat(
      hit.rank, ". ", Bold(Printable(Place(hit.document, hit.headings, hit.page))), "  ",
      Dim(StrCat("score ", score, ", chunk ", hit.chunk_id, ", bytes ", hit.start, "-", hit.end)),
      "\n"));
  if (!hit.title.empty()) Print(StrCat("   ", Snippet(hit.title, kSnippetCharacters), "\n"));
  Print(StrCat("   ", Snippet(hit.text, kSnippetCharacters), "\n\n"));
}

// Before a note of the engine's: that hybrid search goes without vectors which the command line
// names a model for and the collection has not.
void NoteKept(const Session& session, const Engine& engine, SearchMode mode, std::string& note) {
  const std::vector<std::string>& given = session.options().given;
  const auto names_model = [](const std::string& flag) {
    return flag == "encoder" || flag == "sparse";
  };
  if (mode != SearchMode::kHybrid || std::none_of(given.begin(), given.end(), names_model)) return;
  const Result<CollectionInfo> info = engine.GetCollection(session.collection());
  if (!info.ok()) return;
  const std::string kept = KeptSettings(session.options(), *info);
  if (!kept.empty()) note = note.empty() ? kept : StrCat(kept, "; ", note);
}

Result<SearchResponse> Search(Session& session) {
  const Options& options = session.options();
  std::string query;
  if (!options.arguments.empty()) {
    RAG_ASSIGN_OR_RETURN(query, ReadArgument(options.arguments.front()));
  }
  RAG_ASSIGN_OR_RETURN(SearchRequest request,
                       ToSearchRequest(options, std::move(query), options.settings.search.k));
  if (!options.search.image.empty()) {
    RAG_ASSIGN_OR_RETURN(request.image, ReadImageFile(options.search.image));
    // A picture has no words: the settings' mode and reranker are for texts.
    if (!options.search.mode_given) request.mode = SearchMode::kDense;
    if (!options.search.rerank_given) request.rerank_top = 0;
  }
  RAG_ASSIGN_OR_RETURN(const Engine* engine, session.OpenEngine(StoreUse::kRead));
  RAG_ASSIGN_OR_RETURN(SearchResponse response,
                       engine->Search(session.collection(), request, &session.cancel()));
  NoteKept(session, *engine, request.mode, response.note);
  return response;
}

Result<Answer> Ask(Session& session, bool& streamed) {
  const Options& options = session.options();
  RAG_ASSIGN_OR_RETURN(std::string question, ReadArgument(options.arguments.front()));
  RAG_ASSIGN_OR_RETURN(const AskRequest request, ToAskRequest(options, std::move(question)));
  RAG_ASSIGN_OR_RETURN(const Engine* engine, session.OpenEngine(StoreUse::kRead));
  // Held until the answer is there, so that it is compiled once; wrong ones end here, before the
  // search.
  std::shared_ptr<const CompiledConstraint> compiled;
  if (request.constraint.kind != OutputConstraint::Kind::kNone) {
    RAG_ASSIGN_OR_RETURN(compiled, engine->CompileConstraint(request.constraint));
  }
  const auto print = [&](std::string_view text) {
    streamed = true;
    Print(Printable(text));
    std::fflush(stdout);
    return true;
  };
  const Generator::TokenCallback on_text(print);
  const bool stream = StdoutIsTerminal() && !options.json;
  RAG_ASSIGN_OR_RETURN(Answer answer, engine->Ask(session.collection(), request,
                                                  stream ? &on_text : nullptr, &session.cancel()));
  NoteKept(session, *engine, request.search.mode, answer.note);
  return answer;
}

}  // namespace

Result<SearchRequest> ToSearchRequest(const Options& options, std::string query, uint64_t k) {
  SearchRequest request;
  request.query = std::move(query);
  request.k = k;
  RAG_ASSIGN_OR_RETURN(request.mode, ParseSearchMode(options.settings.search.mode));
  request.filter = options.search.filter;
  request.ef_search = options.search.ef_search;
  request.exact = options.search.exact;
  request.per_document = options.search.per_document;
  request.rrf_k = options.search.rrf_k;
  request.dense_weight = options.search.dense_weight;
  request.lexical_weight = options.search.lexical_weight;
  request.sparse_weight = options.search.sparse_weight;
  if (!options.settings.reranker.empty()) request.rerank_top = options.settings.search.rerank_top;
  return request;
}

namespace {

constexpr size_t kMaxConstraintBytes = size_t{1} << 20;

Result<OutputConstraint> ToConstraint(const Options::Answer& answer) {
  using Kind = OutputConstraint::Kind;
  OutputConstraint constraint;
  if (!answer.regex.empty()) {
    constraint = {Kind::kRegex, answer.regex, {}};
  } else if (!answer.grammar_path.empty()) {
    RAG_ASSIGN_OR_RETURN(std::string text, ReadFile(answer.grammar_path, kMaxConstraintBytes));
    constraint = {Kind::kGrammar, std::move(text), {}};
  } else if (!answer.json_schema_path.empty()) {
    RAG_ASSIGN_OR_RETURN(std::string text, ReadFile(answer.json_schema_path, kMaxConstraintBytes));
    constraint = {Kind::kJsonSchema, std::move(text), {}};
  }
  return constraint;
}

}  // namespace

Result<AskRequest> ToAskRequest(const Options& options, std::string question) {
  const Settings::Ask& ask = options.settings.ask;
  AskRequest request;
  RAG_ASSIGN_OR_RETURN(request.search, ToSearchRequest(options, std::move(question), ask.k));
  RAG_ASSIGN_OR_RETURN(request.prompt.strategy, ParsePromptStrategy(ask.strategy));
  request.prompt.template_path = ask.template_path;
  request.prompt.examples_path = ask.examples_path;
  request.prompt.example_count = options.answer.example_count;
  request.prompt.similar_examples = !options.answer.first_examples;
  request.prompt.system = ask.system;
  request.max_tokens = ask.max_tokens;
  request.sampling = options.sampling;
  request.sampling.temperature = ask.temperature;
  request.stop = options.answer.stop;
  RAG_ASSIGN_OR_RETURN(request.constraint, ToConstraint(options.answer));
  // All that the command line names.
  RAG_ASSIGN_OR_RETURN(const auto adapters, ParseAdapters(options.settings.lora));
  for (const AdapterOptions& adapter : adapters) request.adapters.push_back({adapter.name});
  return request;
}

std::string Place(const std::string& document, const std::vector<std::string>& headings,
                  uint32_t page) {
  std::string place = document;
  for (const std::string& heading : headings) place += StrCat(" > ", heading);
  if (page != 0) place += StrCat(" (page ", page, ")");
  return place;
}

void PrintAnswer(const Answer& answer, bool streamed) {
  if (streamed) {
    Print("\n");
  } else {
    Print(StrCat(Printable(answer.text), "\n"));
  }
  if (!answer.citations.empty()) Print(StrCat("\n", Bold("Sources"), "\n"));
  for (const Citation& citation : answer.citations) {
    Print(StrCat("[", citation.n, "] ",
                 Printable(Place(citation.document, citation.headings, citation.page)), "  ",
                 Dim(StrCat("bytes ", citation.start, "-", citation.end,
                            citation.verified ? ", verified" : ", NOT VERIFIED")),
                 "\n    \"", Snippet(citation.quote, kQuoteCharacters), "\"\n"));
  }
  if (!answer.note.empty()) Print(StrCat("\n", Dim(Printable(answer.note)), "\n"));
}

int RunSearch(Session& session) {
  const Options& options = session.options();
  const Result<SearchResponse> response = Search(session);
  if (!response.ok()) return Fail(response.status(), options.json);
  if (options.json) {
    PrintJson(ToValue(*response));
    return kExitDone;
  }
  for (const Hit& hit : response->hits) PrintHit(hit);
  if (response->hits.empty()) Print("nothing was found\n");
  if (!response->note.empty()) Print(StrCat(Dim(Printable(response->note)), "\n"));
  return kExitDone;
}

int RunAsk(Session& session) {
  const Options& options = session.options();
  bool streamed = false;
  const Result<Answer> answer = Ask(session, streamed);
  if (!answer.ok()) {
    if (streamed) Print("\n");
    return Fail(answer.status(), options.json);
  }
  if (options.json) {
    PrintJson(ToValue(*answer));
  } else {
    PrintAnswer(*answer, streamed);
  }
  return session.cancel().cancelled() ? kExitFailed : kExitDone;
}

}  // namespace rag
