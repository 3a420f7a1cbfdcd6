#!/usr/bin/env python3
"""ragd's life: start, sockets, signals, draining, kill -9.

    ragd_life_test.py RAGD_PROGRAM
"""

import http.client
import json
import os
import pathlib
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from ragd_harness import Daemon, environment, eventually, read_all, shared_data, status_of

PROGRAM = None
KILLS = int(os.environ.get("RAGD_TEST_KILLS", "3"))


def post(path, body):
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Draining(unittest.TestCase):
    def test_a_request_in_flight_is_finished_and_its_writes_are_kept(self):
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            with Daemon(PROGRAM, "--encoder", "none", folder=folder) as daemon:
                documents = [{"key": f"k{i}", "text": f"text {i}"} for i in range(300)]
                request = post("/v1/documents", json.dumps({"collection": "c", "documents": documents}).encode())
                idle = daemon.raw()
                with daemon.raw() as stream:
                    stream.sendall(request[:-10])  # in flight: half read
                    self.assertTrue(eventually(lambda: daemon.metric("rag_http_requests_in_flight") == 2))
                    daemon.process.send_signal(signal.SIGTERM)
                    self.assertEqual(read_all(idle), b"")  # one that waits for nothing is closed
                    idle.close()
                    self.assertTrue(eventually(lambda: self.refuses(daemon)))
                    self.assertIsNone(daemon.process.poll())
                    stream.sendall(request[-10:])
                    received = read_all(stream)
                self.assertEqual(status_of(received), 201, received[:500])
                self.assertIn(b"Connection: close", received)
                self.assertEqual(daemon.wait(), 0, daemon.output())
                self.assertEqual([e["message"] for e in daemon.log()][-1], "stopped")
            with Daemon(PROGRAM, "--encoder", "none", folder=folder) as daemon:
                self.assertEqual(daemon.metric("rag_documents"), 300)

    def refuses(self, daemon):
        try:
            daemon.raw().close()
        except ConnectionRefusedError:
            return True
        return False

    def test_the_drain_ends(self):
        with Daemon(PROGRAM, "--encoder", "none", "--drain-seconds", "0.3") as daemon, daemon.raw() as stream:
            stream.sendall(post("/v1/search", b"{}")[:-1])
            self.assertTrue(eventually(lambda: daemon.metric("rag_http_requests_in_flight") == 2))
            self.assertEqual(daemon.stop(), 0)

    def test_a_long_request_is_cancelled_when_the_drain_ends(self):
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            with Daemon(PROGRAM, "--encoder", "none", "--drain-seconds", "0.1", folder=folder) as daemon:
                documents = [{"key": f"k{i}", "text": f"text {i}"} for i in range(10_000)]
                with daemon.raw() as stream:
                    stream.sendall(post("/v1/documents", json.dumps({"collection": "c", "documents": documents}).encode()))
                    self.assertTrue(eventually(lambda: daemon.metric("rag_documents") > 0))
                    self.assertEqual(daemon.stop(), 0, daemon.output())
            with Daemon(PROGRAM, "--encoder", "none", folder=folder) as daemon:
                self.assertGreater(daemon.metric("rag_documents"), 0)

    def test_sigint_stops_too_and_a_second_signal_ends_at_once(self):
        with Daemon(PROGRAM, "--encoder", "none") as daemon:
            self.assertEqual(daemon.stop(signal.SIGINT), 0)
        with Daemon(PROGRAM, "--encoder", "none", "--drain-seconds", "600") as daemon, daemon.raw() as stream:
            stream.sendall(post("/v1/search", b"{}")[:-1])
            self.assertTrue(eventually(lambda: daemon.metric("rag_http_requests_in_flight") == 2))
            daemon.process.send_signal(signal.SIGTERM)
            self.assertTrue(eventually(lambda: "stopping" in daemon.output()))
            self.assertEqual(daemon.stop(signal.SIGTERM), 1)


@unittest.skipUnless(shared_data("models/stories260K/stories260K.gguf"), "stories260K.gguf is not here")
class KeptCache(unittest.TestCase):
    """The decoder's cache in a file, from one daemon to the next."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ragd-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file = self.folder / "kept.kv"

    def start(self, *flags):
        return Daemon(PROGRAM, "--encoder", "none", "--llm", shared_data("models/stories260K/stories260K.gguf"),
                      "--kv-cache", self.file, *flags, folder=self.folder, key="secret", RAG_API_KEY="secret")

    def chat(self, daemon, name="Lily"):
        body = {"model": "stories260K", "max_tokens": 20, "logprobs": True,
                "messages": [{"role": "user", "content": f"Once upon a time there was {name}. " + "She was happy. " * 20}]}
        answer = daemon.request("POST", "/v1/chat/completions", body)
        self.assertEqual(answer.status, 200, answer.body)
        answer = answer.json()
        return answer["choices"][0], answer["usage"]

    def cached(self, usage):
        return usage["prompt_tokens_details"]["cached_tokens"]

    def test_a_stopped_daemon_keeps_it(self):
        with self.start() as daemon:
            first, usage = self.chat(daemon)
            self.assertEqual(self.cached(usage), 0)
            self.assertEqual(daemon.stop(), 0, daemon.output())
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        written = self.file.read_bytes()
        with self.start() as daemon:
            again, usage = self.chat(daemon)
            self.assertEqual(again, first)
            self.assertEqual(self.cached(usage), usage["prompt_tokens"] - 1)
            self.assertEqual(daemon.stop(), 0, daemon.output())
        with self.start("--kv-type", "q8_0") as daemon:
            self.assertEqual(self.cached(self.chat(daemon)[1]), 0)
            self.assertIn("another model", daemon.output())
            daemon.kill()
        damaged = bytearray(written)
        damaged[len(damaged) // 2] ^= 4
        self.file.write_bytes(damaged)
        with self.start() as daemon:
            self.assertIn("is damaged", daemon.output())
            again, usage = self.chat(daemon)
            self.assertEqual((again, self.cached(usage)), (first, 0))
            self.assertEqual(daemon.stop(), 0, daemon.output())
        with self.start() as daemon:
            self.assertGreater(self.cached(self.chat(daemon)[1]), 0)

    def test_what_is_no_cache_is_left_alone(self):
        self.file.write_text("Dear reader,")
        with self.assertRaisesRegex(AssertionError, "no cache of keys and values"):
            self.start()
        self.assertEqual(self.file.read_text(), "Dear reader,")

    def test_kill_9_leaves_the_old_file_or_the_new_one(self):
        generator = random.Random(5)
        with self.start() as daemon:
            self.chat(daemon)
            answer = daemon.request("POST", "/v1/admin/cache/save")
            self.assertEqual(answer.status, 200, answer.body)
            self.assertGreater(answer.json()["tokens"], 100)
            daemon.kill()
        for cycle in range(KILLS):
            with self.start() as daemon:
                self.assertNotIn("is damaged", daemon.output())
                self.assertIn("gave the keys and values", daemon.output())
                self.assertGreater(self.cached(self.chat(daemon)[1]), 100)
                self.chat(daemon, f"Tom{cycle}")

                def save():
                    try:
                        while daemon.request("POST", "/v1/admin/cache/save").status == 200:
                            pass
                    except (OSError, http.client.HTTPException):
                        pass
                saving = threading.Thread(target=save)
                saving.start()
                time.sleep(generator.uniform(0, 0.2))
                daemon.kill()
                saving.join()
        with self.start() as daemon:
            self.assertNotIn("is damaged", daemon.output())
            self.assertGreater(self.cached(self.chat(daemon)[1]), 100)
            # What the killed ones left is removed.
            self.assertEqual(daemon.request("POST", "/v1/admin/cache/save").status, 200)
            self.assertEqual([p.name for p in self.folder.glob("kept.kv.tmp.*")], [])


class Durability(unittest.TestCase):
    def test_kill_9_loses_nothing_acknowledged(self):
        generator = random.Random(20240607)
        ledger = {}  # key -> the text whose write was answered
        lock = threading.Lock()
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            for cycle in range(KILLS):
                with Daemon(PROGRAM, "--encoder", "none", folder=folder) as daemon:
                    threads = [threading.Thread(target=self.write, args=(daemon, cycle, n, ledger, lock))
                               for n in range(4)]
                    for thread in threads:
                        thread.start()
                    eventually(lambda: len(ledger) > 20 * (cycle + 1))
                    time.sleep(generator.uniform(0, 0.3))
                    daemon.kill()
                    for thread in threads:
                        thread.join()
            self.assertGreater(len(ledger), 20 * KILLS)
            with Daemon(PROGRAM, "--encoder", "none", folder=folder) as daemon:
                connection = daemon.connection()
                for key, text in ledger.items():
                    connection.request("GET", f"/v1/documents/{key}?collection=c")
                    answer = connection.getresponse()
                    body = json.loads(answer.read())
                    self.assertEqual(answer.status, 200, f"{key} was acknowledged and is lost: {body}")
                    self.assertEqual(body["text"], text)
                connection.close()

    def test_a_failed_write_is_the_servers_fault_until_it_is_started_again(self):
        generator = random.Random(7)
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            # As a full disk has it: files that cannot grow beyond 256 blocks of 512 bytes.
            limit = ("sh", "-c", "trap '' XFSZ; ulimit -f 256; exec \"$@\"", "sh")
            with Daemon(PROGRAM, "--encoder", "none", folder=folder, prefix=limit) as daemon:
                for written in range(100):
                    text = " ".join(f"w{generator.randrange(10 ** 9)}" for _ in range(1000))
                    answer = daemon.request("POST", "/v1/documents", {"collection": "c", "key": f"k{written}", "text": text})
                    if answer.status != 201:
                        break
                again = daemon.request("POST", "/v1/documents", {"collection": "c", "key": "later", "text": "small"})
                for refused in (answer, again):
                    error = refused.json()["error"]
                    self.assertEqual((refused.status, error["type"], error["code"]), (500, "server_error", "io_error"))
                self.assertIn("until it is opened again", error["message"])
                health = daemon.request("GET", "/healthz")
                self.assertEqual((health.status, health.json()["status"]), (503, "failed"))
                read = daemon.request("GET", "/v1/documents/k0?collection=c")
                self.assertEqual(read.status, 200, read.body)
            with Daemon(PROGRAM, "--encoder", "none", folder=folder) as daemon:
                for i in range(written):
                    self.assertEqual(daemon.request("GET", f"/v1/documents/k{i}?collection=c").status, 200)
                later = {"collection": "c", "key": "later", "text": "small"}
                self.assertEqual(daemon.request("POST", "/v1/documents", later).status, 201)

    def test_a_daemon_reads_beside_one_that_writes(self):
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder, \
                Daemon(PROGRAM, "--encoder", "none", folder=folder) as writer:
            document = {"collection": "c", "key": "k", "text": "zebras"}
            self.assertEqual(writer.request("POST", "/v1/documents", document).status, 201)
            with Daemon(PROGRAM, "--encoder", "none", "--read-only", "--refresh-seconds", "0.1", folder=folder) as reader:
                found = reader.request("POST", "/v1/search", {"collection": "c", "query": "zebra", "mode": "lexical"})
                self.assertEqual([hit["document"] for hit in found.json()["hits"]], ["k"])
                health = reader.request("GET", "/healthz")
                self.assertEqual((health.status, health.json()["status"]), (200, "read_only"))
                for method, path, body in (("POST", "/v1/documents", document), ("PUT", "/v1/collections/d", {})):
                    refused = reader.request(method, path, body)
                    self.assertEqual((refused.status, refused.json()["error"]["code"]), (409, "failed_precondition"))
                    self.assertIn("read-only", refused.json()["error"]["message"])
                # What is written meanwhile is seen without another start.
                self.assertEqual(writer.request("POST", "/v1/documents", document | {"key": "l"}).status, 201)
                self.assertEqual(writer.request("DELETE", "/v1/documents/k?collection=c").status, 200)
                document["collection"] = "later"
                self.assertEqual(writer.request("POST", "/v1/documents", document).status, 201)
                for collection, key in (("c", "l"), ("later", "k")):
                    query = {"collection": collection, "query": "zebra", "mode": "lexical"}
                    end = time.monotonic() + 60
                    while True:
                        found = reader.request("POST", "/v1/search", query)
                        if found.status == 200 and [hit["document"] for hit in found.json()["hits"]] == [key]:
                            break
                        self.assertLess(time.monotonic(), end, found.body)
                        time.sleep(0.05)
            self.assertEqual(writer.request("GET", "/healthz").json()["status"], "ok")

    def write(self, daemon, cycle, number, ledger, lock):
        i = 0
        try:
            connection = daemon.connection(timeout=30)
            while True:
                key, text = f"{cycle}-{number}-{i}", f"text {i} of writer {number} in cycle {cycle}"
                connection.request("POST", "/v1/documents", json.dumps({"collection": "c", "key": key, "text": text}))
                answer = connection.getresponse()
                answer.read()
                if answer.status == 201:
                    with lock:
                        ledger[key] = text
                i += 1
        except (OSError, ValueError, EOFError):
            return
        except Exception as error:  # http.client's own, when the daemon is killed in the middle of an answer
            if type(error).__module__ != "http.client":
                raise


class Sockets(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="ragd-")
        self.folder = pathlib.Path(self.temporary.name)
        self.path = self.folder / "rag.sock"

    def tearDown(self):
        self.temporary.cleanup()

    def start(self, **options):
        return Daemon(PROGRAM, "--encoder", "none", "--socket", self.path, folder=self.folder, **options)

    def test_the_socket_is_private_and_goes_with_the_daemon(self):
        with self.start() as daemon:
            mode = os.stat(self.path).st_mode
            self.assertTrue(stat.S_ISSOCK(mode))
            self.assertEqual(stat.S_IMODE(mode), 0o600)
            self.assertEqual(daemon.request("GET", "/healthz", unix=True).status, 200)
            self.assertEqual(daemon.request("GET", "/healthz").status, 200)
            self.assertEqual(daemon.stop(), 0)
            self.assertFalse(self.path.exists())

    def test_a_killed_daemons_socket_is_replaced(self):
        with self.start() as daemon:
            daemon.kill()
        self.assertTrue(self.path.exists())
        with self.start() as daemon:
            self.assertEqual(daemon.request("GET", "/healthz", unix=True).status, 200)

    def test_a_socket_that_answers_is_left_alone(self):
        with self.start() as daemon:
            with Daemon(PROGRAM, "--encoder", "none", "--socket", self.path, wait=False) as other:
                self.assertEqual(other.wait(), 1)
                self.assertIn("in use", other.output())
            self.assertEqual(daemon.request("GET", "/healthz", unix=True).status, 200)

    def test_a_file_that_is_no_socket_is_left_alone(self):
        self.path.write_text("precious")
        with self.start(wait=False) as daemon:
            self.assertEqual(daemon.wait(), 1)
        self.assertEqual(self.path.read_text(), "precious")

    def test_addresses_in_use_and_wrong_ones(self):
        with self.start() as daemon:
            with Daemon(PROGRAM, "--encoder", "none", "--listen", f"127.0.0.1:{daemon.port}", wait=False) as other:
                self.assertEqual(other.wait(), 1)
                self.assertIn(f"127.0.0.1:{daemon.port}", other.output())
            with Daemon(PROGRAM, "--encoder", "none", folder=self.folder, wait=False) as other:
                self.assertEqual(other.wait(), 1)
                self.assertIn(f"in use by pid {daemon.process.pid}", other.output())
        for listen in ("nowhere", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:x", "::1:80", "[::1:80"):
            with self.subTest(listen), Daemon(PROGRAM, "--encoder", "none", "--listen", listen, wait=False) as other:
                self.assertEqual(other.wait(), 1)
                self.assertIn(listen, other.output())
        with Daemon(PROGRAM, "--encoder", "none", "--listen", "none", wait=False) as other:
            self.assertEqual(other.wait(), 1)
        with Daemon(PROGRAM, "--encoder", "none", "--socket", "x" * 200, wait=False) as other:
            self.assertEqual(other.wait(), 1)


class Starting(unittest.TestCase):
    def run_ragd(self, *flags, **variables):
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            return subprocess.run([PROGRAM, *flags], env=environment(folder, **variables), capture_output=True,
                                  text=True, timeout=120, check=False)

    def test_help_version_and_usage(self):
        answer = self.run_ragd("--help", RAG_CHUNK_TOKENS="wrong", RAG_API_KEY="top-secret")
        self.assertEqual(answer.returncode, 0)
        self.assertNotIn("top-secret", answer.stdout)
        self.assertIn("Examples:", answer.stdout)
        self.assertRegex(self.run_ragd("--version").stdout, r"^ragd \d+\.\d+\.\d+\n$")
        for flags in (["--nothing"], ["--workers", "0"], ["--workers", "many"], ["extra"], ["--log-format", "xml"],
                      ["--api-key", "a", "--api-key-file", "b"], ["--api-key", ""], ["--config", "/nowhere/config.toml"],
                      ["--read-timeout-seconds", "0"], ["--api-key-file", "/nowhere/key"]):
            with self.subTest(flags):
                answer = self.run_ragd(*flags)
                self.assertEqual(answer.returncode, 2, answer.stderr)
                self.assertTrue(answer.stderr or answer.stdout)
        answer = self.run_ragd(RAG_CHUNK_TOKENS="wrong")
        self.assertEqual((answer.returncode, "RAG_CHUNK_TOKENS" in answer.stderr), (2, True))

    def test_failures_name_what_is_wrong(self):
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            answer = self.run_ragd("--db", f"{folder}/db", "--encoder", f"{folder}/no-model", "--listen", "127.0.0.1:0")
            self.assertEqual(answer.returncode, 1)
            self.assertIn("no-model", answer.stderr)
            answer = self.run_ragd("--db", f"{folder}/db", "--encoder", "none", "--llm", f"{folder}/none.gguf",
                                   "--listen", "127.0.0.1:0")
            self.assertEqual(answer.returncode, 1)
            self.assertIn("none.gguf", answer.stderr)

    def test_settings_from_a_file_under_those_of_flags(self):
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            config = pathlib.Path(folder) / "config.toml"
            config.write_text('encoder = "none"\ncollection = "from-file"\n[server]\nlisten = "127.0.0.1:0"\n'
                              'socket = "own.sock"\nmax_body_bytes = 1024\n')
            with Daemon(PROGRAM, "--config", config, "--max-body-bytes", "2048", folder=folder) as daemon:
                daemon.socket_path = str(pathlib.Path(folder) / "own.sock")
                body = {"key": "k", "text": "x" * 1500}
                answer = daemon.request("POST", "/v1/documents", body, unix=True)
                self.assertEqual((answer.status, answer.json().get("collection")), (201, "from-file"))
                self.assertEqual(daemon.request("POST", "/v1/documents", body | {"text": "x" * 2100}).status, 413)
            config.write_text('encoder = "none"\n[server]\nport = 80\n')
            with Daemon(PROGRAM, "--config", config, folder=folder, wait=False) as daemon:
                self.assertEqual(daemon.wait(), 2)
                self.assertIn("config.toml:3: 'server.port'", daemon.output())

    def test_text_logs_are_one_line_an_event(self):
        with Daemon(PROGRAM, "--encoder", "none") as daemon:
            daemon.request("GET", "/a%0Ab%1B[31m%22")
            self.assertTrue(eventually(daemon.requests_logged))
            self.assertEqual(daemon.requests_logged()[-1]["path"], '/a\nb\x1b[31m"')
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            log = pathlib.Path(folder) / "log"
            with open(log, "wb") as stream:
                process = subprocess.Popen([PROGRAM, "--db", f"{folder}/db", "--encoder", "none", "--listen", "none",
                                            "--socket", f"{folder}/s"], stderr=stream, env=environment(folder))
            try:
                self.assertTrue(eventually(lambda: "listening" in log.read_text()))
                with socket.socket(socket.AF_UNIX) as stream:
                    stream.connect(f"{folder}/s")
                    stream.sendall(b"GET /a%0Ab%1B[31m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    read_all(stream)
                self.assertTrue(eventually(lambda: "request" in log.read_text()))
                line = log.read_text().splitlines()[-1]
                self.assertIn(" info request method=GET path=", line)
                self.assertNotIn("\x1b", log.read_text())
                self.assertIn("status=404", line)
            finally:
                process.terminate()
                process.wait(60)


class Systemd(unittest.TestCase):
    def test_it_tells_when_it_is_ready_and_stopping(self):
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
                notified.bind(f"{folder}/notify")
                notified.settimeout(60)
                with Daemon(PROGRAM, "--encoder", "none", folder=folder, NOTIFY_SOCKET=f"{folder}/notify") as daemon:
                    self.assertEqual(notified.recv(100), b"READY=1")
                    self.assertEqual(daemon.stop(), 0)
                    self.assertEqual(notified.recv(100), b"STOPPING=1")

    def test_it_serves_on_a_socket_it_is_given(self):
        with tempfile.TemporaryDirectory(prefix="ragd-") as folder, socket.socket() as given:
            given.bind(("127.0.0.1", 0))
            given.listen()
            port = given.getsockname()[1]
            shell = f'exec 3<&{given.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
            command = ["sh", "-c", shell, "sh", PROGRAM, "--db", f"{folder}/db", "--encoder", "none", "--log-format",
                       "json"]
            with open(f"{folder}/log", "wb") as log:
                process = subprocess.Popen(command, pass_fds=[given.fileno()], stderr=log, env=environment(folder))
            try:
                given.close()
                with socket.create_connection(("127.0.0.1", port), timeout=120) as stream:
                    stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    self.assertEqual(status_of(read_all(stream)), 200)
                self.assertIn(f'"addresses":"127.0.0.1:{port}"', pathlib.Path(f"{folder}/log").read_text())
            finally:
                process.terminate()
                self.assertEqual(process.wait(60), 0)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main(verbosity=2)
