"""What the tests of rag-bench share: running one of its commands, whole or until Ctrl-C."""

import json
import signal
import subprocess
import time


class Command:
    """rag-bench's `name`, always with `fixed` arguments."""

    def __init__(self, program, name, *fixed):
        self.words = [program, name, *map(str, fixed)]

    def run(self, *arguments):
        return subprocess.run([*self.words, *map(str, arguments)], capture_output=True, text=True, timeout=600,
                              check=False)

    def measured(self, *arguments):
        """The report of a run that succeeds."""
        result = self.run(*arguments, "--json", "-")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def interrupt(self, seconds, folder, *arguments):
        """Ctrl-C after some seconds of a run that takes longer, or hardly so, keeps what was measured so far."""
        out = folder / "interrupted.json"
        process = subprocess.Popen([*self.words, *map(str, arguments), "--json", str(out)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode in (0, 1), stderr
        report = json.loads(out.read_text(encoding="utf-8"))
        assert report["complete"] == (process.returncode == 0), report
        assert report["complete"] or "Stopped early" in stdout, stdout
