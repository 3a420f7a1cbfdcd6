"""Starting, asking and stopping a ragd, for the tests of this folder. Python's standard library alone."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

# How many times as long a test waits before it gives up: a sanitizer makes everything slower.
PATIENCE = 10 if os.environ.get("RAG_SANITIZE") else 1
ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 120  # a sanitizer's build loads its models slowly
STOP_SECONDS = 60


def shared_data(name):
    """A file or folder of the large test data, or None."""
    base = pathlib.Path(os.environ.get("RAG_TEST_DATA") or ROOT.parent / "shared" / "data")
    return base / name if (base / name).exists() else None


def default_encoder():
    """The default encoder's folder, or None when it is not set up."""
    if os.environ.get("RAG_MODELS"):
        models = pathlib.Path(os.environ["RAG_MODELS"])
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        models = pathlib.Path(cache) / "rag" / "models"
    folder = models / "all-MiniLM-L6-v2"
    return folder if (folder / "model.safetensors").exists() else None


def environment(folder, **more):
    """The caller's variables without settings of rag, and with an empty configuration folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAG_") and k not in
            ("LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET")}
    if os.environ.get("RAG_MODELS"):
        kept["RAG_MODELS"] = os.environ["RAG_MODELS"]
    kept["XDG_CONFIG_HOME"] = str(folder)
    return kept | more


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix domain socket."""

    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class Daemon:
    """A running ragd. `flags` are added to --listen 127.0.0.1:0 and a --db in a temporary folder."""

    def __init__(self, binary, *flags, folder=None, key=None, wait=True, prefix=(), **variables):
        self.own_folder = None if folder else tempfile.TemporaryDirectory(prefix="ragd-")
        self.folder = pathlib.Path(folder or self.own_folder.name)
        self.key = key
        self.socket_path = str(self.folder / "rag.sock")
        self.log_path = self.folder / f"log-{time.monotonic_ns()}"
        command = [*prefix, str(binary), "--db", str(self.folder / "db"), "--log-format", "json"]
        if "--listen" not in flags:
            command += ["--listen", "127.0.0.1:0"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([*command, *map(str, flags)], stdout=log, stderr=log,
                                            env=environment(self.folder, **variables))
        self.port = None
        if wait:
            self.wait_until_listening()

    def wait_until_listening(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            for entry in self.log():
                if entry.get("message") == "listening":
                    found = re.search(r"[\d\]]:(\d+)", entry["addresses"])
                    self.port = int(found.group(1)) if found else None
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        output = self.output()
        self.kill()
        raise AssertionError(f"ragd did not start: {output}")

    def output(self):
        return self.log_path.read_text(errors="replace")

    def log(self):
        """The log's JSON lines."""
        entries = []
        for line in self.output().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                entries.append(json.loads(line))
        return entries

    def requests_logged(self):
        return [entry for entry in self.log() if entry.get("message") == "request"]

    # --- asking ---
    def connection(self, unix=False, timeout=120 * PATIENCE):
        if unix:
            return UnixConnection(self.socket_path, timeout)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def headers(self, extra=None):
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return headers | (extra or {})

    def request(self, method, path, body=None, headers=None, unix=False):
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection = self.connection(unix)
        try:
            connection.request(method, path, body, self.headers(headers))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def raw(self, timeout=60 * PATIENCE):
        """A plain TCP connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def exchange(self, sent, timeout=60 * PATIENCE):
        """Sends bytes and gives everything that comes until the daemon closes."""
        with self.raw(timeout) as stream:
            stream.sendall(sent)
            return read_all(stream)

    def metric(self, name, label=""):
        """The sum of a metric's samples, of those with `label` in their labels."""
        total = 0.0
        for line in self.request("GET", "/metrics").body.decode().splitlines():
            found = re.match(rf"{re.escape(name)}(\{{.*\}})? (\S+)$", line)
            if found and label in (found.group(1) or ""):
                total += float(found.group(2))
        return total

    # --- ending ---
    def stop(self, signal_number=signal.SIGTERM):
        """Stops it and gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.wait()

    def wait(self):
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"ragd did not stop: {self.output()[-4000:]}") from None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.kill()
        if self.own_folder:
            self.own_folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_all(stream):
    """Everything until the other side closes; what came before a reset counts."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := stream.recv(65536):
            received += piece
    return received


def status_of(raw_answer):
    """The status code of a raw answer; 0 when there is none."""
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", raw_answer)
    return int(found.group(1)) if found else 0


def events(body):
    """The server-sent events of a body, as (name, data) with data still text."""
    found = []
    for block in body.decode().split("\n\n"):
        name, data = "message", []
        for line in block.splitlines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data.append(line[6:])
        if data:
            found.append((name, "\n".join(data)))
    return found


def eventually(condition, seconds=30 * PATIENCE):
    """Waits until the condition holds; false when it never does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
