"""Processes, and how long they take."""
import os, pathlib, pty, random, select, shlex, socket, subprocess, sys, termios, time, tty


class Failed(Exception):
    pass


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(command, timeout=60, **options):
    done = subprocess.run(command, text=True, timeout=timeout, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})
    if done.returncode:
        raise Failed(f"{shlex.join(map(str, command))}: exit {done.returncode}: {(done.stderr or '').strip()}")
    return done


def start(command, **options):
    return subprocess.Popen(command, **{"stderr": subprocess.DEVNULL, **options})


def finish(process, command):
    if process.wait(timeout=60):
        raise Failed(f"{shlex.join(command)}: exit {process.returncode}")


def wait_until_succeeds(command, seconds=90):
    until = time.monotonic() + seconds
    while subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60).returncode:
        if time.monotonic() > until:
            raise Failed(f"gave up waiting for {shlex.join(command)}")
        time.sleep(0.1)


def alternate(rounds, *peers, stdin=None, says="", warm_up=1):
    """The times of each command in seconds, A B C A B C …"""
    samples = [[] for _ in peers]
    for n in range(warm_up + rounds):
        for sample, command in zip(samples, peers):
            elapsed = timed(command, stdin, says)
            if n >= warm_up:
                sample.append(elapsed)
    return samples


def timed(command, stdin=None, says=""):
    with open(stdin or os.devnull) as source:
        began = time.perf_counter()
        done = subprocess.run(command, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=120)
        elapsed = time.perf_counter() - began
    if done.returncode or says not in done.stderr:
        raise Failed(f"{shlex.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()}")
    return elapsed


def at_any_moment():
    """What went before was in step with the kubelet, which looks once a second at what has become of its containers."""
    time.sleep(random.random())


def until_first_output(command):
    began = time.perf_counter()
    with Client(command) as client:
        output = client.first_output()
        elapsed = time.perf_counter() - began
        finish(client.process, command)
    if output != "hi\n":
        raise Failed(f"{shlex.join(command)} printed {output!r}")
    return elapsed


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Running:
    """A process that ends with the block."""

    def __init__(self, command, **options):
        self.process = start(command, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Client(Running):
    """A process that prints something."""

    def __init__(self, command, **options):
        super().__init__(command, **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options})

    def first_output(self, seconds=60):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise Failed(f"no output in {seconds} s: {shlex.join(map(str, self.process.args))}")
        if not (data := os.read(self.process.stdout.fileno(), 4096)):
            raise Failed(f"ended without output: {shlex.join(map(str, self.process.args))}")
        return data.decode()


class Server(Client):
    """A bastion that is ready; its line without `ready: `."""

    def __init__(self, bastion, role, config, *arguments, log):
        super().__init__([bastion, role, "--config", config, *arguments], stderr=log.open("w"))
        try:
            self.ready = self.first_output().splitlines()[0].removeprefix("ready: ")
        except Failed:
            self.__exit__()
            raise Failed(f"bastion {role} does not start:\n{log.read_text()}") from None

    def resident(self):
        """In KiB."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class Terminal(Running):
    """A program on a pseudo-terminal that says ready, perhaps after it was asked to, and may then answer each byte with the same."""

    def __init__(self, command, types=b""):
        self.fd, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        tty.setraw(theirs)
        super().__init__(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        os.write(self.fd, types)
        self.read_until(b"ready")
        time.sleep(0.5)
        while select.select([self.fd], [], [], 0)[0]:
            os.read(self.fd, 4096)

    def __exit__(self, *error):
        super().__exit__(*error)
        os.close(self.fd)

    def read_until(self, wanted):
        seen = b""
        while wanted not in seen:
            if not select.select([self.fd], [], [], 30)[0]:
                raise Failed(f"a terminal does not answer; it said {seen!r}")
            seen += os.read(self.fd, 4096)

    def echo(self, byte):
        """In milliseconds."""
        began = time.perf_counter()
        os.write(self.fd, byte)
        self.read_until(byte)
        return (time.perf_counter() - began) * 1000
