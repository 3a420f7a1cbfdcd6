#include "apps/ragd/http.h"

#include <catch2/catch.hpp>
#include <span>

#include "apps/ragd/auth.h"
#include "apps/ragd/fields.h"
#include "apps/ragd/listener.h"
#include "apps/ragd/router.h"
#include "lib/base/base64.h"
#include "tests/support/support.h"

namespace rag {
namespace {

HttpRequest Request(const std::string& method, const std::string& target) {
  HttpRequest request;
  request.method = method;
  request.headers.emplace_back("host", "localhost");
  REQUIRE_OK(ParseTarget(target, request));
  return request;
}

class Recorder : public ResponseWriter {
 public:
  void Send(HttpResponse response) override { response_ = std::move(response); }
  void Start(HttpResponse) override {}
  bool Write(std::string_view) override { return true; }
  bool started() const override { return false; }
  const CancelToken& cancel() const override { return cancel_; }
  void Cancel() override { cancel_.Cancel(); }
  HttpResponse response_;

 private:
  CancelToken cancel_;
};

}  // namespace

TEST_CASE("a request target is decoded once, path and query apart") {
  HttpRequest request = Request("GET", "/v1/a%2Fb+c?x=1%262&y=a+b&&z&x=2#end");
  CHECK(request.path == "/v1/a/b+c");
  CHECK(*request.Query("x") == "1&2");
  CHECK(*request.Query("y") == "a b");
  CHECK(*request.Query("z") == "");
  CHECK(request.Query("w") == nullptr);
  CHECK(Request("GET", "/%252F").path == "/%2F");
  CHECK(Request("GET", "http://host:80").path == "/");
  CHECK(Request("GET", "https://host/a?b=c").path == "/a");
  for (const char* bad : {"", "a", "*", "/%", "/%2", "/%g0", "/%00", "/?x=%", "host:80"}) {
    INFO(bad);
    CHECK(ParseTarget(bad, request).code() == StatusCode::kInvalidArgument);
  }
}

TEST_CASE("base64 as RFC 4648, section 10, has it") {
  const std::pair<std::string, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [text, encoded] : cases) {
    CHECK(EncodeBase64(std::as_bytes(std::span(text))) == encoded);
  }
}

TEST_CASE("keys are compared whole") {
  CHECK(EqualInConstantTime("", ""));
  CHECK(EqualInConstantTime("secret", "secret"));
  for (const char* wrong : {"", "s", "secre", "secret ", "Secret", "secretsecret"}) {
    CHECK_FALSE(EqualInConstantTime(wrong, "secret"));
    CHECK_FALSE(EqualInConstantTime("secret", wrong));
  }
}

TEST_CASE("loopback hosts and addresses") {
  for (const char* host : {"localhost", "LocalHost:7432", "127.0.0.1", "127.255.0.9:1", "[::1]",
                           "[::1]:80", "localhost.", "[::ffff:127.0.0.1]:1"}) {
    INFO(host);
    CHECK(IsLoopbackHost(host));
  }
  for (const char* host :
       {"", "example.org", "127.evil.org", "127.0.0.1.evil.org", "128.0.0.1", "localhost.evil.org",
        "[::2]", "[::1", "127.0.0.1evil", "127..0.1", "127.0.0", "0.0.0.0"}) {
    INFO(host);
    CHECK_FALSE(IsLoopbackHost(host));
  }
}

TEST_CASE("listening addresses") {
  const Result<HostPort> v6 = ParseHostPort("[::1]:80");
  REQUIRE_OK(v6);
  CHECK(v6->host == "::1");
  CHECK(v6->port == 80);
  REQUIRE_OK(ParseHostPort(":0"));
  for (const char* bad : {"", "localhost", "::1:80", "[::1:80", "a:65536", "a:-1", "a:1x", "a:"}) {
    INFO(bad);
    CHECK(ParseHostPort(bad).status().code() == StatusCode::kInvalidArgument);
  }
}

TEST_CASE("the router finds routes, and the key comes before everything") {
  const Handler none = [](const HttpRequest&, const std::string&, ResponseWriter&) {};
  const auto make = [&](const std::string& key) {
    Router router(Gatekeeper(key, key.empty()));
    router.Add({"GET", "/healthz", Lane::kControl, true, none});
    router.Add({"GET", "/v1/things", Lane::kWork, false, none});
    router.Add({"POST", "/v1/things", Lane::kWork, false, none});
    router.Add({"GET", "/v1/things/*", Lane::kWork, false, none});
    router.Add({"DELETE", "/v1/things/*", Lane::kWork, false, none});
    return router;
  };
  const Router open = make("");
  CHECK(open.Find(Request("GET", "/v1/things")).route->pattern == "/v1/things");
  CHECK(open.Find(Request("HEAD", "/v1/things")).route->method == "GET");
  CHECK(open.Find(Request("GET", "/v1/things/a%2Fb/c")).rest == "a/b/c");
  CHECK(open.Find(Request("GET", "/v1/things/")).error.status == 404);
  CHECK(open.Find(Request("GET", "/v1/thing")).error.status == 404);
  const Match not_allowed = open.Find(Request("PUT", "/v1/things/a"));
  CHECK(not_allowed.error.status == 405);
  REQUIRE_FALSE(not_allowed.error.headers.empty());
  CHECK(not_allowed.error.headers[0].second == "GET, HEAD, DELETE");

  HttpRequest rebound = Request("GET", "/healthz");
  rebound.headers[0].second = "evil.example";
  rebound.is_loopback = true;
  CHECK(open.Find(rebound).error.status == 403);
  rebound.is_loopback = false;  // over a Unix domain socket
  CHECK(open.Find(rebound).route != nullptr);

  const Router locked = make("key");
  CHECK(locked.Find(Request("GET", "/healthz")).route != nullptr);
  for (const char* path : {"/v1/things", "/nothing", "/v1/things/a"}) {
    CHECK(locked.Find(Request("GET", path)).error.status == 401);
    HttpRequest with_key = Request("GET", path);
    with_key.headers.emplace_back("authorization", "Bearer key");
    CHECK(locked.Find(with_key).error.status != 401);
  }
  CHECK(locked.Find(Request("POST", "/healthz")).error.status == 405);
}

TEST_CASE("members of a request are typed and bounded, and the first error is told") {
  const Result<Value> body =
      ParseJson(R"({"s": "x", "i": 5, "d": 0.5, "b": true, "l": ["a", "b"], "n": null, "e": ""})");
  REQUIRE_OK(body);
  Fields good(*body);
  CHECK(good.String("s", "") == "x");
  CHECK(good.String("n", "fallback") == "fallback");
  CHECK(good.Int("i", 0, 5, 5) == 5);
  CHECK(good.Number("i", 0, 0, 10) == 5.0);
  CHECK(good.Number("d", 0, 0, 1) == 0.5);
  CHECK(good.Bool("b", false));
  CHECK(good.Strings("l", 2).size() == 2);
  CHECK(good.Strings("s", 2).size() == 1);
  CHECK(good.Strings("absent", 2).empty());
  REQUIRE(good.ok());

  const std::function<void(Fields&)> wrong[] = {
      [](Fields& f) { f.String("i", ""); },       [](Fields& f) { f.RequiredString("e"); },
      [](Fields& f) { f.RequiredString("n"); },   [](Fields& f) { f.Int("d", 0, 0, 9); },
      [](Fields& f) { f.Int("i", 0, 6, 9); },     [](Fields& f) { f.Number("d", 0, 1, 2); },
      [](Fields& f) { f.Number("s", 0, 1, 2); },  [](Fields& f) { f.Bool("i", false); },
      [](Fields& f) { f.Strings("l", 1); },       [](Fields& f) { f.Strings("i", 1); },
      [](Fields& f) { f.AllowOnly({"s", "i"}); },
  };
  for (const auto& read : wrong) {
    Fields fields(*body, "outer.");
    read(fields);
    REQUIRE_FALSE(fields.ok());
    CHECK(fields.error().status == 400);
    CHECK(fields.error().param.find("outer.") == 0);
    const std::string first = fields.error().message;
    fields.Fail("later", "is wrong too");
    CHECK(fields.error().message == first);
    Recorder recorder;
    CHECK(SentError(fields, recorder));
    CHECK(recorder.response_.status == 400);
  }
  const Value list = Value::Array{};
  CHECK_FALSE(Fields(list).ok());
}

TEST_CASE("every status has its HTTP code and OpenAI's shape") {
  const std::pair<Status, int> cases[] = {
      {InvalidArgumentError("m"), 400},    {OutOfRangeError("m"), 400},
      {NotFoundError("m"), 404},           {AlreadyExistsError("m"), 409},
      {FailedPreconditionError("m"), 409}, {ResourceExhaustedError("m"), 413},
      {UnavailableError("m"), 503},        {DeadlineExceededError("m"), 504},
      {UnsupportedError("m"), 501},        {PermissionDeniedError("m"), 403},
      {DataLossError("m"), 500},           {IoError("m"), 500},
      {InternalError("m"), 500},           {CancelledError("m"), 499},
  };
  for (const auto& [status, code] : cases) {
    const HttpResponse response = ErrorResponse(ToApiError(status, "p"));
    CHECK(response.status == code);
    const Result<Value> body = ParseJson(response.body);
    REQUIRE_OK(body);
    const Value* error = body->Find("error");
    REQUIRE(error != nullptr);
    CHECK(error->Find("message")->as_string() == "m");
    CHECK(error->Find("code")->as_string() == StatusCodeName(status.code()));
    CHECK(error->Find("param")->as_string() == "p");
    CHECK(error->Find("type")->is_string());
    CHECK(ReasonPhrase(code) != "Unknown");
  }
}

TEST_CASE("a server-sent event is one line of data") {
  CHECK(ServerSentEvent(Value::Object{{"text", "a\n\nb"}}, "text") ==
        "event: text\ndata: {\"text\":\"a\\n\\nb\"}\n\n");
}

}  // namespace rag
