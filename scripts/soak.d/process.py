"""Processes of this machine."""
import contextlib, os, pathlib, re, signal, socket, subprocess, sys


class Process:
    def __init__(self, pid):
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        self.pid, self.group, self.is_dead = pid, int(stat[2]), stat[0] == "Z"
        self.words = pathlib.Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
        self.environment = pathlib.Path(f"/proc/{pid}/environ").read_text(errors="replace")


def processes():
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, IndexError):
            if name.isdigit() and not (process := Process(int(name))).is_dead:
                found.append(process)
    return found


def usage(pid):
    """The files that a process has open, and its MiB."""
    files = []
    for file in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            files.append(os.readlink(f"/proc/{pid}/fd/{file}"))
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return files, int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


def kill(pid, how=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def output(command, **options):
    return subprocess.run(command, check=True, text=True, **{"timeout": 60, "stdout": subprocess.PIPE, **options}).stdout


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def say(text):
    print(f"soak: {text}", file=sys.stderr, flush=True)
