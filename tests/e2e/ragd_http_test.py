#!/usr/bin/env python3
"""ragd's HTTP: framing, limits, timeouts, malformed requests, keys and hosts, many clients at once.

    ragd_http_test.py RAGD_PROGRAM
"""

import json
import os
import re
import socket
import sys
import threading
import time
import unittest

from ragd_harness import Daemon, eventually, read_all, status_of

PROGRAM = None
HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n"


def post(path, body, extra=b""):
    return (f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n".encode() + HOST + extra + b"\r\n" + body)


class Shared(unittest.TestCase):
    """Tests that leave their daemon as it was; one for all of a class."""

    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(PROGRAM, "--encoder", "none", *cls.flags)

    @classmethod
    def tearDownClass(cls):
        cls.daemon.close()

    def assert_error(self, answer, status, code):
        self.assertEqual(answer.status, status, answer.body)
        error = answer.json()["error"]
        self.assertEqual(error["code"], code)
        self.assertEqual(sorted(error), ["code", "message", "param", "type"])
        self.assertTrue(error["message"])


class Framing(Shared):
    def test_keep_alive_serves_many_requests_on_one_connection(self):
        connection = self.daemon.connection()
        for _ in range(50):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            self.assertEqual(json.loads(answer.read())["status"], "ok")
            self.assertEqual(answer.headers["Connection"], "keep-alive")
            self.assertRegex(answer.headers["Date"], r"^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$")
        connection.close()

    def test_pipelined_requests_are_answered_in_order(self):
        bodies = [json.dumps({"query": "x", "collection": f"none-{i}"}).encode() for i in range(20)]
        sent = b"".join(post("/v1/search", body) for body in bodies)
        sent += b"GET /healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n"
        received = self.daemon.exchange(sent)
        self.assertEqual(received.count(b"HTTP/1.1 404"), 20)
        names = re.findall(rb"none-(\d+)", received)
        self.assertEqual([int(n) for n in names], sorted(int(n) for n in names))
        self.assertEqual({int(n) for n in names}, set(range(20)))
        self.assertIn(b'"ok"', received)

    def test_a_body_in_chunks(self):
        body = (b"9\r\n{\"query\":\r\n" b"4;name=value\r\n\"x\"}\r\n" b"0\r\nTrailer: t\r\n\r\n")
        received = self.daemon.exchange(
            b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + CLOSE + b"\r\n" + body)
        self.assertEqual(status_of(received), 404, received)  # the collection is not there: it was read

    def test_bytes_one_by_one(self):
        request = post("/v1/search", b'{"query":"x","collection":"nowhere"}', CLOSE)
        with self.daemon.raw() as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in request:
                stream.sendall(bytes([byte]))
            self.assertEqual(status_of(read_all(stream)), 404)

    def test_http_1_0_closes(self):
        received = self.daemon.exchange(b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n")
        self.assertEqual(status_of(received), 200)
        self.assertIn(b"Connection: close", received)

    def test_a_client_that_closes_its_sending_side_is_answered(self):
        with self.daemon.raw() as stream:
            stream.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            stream.shutdown(socket.SHUT_WR)
            self.assertEqual(status_of(read_all(stream)), 200)

    def test_head_has_the_length_and_no_body(self):
        received = self.daemon.exchange(b"HEAD /healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        self.assertEqual(status_of(received), 200)
        head, body = received.split(b"\r\n\r\n", 1)
        self.assertEqual(body, b"")
        self.assertGreater(int(re.search(rb"Content-Length: (\d+)", head).group(1)), 10)
        received = self.daemon.exchange(b"HEAD /nothing HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        self.assertEqual(status_of(received), 404)
        self.assertTrue(received.endswith(b"\r\n\r\n"))

    def test_expect_100_continue(self):
        body = b'{"query":"x","collection":"nowhere"}'
        head = (f"POST /v1/search HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n".encode() +
                HOST + CLOSE + b"\r\n")
        with self.daemon.raw() as stream:
            stream.sendall(head)
            self.assertEqual(stream.recv(1024), b"HTTP/1.1 100 Continue\r\n\r\n")
            stream.sendall(body)
            self.assertEqual(status_of(read_all(stream)), 404)

    def test_a_refused_request_is_not_continued(self):
        with self.daemon.raw() as stream:
            stream.sendall(b"POST /nothing HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n" + HOST + b"\r\n")
            self.assertEqual(status_of(read_all(stream)), 404)

    def test_another_expectation_is_refused(self):
        received = self.daemon.exchange(post("/v1/search", b"{}", b"Expect: miracles\r\n"))
        self.assertEqual(status_of(received), 417)

    def test_the_absolute_form_of_a_target(self):
        received = self.daemon.exchange(b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        self.assertEqual(status_of(received), 200)

    def test_every_answer_has_an_id_that_the_log_tells(self):
        answer = self.daemon.request("GET", "/healthz?secret=1")
        own = answer.headers["X-Request-Id"]
        # The line is written once the answer is sent.
        self.assertTrue(eventually(lambda: own in [e["id"] for e in self.daemon.requests_logged()]))
        found = [e for e in self.daemon.requests_logged() if e["id"] == own]
        self.assertEqual(len(found), 1)
        self.assertEqual((found[0]["method"], found[0]["path"], found[0]["status"]), ("GET", "/healthz", 200))
        self.assertNotIn("secret", self.daemon.output())


class Refusals(Shared):
    def test_404_and_405(self):
        self.assert_error(self.daemon.request("GET", "/v2/nothing"), 404, "not_found")
        for method, path, allow in [("GET", "/v1/search", "POST"), ("DELETE", "/healthz", "GET, HEAD"),
                                    ("PATCH", "/v1/collections/x", "GET, HEAD, PUT, DELETE"),
                                    ("OPTIONS", "/v1/documents", "POST, GET, HEAD")]:
            answer = self.daemon.request(method, path)
            self.assert_error(answer, 405, "method_not_allowed")
            self.assertEqual(answer.headers["Allow"], allow)

    def test_a_post_without_a_length_has_an_empty_body(self):
        received = self.daemon.exchange(b"POST /v1/search HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
        self.assertEqual(status_of(received), 400)
        self.assertIn(b"the body is empty", received)

    def test_malformed_requests_get_an_error_and_the_daemon_goes_on(self):
        large = b"A" * (17 << 10)
        cases = [
            (b"GET /healthz HTTP/1.1\r\n\r\n", 400),  # no Host
            (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
            (b"GET /healthz\r\n\r\n", 400),
            (b"GET  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
            (b"GET healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
            (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
            (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
            (b"GET /% HTTP/1.1\r\n" + HOST + b"\r\n", 400),
            (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
            (b"GET /?a=%f HTTP/1.1\r\n" + HOST + b"\r\n", 400),
            (b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n", 505),
            (b"GET /healthz FTP/1.1\r\n" + HOST + b"\r\n", 505),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),  # TLS
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (b"\0\0\0\0\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA\0b: c\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: b\0c\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n: c\r\n\r\n", 400),
            (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + large + b"\r\n\r\n", 431),
            (b"GET /" + large + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
            (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 4000 + b"\r\n", 431),
            (b"POST /v1/search HTTP/1.1\r\nContent-Length: many\r\n" + HOST + b"\r\n", 400),
            (b"POST /v1/search HTTP/1.1\r\nContent-Length: -1\r\n" + HOST + b"\r\n", 400),
            (b"POST /v1/search HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n" + HOST + b"\r\n", 400),
            (b"POST /v1/search HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n" + HOST + b"\r\n{}}", 400),
            (b"POST /v1/search HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n" + HOST +
             b"\r\n0\r\n\r\n", 400),
            (b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n" + HOST +
             b"\r\n0\r\n\r\n", 400),
            (b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: gzip\r\n" + HOST + b"\r\n", 501),
            (b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n" + HOST + b"\r\n", 501),
            (b"POST /v1/search HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n0\r\n\r\n", 400),
            (b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\nzz\r\n", 400),
            (b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\nffffffffffffffffff\r\n", 400),
            (b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n2\r\n{}zz0\r\n\r\n", 400),
        ]
        for sent, status in cases:
            with self.subTest(sent[:70]):
                received = self.daemon.exchange(sent)
                self.assertEqual(status_of(received), status, received)
                self.assertIn(b"Connection: close", received)
                self.assertIn("error", json.loads(received.split(b"\r\n\r\n", 1)[1]))
        self.assertEqual(self.daemon.request("GET", "/healthz").status, 200)

    def test_half_a_request_and_gone(self):
        for sent in (b"", b"GET", b"GET /healthz HTTP/1.1\r\nHost: lo", post("/v1/search", b"{}")[:-1]):
            with self.daemon.raw() as stream:
                stream.sendall(sent)
        self.assertTrue(eventually(lambda: self.daemon.metric("rag_http_connections") == 1))  # our own

    def test_bodies_that_are_not_json(self):
        for body in (b"", b"{", b"[1,]", b"\xff\xfe", b'{"query": "x"} x', b"null", b"5", b'"text"', b"{'a': 1}"):
            with self.subTest(body):
                self.assert_error(self.daemon.request("POST", "/v1/search", body), 400, "invalid_argument")
        deep = b'{"query":' * 200 + b"1" + b"}" * 200
        self.assertIn(self.daemon.request("POST", "/v1/search", deep).status, (400, 413))
        deep = b"[" * 100_000
        self.assertIn(self.daemon.request("POST", "/v1/documents", deep).status, (400, 413))

    def test_hosts_and_sites_that_are_not_this_machine(self):
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:80",
                     "127.evil.example", "127.1.1", ""):
            with self.subTest(host):
                self.assert_error(self.daemon.request("GET", "/healthz", headers={"Host": host}), 403,
                                  "host_not_allowed")
        for host in ("localhost", "LOCALHOST:80", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:7432", "localhost."):
            with self.subTest(host):
                self.assertEqual(self.daemon.request("GET", "/healthz", headers={"Host": host}).status, 200)
        answer = self.daemon.request("POST", "/v1/search", b"{}", {"Origin": "http://evil.example"})
        self.assert_error(answer, 403, "origin_not_allowed")
        self.assert_error(self.daemon.request("POST", "/v1/search", b"{}", {"Origin": "null"}), 403,
                          "origin_not_allowed")
        own = f"http://127.0.0.1:{self.daemon.port}"
        self.assertEqual(self.daemon.request("POST", "/v1/search", b"{}", {"Origin": own}).status, 400)


class Limits(Shared):
    flags = ("--max-body-bytes", "4096", "--max-connections", "8", "--read-timeout-seconds", "1",
             "--idle-timeout-seconds", "1", "--write-timeout-seconds", "1")

    def test_bodies_over_the_limit(self):
        self.assert_error(self.daemon.request("POST", "/v1/search", b" " * 4097), 413, "body_too_large")
        self.assertEqual(self.daemon.request("POST", "/v1/search", b" " * 4096).status, 400)  # read, not JSON
        chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
        received = self.daemon.exchange(
            b"POST /v1/search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n" + chunk * 5)
        self.assertEqual(status_of(received), 413)
        with self.daemon.raw() as stream:  # told before anything of it is sent
            stream.sendall(b"POST /v1/search HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n" + HOST +
                           b"\r\n")
            self.assertEqual(status_of(read_all(stream)), 413)

    def test_a_refused_large_body_does_not_cost_the_answer(self):
        with self.daemon.raw() as stream:
            stream.sendall(b"POST /v1/search HTTP/1.1\r\nContent-Length: 3000000\r\n" + HOST + b"\r\n")
            stream.sendall(b" " * 3_000_000)
            self.assertEqual(status_of(read_all(stream)), 413)

    def test_slow_requests_are_ended(self):
        for begin in (b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ",
                      post("/v1/search", b"{}")[:-1]):
            with self.subTest(begin), self.daemon.raw() as stream:
                stream.sendall(begin)
                started = time.monotonic()
                received = read_all(stream)
                self.assertEqual(status_of(received), 408, received)
                self.assertLess(time.monotonic() - started, 20)

    def test_dripping_headers_do_not_hold_a_connection(self):
        with self.daemon.raw() as stream:
            stream.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST)
            received = b""
            stream.settimeout(0.2)
            for i in range(100):
                try:
                    stream.sendall(f"X-{i}: y\r\n".encode())
                    received += stream.recv(4096)
                except socket.timeout:
                    continue
                except OSError:
                    break
                if received:
                    break
            self.assertEqual(status_of(received), 408)

    def test_idle_connections_are_closed(self):
        with self.daemon.raw() as stream:
            self.assertEqual(stream.recv(1), b"")
        with self.daemon.raw() as stream:
            stream.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            received = read_all(stream)
            self.assertEqual(status_of(received), 200)
            self.assertEqual(received.count(b"HTTP/1.1"), 1)

    def test_more_connections_than_allowed_are_told(self):
        self.assertTrue(eventually(lambda: self.daemon.metric("rag_http_connections") == 1))
        streams = []
        try:
            for _ in range(8):
                streams.append(self.daemon.raw())
            self.assertTrue(eventually(
                lambda: status_of(self.daemon.exchange(b"GET /healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")) == 503))
        finally:
            for stream in streams:
                stream.close()
        self.assertTrue(eventually(
            lambda: status_of(self.daemon.exchange(b"GET /healthz HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")) == 200))
        self.assertGreaterEqual(self.daemon.metric("rag_http_connections_refused_total"), 1)


class Unread(Shared):
    flags = ("--write-timeout-seconds", "1")

    def test_a_client_that_does_not_read_is_let_go(self):
        text = "word " * 4_000_000  # 20 MB: more than the kernel buffers
        answer = self.daemon.request("POST", "/v1/documents", {"collection": "big", "key": "big", "text": text})
        self.assertEqual(answer.status, 201, answer.body[:300])
        with self.daemon.raw() as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.sendall(b"GET /v1/documents/big?collection=big HTTP/1.1\r\n" + HOST + b"\r\n")
            self.assertTrue(eventually(lambda: self.daemon.metric("rag_http_connections") == 2))
            self.assertTrue(eventually(lambda: self.daemon.metric("rag_http_connections") == 1))


class Overload(Shared):
    flags = ("--workers", "1", "--queue", "0")

    def test_a_full_queue_says_so_and_a_closed_client_frees_it(self):
        documents = [{"key": f"k{i}", "text": f"text {i}"} for i in range(10_000)]
        body = json.dumps({"collection": "bulk", "documents": documents}).encode()
        with self.daemon.raw() as stream:
            stream.sendall(post("/v1/documents", body))
            self.assertTrue(eventually(lambda: self.daemon.metric("rag_documents") > 0))
            answer = self.daemon.request("GET", "/v1/documents?collection=bulk")
            self.assert_error(answer, 503, "overloaded")
            self.assertEqual(answer.headers["Retry-After"], "1")
            # What looks at health is not kept waiting.
            self.assertEqual(self.daemon.request("GET", "/healthz").status, 200)
        # Its client being gone, the rest of the request is left.
        self.assertTrue(eventually(lambda: self.daemon.request("GET", "/v1/documents?collection=bulk").status == 200))
        self.assertLess(self.daemon.metric("rag_documents"), 10_000)


class ManyClients(Shared):
    def test_concurrent_clients_each_get_their_own_answers(self):
        wrong = []

        def work(number):
            connection = self.daemon.connection()
            try:
                for i in range(20):
                    key = f"client-{number}-{i}"
                    body = json.dumps({"collection": "many", "key": key, "text": f"the text of {key}"})
                    connection.request("POST", "/v1/documents", body)
                    answer = connection.getresponse()
                    if answer.status != 201 or json.loads(answer.read())["key"] != key:
                        wrong.append((key, answer.status))
                    connection.request("GET", f"/v1/documents/{key}?collection=many")
                    answer = connection.getresponse()
                    if json.loads(answer.read()).get("text") != f"the text of {key}":
                        wrong.append((key, "text"))
            except Exception as error:  # noqa: BLE001: told by the assertion below
                wrong.append((number, repr(error)))
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(self.daemon.metric("rag_documents"), 320)


class Keys(unittest.TestCase):
    KEY = "correct-horse-battery"

    def test_a_key_is_asked_for_everywhere_but_health_and_the_empty_page(self):
        with Daemon(PROGRAM, "--encoder", "none", RAG_API_KEY=self.KEY) as daemon:
            for path in ("/metrics", "/v1/models", "/v1/collections", "/v1/documents", "/nothing"):
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {self.KEY}"},
                                {"Authorization": f"Bearer {self.KEY}x"}, {"Authorization": f"Bearer {self.KEY[:-1]}"},
                                {"Authorization": "Bearer "}, {"Authorization": ""}):
                    with self.subTest(path=path, headers=headers):
                        answer = daemon.request("GET", path, headers=headers)
                        self.assertEqual(answer.status, 401)
                        self.assertEqual(answer.headers["WWW-Authenticate"], "Bearer")
                        self.assertEqual(answer.json()["error"]["type"], "authentication_error")
            for path in ("/healthz", "/"):
                self.assertEqual(daemon.request("GET", path).status, 200)
            headers = {"Authorization": f"bearer {self.KEY}"}
            self.assertEqual(daemon.request("GET", "/v1/models", headers=headers).status, 200)
            self.assertEqual(daemon.request("GET", "/nothing", headers=headers).status, 404)
            # A refused body is not read first.
            received = daemon.exchange(b"POST /v1/search HTTP/1.1\r\nContent-Length: 1000000\r\n" + HOST + b"\r\n")
            self.assertEqual(status_of(received), 401)
            self.assertNotIn(self.KEY, daemon.output())

    def test_where_the_key_comes_from(self):
        with Daemon(PROGRAM, "--encoder", "none", "--api-key", "flag", RAG_API_KEY="variable") as daemon:
            daemon.key = "flag"
            self.assertEqual(daemon.request("GET", "/v1/models").status, 200)
            path = daemon.folder / "key"
            path.write_text("  from-file \nsecond line\n")
            os.chmod(path, 0o600)
            with Daemon(PROGRAM, "--encoder", "none", "--api-key-file", path, RAG_API_KEY="variable") as other:
                other.key = "from-file"
                self.assertEqual(other.request("GET", "/v1/models").status, 200)
                other.key = "variable"
                self.assertEqual(other.request("GET", "/v1/models").status, 401)
            os.chmod(path, 0o644)
            with Daemon(PROGRAM, "--encoder", "none", "--api-key-file", path, wait=False) as bad:
                self.assertEqual(bad.wait(), 2)
                self.assertIn("other users may read", bad.output())

    def test_other_machines_need_a_key(self):
        with Daemon(PROGRAM, "--encoder", "none", "--listen", "0.0.0.0:0", wait=False) as daemon:
            self.assertEqual(daemon.wait(), 1)
            self.assertIn("--insecure-no-auth", daemon.output())
        with Daemon(PROGRAM, "--encoder", "none", "--listen", "0.0.0.0:0", "--api-key", self.KEY) as daemon:
            daemon.key = self.KEY
            self.assertEqual(daemon.request("GET", "/v1/models", headers={"Host": "rag.example"}).status, 200)
        with Daemon(PROGRAM, "--encoder", "none", "--listen", "0.0.0.0:0", "--insecure-no-auth") as daemon:
            self.assertEqual(daemon.request("GET", "/v1/models", headers={"Host": "rag.example"}).status, 200)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
