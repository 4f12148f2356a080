"""How fast bytes pass, and how soon a single one."""
import contextlib, os, shlex, socket, statistics, subprocess, threading, time

from memory import resident
from process import Failed, Running, Terminal, alternate, run, say, timed
from table import row

MB = 1_000_000
ECHO = "stty raw -echo; echo ready; cat; true"
FOR_EVER = 10**15


def echo(stage):
    say("keystroke echo")
    peers = [on_terminal(stage.bastion, ECHO), on_terminal(stage.sshd, ECHO), stage.exec("sh", "-c", ECHO, options=["-it"])]
    quiet = echoes(peers, stage.pick(100, 300), pause=0.002)
    for q in 50, 99:
        yield row(f"keystroke echo, p{q}", "ms", *(quantile(sample, q) for sample in quiet), goals=["≤ 1.1 × kubectl exec"])
    busy = []
    for peer in stage.bastion, stage.sshd:
        with stage.master(peer, "busy") as live, Running([*live, f"head -c {FOR_EVER} /dev/zero"], stdout=subprocess.DEVNULL):
            busy += echoes([on_terminal(live, ECHO)], stage.pick(100, 300), pause=0.01)
    yield row("keystroke echo during a download on the same connection, p99", "ms", *(quantile(sample, 99) for sample in busy), goals=["≤ 20"])


def on_terminal(command, program):
    return [command[0], "-tt", *command[1:], program]


def echoes(commands, count, pause):
    samples = [[] for _ in commands]
    with contextlib.ExitStack() as open_now:
        terminals = [open_now.enter_context(Terminal(command)) for command in commands]
        for n in range(count):
            for terminal, sample in zip(terminals, samples):
                sample.append(terminal.echo(b"%c" % (ord("a") + n % 26)))
                time.sleep(pause)
    return samples


def quantile(sample, q):
    return statistics.quantiles(sample, n=100)[q - 1]


def throughput(stage):
    size, rounds = stage.pick(100, 1000) * MB, stage.pick(2, 3)
    file, zeros = "/tmp/bench-zeros", stage.zeros(size)
    run([*stage.bastion, f"truncate -s {size} {file}"])
    for work, command, source, sftp in (("download", f"head -c {size} /dev/zero", None, ["get", file, os.devnull]),
                                        ("upload", "dd bs=128k of=/dev/null; true", zeros, ["put", zeros, file])):
        say(work)
        peers = [*stage.bastion, command], [*stage.sshd, command], stage.exec("sh", "-c", command, options=["-i"])
        ours, theirs, kubectl_exec = rates(size, alternate(rounds, *peers, stdin=source, says=f"{size} bytes" if source else "", warm_up=0))
        name = f"{work} of {size // MB:,} MB"
        yield row(name, "MB/s", ours, theirs, kubectl_exec, goals=["≥ 1 × kubectl exec"])
        batch = stage.folder / "batch"
        batch.write_text(shlex.join(map(str, sftp)))
        # sshd's file is this machine's: the one that is there for the upload.
        run([*stage.sshd, f"cp --sparse=always {zeros} {file}"])
        sftp = [[*subsystem(peer), "-b", str(batch), peer[-1]] for peer in (stage.bastion, stage.sshd)]
        yield row(f"{name}, sftp", "MB/s", *rates(size, alternate(rounds, *sftp, warm_up=0)), kubectl_exec, own=ours, goals=["≥ 0.8 × exec"])
        samples = [[], []]
        with stage.forward(stage.bastion) as our_port, stage.forward(stage.sshd) as their_port:
            for _ in range(rounds):
                for sample, port in zip(samples, (our_port, their_port)):
                    sample.append(through(port, work, size))
        yield row(f"{name}, `-L`", "MB/s", *rates(size, samples), kubectl_exec, goals=["≥ 1 × kubectl exec"])
    run([*stage.sshd, f"rm {file}"])


def rates(size, samples):
    return [[size / MB / seconds for seconds in sample] for sample in samples]


def subsystem(command):
    return ["sftp", "-q", *command[1:-1]]


def through(port, work, size):
    """Seconds that so much takes through a forward."""
    began, buffer = time.perf_counter(), bytearray(262144)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        if work == "download":
            connection.sendall(f"give {size}\n".encode())
            left = size
            while got := connection.recv_into(buffer):
                left -= got
        else:
            connection.sendall(f"take {size}\n".encode())
            for sent in range(0, size, len(buffer)):
                connection.sendall(memoryview(buffer)[: size - sent])
            left = connection.recv(4) != b"done"
    if left:
        raise Failed(f"a forwarded {work} came to {left} less than it should")
    return time.perf_counter() - began


def uploads(stage):
    say("uploads to a program that replaces its shell")
    size, tries, whole = 50 * MB, stage.pick(3, 10), [0, 0]
    command = "exec cat >/tmp/upload"
    for _ in range(tries):
        for n, peer in enumerate(([*stage.bastion, command], stage.exec("sh", "-c", command, options=["-i"]))):
            with open(stage.zeros(size)) as source, contextlib.suppress(Failed, subprocess.SubprocessError):
                run(peer, stdin=source, timeout=30)
            arrived = run(stage.exec("sh", "-c", "touch /tmp/upload; wc -c </tmp/upload; rm /tmp/upload")).stdout
            whole[n] += arrived.strip() == str(size)
    yield row("`exec cat >f` <50 MB, whole", f"of {tries}", whole[0], None, whole[1], goals=[f"≥ {tries}"])


def rsync(stage):
    files = stage.pick(2000, 20_000)
    say(f"rsync of {files} small files")
    tree, there, samples = stage.folder / "tree", "/tmp/bench-tree", [[], []]
    for n in range(files):
        path = tree / f"{n // 200}" / f"{n}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d\n" % n * (n % 500))
    for _ in range(stage.pick(1, 3)):
        for sample, peer in zip(samples, (stage.bastion, stage.sshd)):
            sample.append(files / timed(["rsync", "-a", "-e", shlex.join(peer[:-1]), f"{tree}/", f"{peer[-1]}:{there}/"]))
            count = run([*peer, f"find {there} -type f | wc -l; rm -r {there}"]).stdout.strip()
            if count != str(files):
                raise Failed(f"rsync brought {count} of {files} files")
    yield row(f"rsync of {files:,} small files", "files/s", *samples, goals=["≥ 0.8 × sshd"])


def connections(stage):
    """Each sends and gets a few bytes when it is new; all are kept, and then send and get much at once."""
    wanted = stage.pick(200, 1000)
    say(f"{wanted} connections through one -L")
    whole, set_up = [], []
    for peer in stage.bastion, stage.sshd:
        with stage.forward(peer) as port, contextlib.ExitStack() as open_now:
            began = time.perf_counter()
            try:
                many = [open_now.enter_context(echoed(port)) for _ in range(wanted)]
                set_up.append((time.perf_counter() - began) / wanted * 1000)
            except OSError as error:
                raise Failed(f"a connection through {peer[-1]}: {error}") from None
            whole.append(sum(echoes_whole(many)))
    yield row(f"{wanted:,} connections through one `-L`, whole", "", *whole, goals=[f"≥ {wanted}"])
    yield row("set-up of each, first answer included", "ms", *set_up, goals=["≤ 2"])
    if stage.agent:
        yield row("the agent after them, with 16 KiB under way on each at once", "MiB", resident(stage))


def echoed(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b"echo 0\nhello")
    if connection.recv(5) != b"hello":
        raise ConnectionError("not the answer")
    return connection


def echoes_whole(many):
    """Whether each got back all that it sent; none sees another's."""
    def send():
        for n, connection in enumerate(many):
            with contextlib.suppress(OSError):
                connection.sendall(words(n))
                connection.shutdown(socket.SHUT_WR)
    sending = threading.Thread(target=send)
    sending.start()
    for n, connection in enumerate(many):
        with contextlib.suppress(OSError), connection.makefile("rb") as answer:
            yield answer.read() == words(n)
    sending.join()


def words(n):
    return b"%08d" % n * 2048
