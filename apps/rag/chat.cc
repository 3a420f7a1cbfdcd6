// rag chat: questions in turns, from a terminal or from the lines of standard input.
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "apps/rag/commands.h"
#include "apps/rag/output.h"
#include "apps/rag/query.h"
#include "engine/check_text.h"
#include "engine/json.h"

namespace rag {
namespace {

constexpr size_t kMaxHistory = 64;  // messages; the prompt's budget drops the oldest before that

class Chat {
 public:
  Chat(Session& session, Engine& engine) : session_(session), engine_(engine) {}

  int Run() {
    const bool terminal = ::isatty(STDIN_FILENO) == 1 && StdoutIsTerminal();
    if (terminal) Print(Dim("Ask in turns; /clear forgets, an empty line or Ctrl-D ends.\n"));
    int code = kExitDone;
    std::string line;
    for (size_t number = 1; !session_.cancel().cancelled(); ++number) {
      if (terminal) {
        Print(Bold("> "));
        std::fflush(stdout);
      }
      if (!std::getline(std::cin, line)) break;
      if (IsBlank(line)) {
        if (terminal) break;
        continue;
      }
      if (line == "/clear") {
        history_.clear();
        continue;
      }
      const Status turn = Turn(line, terminal);
      // The next question may be a better one, but not where all of them lack a decoder.
      if (!turn.ok()) {
        const bool of_all = turn.code() == StatusCode::kFailedPrecondition;
        const Status told = terminal || of_all
                                ? turn
                                : turn.WithContext(StrCat("line ", number, " of standard input"));
        code = Fail(told, session_.options().json);
        if (of_all && !terminal) return code;
      }
      std::fflush(stdout);
    }
    if (session_.cancel().cancelled()) return kExitFailed;
    return terminal ? kExitDone : code;
  }

 private:
  Status Turn(const std::string& line, bool terminal) {
    const Options& options = session_.options();
    bool streamed = false;
    const auto print = [&](std::string_view text) {
      streamed = true;
      Print(Printable(text));
      std::fflush(stdout);
      return true;
    };
    const Generator::TokenCallback on_text(print);
    const Generator::TokenCallback* stream = terminal && !options.json ? &on_text : nullptr;
    RAG_ASSIGN_OR_RETURN(AskRequest request, ToAskRequest(options, line));
    std::string answer_text;
    if (options.search.no_retrieval) {
      RAG_ASSIGN_OR_RETURN(answer_text, Generate(request, line, stream, streamed));
    } else {
      request.history = history_;
      engine_.Refresh().status().Ignore();  // after a failure what was there before answers
      RAG_ASSIGN_OR_RETURN(const Answer answer,
                           engine_.Ask(session_.collection(), request, stream, &session_.cancel()));
      if (options.json) {
        PrintJson(ToValue(answer));
      } else {
        PrintAnswer(answer, streamed);
      }
      answer_text = answer.text;
    }
    history_.push_back({"user", line});
    history_.push_back({"assistant", std::move(answer_text)});
    if (history_.size() > kMaxHistory) history_.erase(history_.begin(), history_.begin() + 2);
    return OkStatus();
  }

  // The decoder alone.
  Result<std::string> Generate(const AskRequest& request, const std::string& line,
                               const Generator::TokenCallback* stream, const bool& streamed) {
    std::vector<ChatMessage> messages;
    if (!request.prompt.system.empty()) messages.push_back({"system", request.prompt.system});
    messages.insert(messages.end(), history_.begin(), history_.end());
    messages.push_back({"user", line});
    RAG_ASSIGN_OR_RETURN(const GenerateResult result,
                         engine_.Chat(messages,
                                      {.max_tokens = request.max_tokens,
                                       .sampling = request.sampling,
                                       .stop = request.stop,
                                       .constraint = request.constraint,
                                       .adapters = request.adapters},
                                      stream, &session_.cancel()));
    if (session_.options().json) {
      PrintJson(ToValue(result));
    } else {
      Print(streamed ? "\n" : StrCat(Printable(result.text), "\n"));
    }
    return result.text;
  }

  Session& session_;
  Engine& engine_;
  std::vector<ChatMessage> history_;
};

}  // namespace

int RunChat(Session& session) {
  const Options& options = session.options();
  const Result<Engine*> engine = options.search.no_retrieval ? session.OpenScratchEngine()
                                                             : session.OpenEngine(StoreUse::kRead);
  if (!engine.ok()) return Fail(engine.status(), options.json);
  return Chat(session, **engine).Run();
}

}  // namespace rag
