"""How much memory it takes."""
import contextlib, os, time

from process import Client, Failed, Terminal, run, say, wait_until_succeeds
from stage import RUN
from table import row


def idle(stage):
    wanted, each, opened = int(os.environ.get("BENCH_SESSIONS", stage.pick(100, 1000))), 10, 0
    say(f"{wanted} idle sessions on terminals, {each} to a connection")
    with contextlib.ExitStack() as open_now:
        # A server of its own: memory that other work left free would hide what sessions take.
        serve = open_now.enter_context(stage.serve("idle.log"))
        port = serve.ready.rsplit(":", 1)[1]
        # Few to a pod: after 200 execs in one, containerd 1.6's shim did not answer, and the pod did not end, for minutes.
        users = [f"{RUN}-idle-{n}" for n in range(-(-wanted // 50))]
        for user in users:
            stage.make_user(user)
            wait_until_succeeds([*stage.ssh(port, user), "true"])
        before = serve.resident()
        try:
            for n in range(wanted // each):
                command = stage.ssh(port, users[n * each // 50])
                shared = open_now.enter_context(stage.master(command, f"idle{n}"))
                program = [shared[0], "-tt", *shared[1:], "echo up; exec sleep 1000"]
                clients = [open_now.enter_context(Client(program)) for _ in range(each)]
                for client in clients:
                    client.first_output()
                    opened += 1
        except Failed as error:
            say(f"the node bears no more: {error}")
        if not opened:
            raise Failed("no session at all")
        time.sleep(3)
        each_takes = (serve.resident() - before) / opened
        say(f"{opened} sessions open; closing them")
    yield row(f"memory of an idle interactive session, one of {opened:,}, {each} to a connection", "KiB", each_takes, goals=["≤ 128"])


def agent(stage):
    if not stage.agent:
        return say("without the agent: its memory not measured")
    say("memory of the agent")
    command, begin, fill = [stage.bastion[0], "-tt", *stage.bastion[1:]], b"echo rea''dy\n", b"seq -f %060g 1000; echo fu''ll\n"
    with contextlib.ExitStack() as open_now:
        shells = [open_now.enter_context(Terminal(command, types=begin)) for _ in range(10)]
        yield row(f"agent in the pod, {len(shells)} shells", "MiB", resident(stage), goals=["≤ 8"])
        for shell in shells:
            os.write(shell.fd, fill)
            shell.read_until(b"full")
        yield row("the same, each with the 300 lines of history that are kept", "MiB", resident(stage))
        for shell in shells:
            os.write(shell.fd, b"exit\n")  # They would outlive their connections.
        time.sleep(1)


def resident(stage):
    """Of all processes of the agent; what they share is counted once."""
    each = 'for p in /proc/[0-9]*; do [ "$(cat $p/comm)" != bastion-agent ] || grep ^Pss: $p/smaps_rollup; done'
    lines = run(stage.exec("sh", "-c", each)).stdout.splitlines()
    if not lines:
        raise Failed("no agent in the pod")
    return sum(int(line.split()[1]) for line in lines) / 1024
